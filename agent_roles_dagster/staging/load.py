"""Spark's tasks load into PostgreSQL what a run publishes.

Rows go straight from the tasks to PostgreSQL, as Arrow (COPY, by ADBC), not through the driver. A
task loads in one transaction. Its last statement inserts the task's number into the table of
claims. If another attempt of the task did that before, it rolls back. So each row is there once,
even if Spark retries a task or runs it twice.
"""

import json
from collections.abc import Iterator
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from agent_roles_dagster.engines.tasks import Batches, map_in_arrow
from agent_roles_dagster.postgres.arrow import ArrowConnection
from agent_roles_dagster.reading.raw_rows import raw_record
from agent_roles_dagster.rules import ASSIGNED, REMOVED
from agent_roles_dagster.staging.load_tables import COUNTS, FILLED_TABLES, Load, lock_statement
from agent_roles_dagster.staging.transform import Decision

# A batch of this size is worth a COPY. Invalid rows carry their records, so a few can be large.
_ROWS_PER_COPY = 500_000
_BYTES_PER_COPY = 64 << 20


class _Delta(NamedTuple):
    """Which decisions fill which column of `agent_roles_load_delta`, for one of two days."""

    is_next: bool
    unstage: Decision
    stage: Decision
    is_changed: Decision
    assigned: Decision
    removed: Decision


# The day's new assigned rows are no part of it: they are in `agent_roles_load_rows`.
_OF_THE_DAY = _Delta(
    False,
    Decision.UNSTAGE,
    Decision.STAGE_REMOVED,
    Decision.IS_CHANGED,
    Decision.ASSIGNED,
    Decision.REMOVED,
)
_OF_THE_NEXT_DAY = _Delta(
    True,
    Decision.NEXT_UNSTAGE,
    Decision.NEXT_STAGE_REMOVED,
    Decision.NEXT_IS_CHANGED,
    Decision.NEXT_ASSIGNED,
    Decision.NEXT_REMOVED,
)
_LOADED = pa.schema([("task", pa.int32())])


def load(decided: DataFrame, target: Load, tasks: int) -> None:
    """Load what `transform.transform_agent_roles` decided into the load tables, by `tasks` tasks.

    Each task has one connection and one transaction.
    """

    def write(batches: Batches) -> Batches:
        counts = dict.fromkeys(COUNTS, 0)
        task = None
        with ArrowConnection(target.url) as connection:
            # A crash of the server may lose these rows. It also ends the run before it publishes.
            connection.execute("SET LOCAL synchronous_commit = off")
            connection.execute(lock_statement(target, FILLED_TABLES, "ROW EXCLUSIVE").as_string())
            for table in _tables_of(batches):
                task = table["task"][0].as_py()
                for name, rows in _loadable(table, target, counts):
                    if len(rows):
                        connection.ingest(target.schema, target.name(name), rows)
            if task is None:
                return  # Without a row, nothing is loaded, and the task's number is not known.
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

    # Each task loads several partitions, one after the other. So there are only as many connections
    # as allowed, and only a small part of the pairs is in memory at once.
    numbered = decided.coalesce(tasks).withColumn("task", F.spark_partition_id())
    map_in_arrow(numbered, write, _LOADED).collect()


def _tables_of(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The batches, joined to tables of a size that is worth a COPY."""
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
    """The load tables' rows that follow from a table of decisions. Adds to the counts."""
    is_pair = pc.is_null(table["refused"])
    if len(refused := table.filter(pc.invert(is_pair))):
        yield from _refused(refused, counts)
    pairs = table.filter(is_pair) if len(refused) else table
    for name, value in (
        ("valid_rows", pairs["valid_rows"]),
        ("valid_pairs", pc.greater(pairs["valid_rows"], 0)),
        ("in_day", _has(pairs, Decision.IN_DAY)),
        ("in_previous", _has(pairs, Decision.IN_PREVIOUS)),
        ("in_next", _has(pairs, Decision.IN_NEXT)),
        ("removals", _has(pairs, Decision.REMOVED)),
    ):
        counts[name] += pc.sum(value).as_py() or 0

    staged = pairs.filter(_has(pairs, Decision.STAGE_ASSIGNED))
    yield "rows", staged.select(["agent_id", "role_id"])
    # All rows of a first day are changes. Nothing else has to say so.
    for delta in (_OF_THE_NEXT_DAY,) if target.is_first else (_OF_THE_DAY, _OF_THE_NEXT_DAY):
        changed = pairs.filter(_has(pairs, delta.unstage | delta.stage | delta.is_changed))
        yield (
            "delta",
            pa.table(
                {
                    "agent_id": changed["agent_id"],
                    "role_id": changed["role_id"],
                    "is_next": pa.repeat(pa.scalar(delta.is_next), len(changed)),
                    "unstage": _has(changed, delta.unstage),
                    "stage": _has(changed, delta.stage),
                    "is_changed": _has(changed, delta.is_changed),
                    "change": _status(changed, delta.assigned, delta.removed),
                }
            ),
        )


def _has(pairs: pa.Table, decision: Decision) -> pa.ChunkedArray:
    """For each pair, whether any of the flags is set."""
    return pc.not_equal(pc.bit_wise_and(pairs["decision"], int(decision)), 0)


def _status(pairs: pa.Table, assigned: Decision, removed: Decision) -> pa.ChunkedArray:
    """For each pair 'assigned' or 'removed', or null where neither flag is set."""
    is_either = _has(pairs, assigned | removed)
    status = pc.if_else(_has(pairs, assigned), ASSIGNED, REMOVED)
    return pc.if_else(is_either, status, pa.scalar(None, pa.string()))


def _refused(refused: pa.Table, counts: dict[str, int]) -> Iterator[tuple[str, pa.Table]]:
    """The invalid rows and the reader's notes. Adds to the counts."""
    found = [json.loads(text) for text in refused["refused"].to_pylist()]
    is_row = pa.array([each["kind"] == "row" for each in found], pa.bool_())
    invalid = refused.select(["agent_id", "role_id"]).filter(is_row)
    errors = [each for each in found if each["kind"] == "row"]
    notes = [each for each in found if each["kind"] != "row"]
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
