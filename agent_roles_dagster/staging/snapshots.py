"""Spark's tasks read staged snapshots and recorded changes back from PostgreSQL."""

from collections.abc import Mapping

from psycopg import sql
from pyspark.sql import DataFrame, SparkSession

from agent_roles_dagster.engines.tasks import Batches, map_in_arrow
from agent_roles_dagster.postgres.arrow import ArrowConnection
from agent_roles_dagster.postgres.sql_files import Connection, rows_of_file
from agent_roles_dagster.rules import ASSIGNED, REMOVED
from agent_roles_dagster.staging.transform import SNAPSHOT_SCHEMA, Seen

_PAGES_PER_TASK = 16_384
_FEW_PAGES = 1_000  # in all snapshots together
SeenAs = tuple[Seen, Seen, Seen]  # what an assigned row means, a removed one, any other


def read_snapshots(
    spark: SparkSession,
    connection: Connection,
    url: str,
    snapshots: Mapping[str, SeenAs],
    changes: Mapping[int, tuple[Seen, Seen]],
    tasks: int,
) -> DataFrame:
    """Staged rows and changes, as `transform.SNAPSHOT_SCHEMA`, read by at most `tasks` tasks.

    If the snapshots have a few pages only, one task reads them: more connections cost more time.

    Args:
        snapshots, changes: see `Neighbours`.
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
    """The quoted name of the day's partition, and how many pages it has. 0 if it is gone."""
    found = rows_of_file(connection, "load/partition", sync_day=sync_day)
    return (found[0]["name"], found[0]["pages"]) if found else ("", 0)


def _range_queries(
    connection: Connection, partition: str, pages: int, seen_as: SeenAs
) -> list[str]:
    """Queries that together read the rows of the partition that mean something, by ranges of pages.

    Args:
        partition: its name, quoted, with its schema.
    """
    select = sql.SQL(
        "SELECT agent_id, role_id,"
        " CASE status WHEN 'assigned' THEN {} WHEN 'removed' THEN {} ELSE {} END AS seen"
        " FROM {} WHERE ctid >= {}::tid AND ctid < {}::tid{}"
    )
    known = zip((ASSIGNED, REMOVED), seen_as[:2], strict=True)
    statuses = [sql.Literal(status) for status, seen in known if seen]
    only = sql.SQL(" AND status IN ({})").format(sql.SQL(", ").join(statuses))
    return [
        select.format(
            *map(sql.Literal, map(int, seen_as)),
            sql.SQL(partition),
            sql.Literal(f"({at},0)"),
            sql.Literal(f"({at + _PAGES_PER_TASK},0)"),
            sql.SQL("") if seen_as[2] else only,
        ).as_string(connection)
        for at in range(0, pages, _PAGES_PER_TASK)
    ]
