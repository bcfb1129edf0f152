"""Spark's tasks against PostgreSQL: reading snapshots back, and loading what a run publishes.

Rows go as Arrow straight between the tasks and PostgreSQL (COPY, by ADBC), not through the
driver. A task that is retried, or runs twice by speculation, leaves its rows once: it loads in
one transaction, whose last statement claims the partition, and gives up if that is claimed.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from agent_roles_dagster.engines.tasks import Batches, map_in_arrow
from agent_roles_dagster.postgres.arrow import ArrowConnection
from agent_roles_dagster.postgres.connection import Connection, connect, one, run_file
from agent_roles_dagster.reading.raw_rows import raw_record
from agent_roles_dagster.staging.transform import SNAPSHOT_SCHEMA, Decision, Seen
from agent_roles_dagster.staging.validation import ASSIGNED, REMOVED

FILLED_TABLES = ("rows", "delta", "errors", "notes")
LOAD_TABLES = (*FILLED_TABLES, "claims", "day")
_PREFIX = "agent_roles_load_"
# Worth a COPY each; refused rows carry their records, so that few of them may be much.
_ROWS_PER_COPY = 500_000
_BYTES_PER_COPY = 64 << 20
_PAGES_PER_TASK = 16_384
_FEW_PAGES = 1_000  # of all snapshots together
SeenAs = tuple[Seen, Seen, Seen]  # of a row that is assigned, is removed, is neither
# The delta of the day, whose own new assigned rows are no part of it, and that of the next staged
# day:
# is_next, unstage, stage, is_changed, and the two that change may be, assigned and removed.
_CHANGES = (
    (
        False,
        Decision.UNSTAGE,
        Decision.STAGE_REMOVED,
        Decision.IS_CHANGED,
        Decision.ASSIGNED,
        Decision.REMOVED,
    ),
    (
        True,
        Decision.NEXT_UNSTAGE,
        Decision.NEXT_STAGE_REMOVED,
        Decision.NEXT_IS_CHANGED,
        Decision.NEXT_ASSIGNED,
        Decision.NEXT_REMOVED,
    ),
)
_LOADED = pa.schema([("task", pa.int32())])
COUNTS = ("valid_rows", "valid_pairs", "invalid_rows", "in_day", "in_previous", "removals")


@dataclass(frozen=True)
class Load:
    """One run's load tables, and the day they are for.

    Attributes:
        is_first: nothing is to be compared with, so that each row that is staged is a change.
    """

    url: str = field(repr=False)  # may hold a password
    schema: str
    token: str
    sync_day: str
    loaded_at: datetime
    is_first: bool

    def name(self, name: str) -> str:
        return f"{_PREFIX}{name}_{self.token}"

    def table(self, name: str) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name(name))


def create_load_tables(load: Load) -> None:
    """Create this run's load tables, and drop those that a killed run left.

    Over a connection of its own, so that the tasks see them while the turn's transaction goes on.
    Needs `database.staging_turn`: whoever has the turn is the only one that loads.
    """
    with connect(load.url) as connection:
        left = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace(quote_ident(%s))"
            " AND relkind = 'r' AND relname ~ %s",
            (load.schema, f"^{_PREFIX}({'|'.join(LOAD_TABLES)})_[0-9a-f]{{12}}$"),
        )
        _drop(connection, [sql.Identifier(load.schema, row["relname"]) for row in left])
        with connection.transaction():
            _search(connection, load.schema, _main(connection))
            run_file(connection, "load/020_create_load_tables")
            _rename(connection, load, away=True)


def drop_load_tables(connection: Connection, load: Load) -> None:
    """Drop those of this run's tables that are there, if nobody else holds one."""
    with connection.transaction():
        # The run may be being stopped. In the transaction only: a pooler keeps the session.
        connection.execute("SET LOCAL lock_timeout = '2s'")
        _drop(connection, [load.table(name) for name in LOAD_TABLES])


def drop_used_tables(connection: Connection, load: Load) -> None:
    """Drop what `use_load_tables` renamed, but for the rows where they are the day's by now."""
    _drop(connection, [sql.Identifier(load.schema, _PREFIX + name) for name in LOAD_TABLES])


def _drop(connection: Connection, tables: Sequence[sql.Identifier]) -> None:
    if tables:
        connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.SQL(", ").join(tables)))


def use_load_tables(connection: Connection, load: Load) -> None:
    """Give this run's tables the names that the publishing SQL files know, in its transaction."""
    connection.execute(_lock(load, LOAD_TABLES, "ACCESS EXCLUSIVE"))
    _search(connection, load.schema, _main(connection))
    _rename(connection, load, away=False)


def _main(connection: Connection) -> str:
    """The schema of the tables that are no run's own."""
    return str(one(connection, "SELECT current_schema() AS name"))


def _search(connection: Connection, *schemas: str) -> None:
    """Have the rest of the transaction find its tables in these schemas."""
    path = sql.SQL(", ").join(map(sql.Identifier, (*schemas, "pg_temp"))).as_string(connection)
    connection.execute("SELECT set_config('search_path', %s, TRUE)", (path,))


def _lock(load: Load, names: Sequence[str], mode: str) -> sql.Composed:
    """In one order for all: a task that runs though its result is known can't block publishing."""
    tables = sql.SQL(", ").join(load.table(name) for name in names)
    return sql.SQL("LOCK TABLE {} IN {} MODE").format(tables, sql.SQL(mode))


def _rename(connection: Connection, load: Load, *, away: bool) -> None:
    statements = []
    for name in LOAD_TABLES:
        known, own = _PREFIX + name, load.name(name)
        old, new = (known, own) if away else (own, known)
        statements.append(
            sql.SQL("ALTER TABLE {} RENAME TO {}").format(
                sql.Identifier(load.schema, old), sql.Identifier(new)
            )
        )
    connection.execute(sql.SQL("; ").join(statements))


def read_snapshots(
    spark: SparkSession,
    connection: Connection,
    url: str,
    snapshots: Mapping[str, SeenAs],
    changes: Mapping[int, tuple[Seen, Seen]],
    tasks: int,
) -> DataFrame:
    """Staged rows and changes, as `transform.SNAPSHOT_SCHEMA`, read by at most `tasks` tasks.

    Snapshots of a few pages are read by one task, over one connection: these cost more than that.

    Args:
        snapshots: by sync day, what its rows mean to the day that is being staged.
        changes: by a day's number, what its changes on record mean: assigned, removed.
    """
    parts = {day: _partition(connection, day) for day in snapshots}
    if sum(pages for _, pages in parts.values()) < _FEW_PAGES:
        tasks = 1
    queries = [
        query
        for day, seen_as in snapshots.items()
        for query in _range_queries(connection, *parts[day], seen_as)
    ]
    select = sql.SQL(
        "SELECT agent_id, role_id, CASE change WHEN 'assigned' THEN {} ELSE {} END AS seen"
        " FROM agent_role_changes WHERE day_no = {}"
    )
    queries += [
        select.format(*map(sql.Literal, (*map(int, seen_as), day_no))).as_string(connection)
        for day_no, seen_as in changes.items()
    ]

    def read(batches: Batches) -> Batches:
        with ArrowConnection(url) as source:
            for batch in batches:
                for number in batch.column(0).to_pylist():
                    yield from source.read(queries[number])

    numbers = spark.range(0, len(queries), 1, max(1, min(tasks, len(queries))))
    return map_in_arrow(numbers, read, SNAPSHOT_SCHEMA)


def _partition(connection: Connection, sync_day: str) -> tuple[str, int]:
    """The quoted name of the day's partition, and how many pages it has: 0 if it is gone."""
    found = connection.execute(
        "SELECT part.oid::REGCLASS::TEXT AS name,"
        " pg_relation_size(part.oid) / current_setting('block_size')::BIGINT AS pages"
        " FROM pg_class AS part WHERE part.oid = agent_role_partition(%s)",
        (sync_day,),
    ).fetchone()
    return (found["name"], found["pages"]) if found else ("", 0)


def _range_queries(
    connection: Connection, partition: str, pages: int, seen_as: SeenAs
) -> list[str]:
    """Queries that together read the partition, each a range of its pages; none if it has none.

    Args:
        partition: its name, quoted, with its schema.
    """
    select = sql.SQL(
        "SELECT agent_id, role_id,"
        " CASE status WHEN 'assigned' THEN {} WHEN 'removed' THEN {} ELSE {} END AS seen"
        " FROM {} WHERE ctid >= {}::tid AND ctid < {}::tid"
    )
    return [
        select.format(
            *map(sql.Literal, map(int, seen_as)),
            sql.SQL(partition),
            sql.Literal(f"({at},0)"),
            sql.Literal(f"({at + _PAGES_PER_TASK},0)"),
        ).as_string(connection)
        for at in range(0, pages, _PAGES_PER_TASK)
    ]


def load(decided: DataFrame, target: Load, tasks: int) -> None:
    """Load what `transform.transform_agent_roles` decided into the load tables, by `tasks` tasks.

    Each task has one connection and one transaction, the tables' contents are published later.
    """

    def write(batches: Batches) -> Batches:
        counts = dict.fromkeys(COUNTS, 0)
        task = None
        with ArrowConnection(target.url) as connection:
            # If a crash of the server loses it, it loses the whole run, which publishes later.
            connection.execute("SET LOCAL synchronous_commit = off")
            connection.execute(_lock(target, FILLED_TABLES, "ROW EXCLUSIVE").as_string())
            for table in _tables_of(batches):
                task = table["task"][0].as_py()
                for name, rows in _loadable(table, target, counts):
                    if len(rows):
                        connection.ingest(target.schema, target.name(name), rows)
            if task is None:
                return  # without a row there is nothing to claim, nor a number to claim it by
            claims = target.table("claims").as_string()
            claimed = connection.read(
                f"INSERT INTO {claims} VALUES ($1, $2)"  # noqa: S608 (a quoted identifier)
                " ON CONFLICT DO NOTHING RETURNING task",
                task,
                json.dumps(counts),
            )
            if sum(map(len, claimed)):
                connection.commit()
        yield pa.RecordBatch.from_pydict({"task": [task]}, _LOADED)

    # Each task loads several partitions one after the other: as few connections as are allowed,
    # and yet only a small part of the pairs in memory at once.
    numbered = decided.coalesce(tasks).withColumn("task", F.spark_partition_id())
    map_in_arrow(numbered, write, _LOADED).collect()


def _tables_of(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The batches joined to tables that are worth a COPY each."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        waiting.append(batch)
        if (
            sum(map(len, waiting)) >= _ROWS_PER_COPY
            or sum(batch.nbytes for batch in waiting) >= _BYTES_PER_COPY
        ):
            yield pa.Table.from_batches(waiting)
            waiting = []
    if waiting:
        yield pa.Table.from_batches(waiting)


def _loadable(
    table: pa.Table, target: Load, counts: dict[str, int]
) -> Iterator[tuple[str, pa.Table]]:
    """The load tables' rows that are in a table of decisions; adds to the counts."""
    is_pair = pc.is_null(table["refused"])
    if len(refused := table.filter(pc.invert(is_pair))):
        yield from _refused(refused, counts)
    pairs = table.filter(is_pair) if len(refused) else table
    for name, value in (
        ("valid_rows", pairs["valid_rows"]),
        ("valid_pairs", pc.greater(pairs["valid_rows"], 0)),
        ("in_day", _has(pairs, Decision.IN_DAY)),
        ("in_previous", _has(pairs, Decision.IN_PREVIOUS)),
        ("removals", _has(pairs, Decision.REMOVED)),
    ):
        counts[name] += pc.sum(value).as_py() or 0

    staged = pairs.filter(_has(pairs, Decision.STAGE_ASSIGNED))
    yield "rows", staged.select(["agent_id", "role_id"])
    for is_next, unstage, stage, is_changed, assigned, removed in _CHANGES[target.is_first :]:
        changed = pairs.filter(_has(pairs, unstage | stage | is_changed))
        yield (
            "delta",
            pa.table(
                {
                    "agent_id": changed["agent_id"],
                    "role_id": changed["role_id"],
                    "is_next": pa.repeat(pa.scalar(is_next), len(changed)),
                    "unstage": _has(changed, unstage),
                    "stage": _has(changed, stage),
                    "is_changed": _has(changed, is_changed),
                    "change": _status(changed, assigned, removed),
                }
            ),
        )


def _has(pairs: pa.Table, decision: Decision) -> pa.ChunkedArray:
    """For each pair, whether any of the flags is set."""
    return pc.not_equal(pc.bit_wise_and(pairs["decision"], int(decision)), 0)


def _status(pairs: pa.Table, assigned: Decision, removed: Decision) -> pa.ChunkedArray:
    """For each pair assigned or removed, null where neither flag is set."""
    is_either = _has(pairs, assigned | removed)
    status = pc.if_else(_has(pairs, assigned), ASSIGNED, REMOVED)
    return pc.if_else(is_either, status, pa.scalar(None, pa.string()))


def _refused(refused: pa.Table, counts: dict[str, int]) -> Iterator[tuple[str, pa.Table]]:
    """The errors and the reader's notes; adds to the counts."""
    told = [json.loads(text) for text in refused["refused"].to_pylist()]
    is_row = pa.array([each["kind"] == "row" for each in told], pa.bool_())
    invalid = refused.select(["agent_id", "role_id"]).filter(is_row)
    errors = [each for each in told if each["kind"] == "row"]
    notes = [each for each in told if each["kind"] != "row"]
    counts["invalid_rows"] += len(errors)
    yield (
        "errors",
        invalid.append_column(
            "error_message", _texts([each["message"] for each in errors])
        ).append_column("raw_record", _texts([raw_record(**each["raw"]) for each in errors])),
    )
    yield (
        "notes",
        pa.table(
            {
                "kind": _texts([each["kind"] for each in notes]),
                "note": _texts([each["message"] for each in notes]),
            }
        ),
    )


def _texts(values: list[str]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, pa.string())])


def loaded_counts(connection: Connection, target: Load) -> dict[str, int]:
    """The sums of the tasks' `COUNTS`."""
    claims = connection.execute(
        sql.SQL("SELECT counts FROM {}").format(target.table("claims"))
    ).fetchall()
    counts = [json.loads(claim["counts"]) for claim in claims]
    return {name: sum(part[name] for part in counts) for name in COUNTS}


def loaded_notes(connection: Connection, target: Load, kind: str) -> Sequence[str]:
    """The reader's notes of a kind ("file", "unreadable", "not read"), sorted."""
    rows = connection.execute(
        sql.SQL("SELECT note FROM {} WHERE kind = %s ORDER BY note").format(target.table("notes")),
        (kind,),
    )
    return [row["note"] for row in rows]


def removal_sample(connection: psycopg.Connection[Any], target: Load, limit: int) -> list[str]:
    """Some of the day's removals, as "agent 1, role 10"."""
    # Those that are staged already, of an earlier version, and stay so are no part of the delta.
    rows = connection.execute(
        sql.SQL(
            """
            SELECT agent_id, role_id FROM {delta} WHERE NOT is_next AND change = 'removed'
            UNION
            SELECT agent_id, role_id FROM stg_agent_roles AS staged
            WHERE sync_day = {sync_day} AND status = 'removed' AND NOT EXISTS (
                SELECT FROM {delta} AS delta
                WHERE NOT delta.is_next
                AND delta.agent_id = staged.agent_id AND delta.role_id = staged.role_id
            )
            ORDER BY role_id, agent_id LIMIT {limit}
            """
        ).format(
            delta=target.table("delta"),
            sync_day=sql.Literal(target.sync_day),
            limit=sql.Literal(limit),
        )
    )
    return [f"agent {row['agent_id']}, role {row['role_id']}" for row in rows]
