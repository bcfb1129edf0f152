"""Spark's tasks read a dump's files as raw rows."""

from collections.abc import Sequence

import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession

from agent_roles_dagster.engines.tasks import Batches, add_rows_read, map_in_arrow
from agent_roles_dagster.landing.files import DumpFile
from agent_roles_dagster.reading.file import read_file
from agent_roles_dagster.reading.raw_rows import RAW_ROWS

# A task of this size is worth its start, and a large dump has several for each core.
_BYTES_PER_TASK = 8 << 20


def read_roles_raw(
    spark: SparkSession,
    sync_day: str,
    files: Sequence[DumpFile],
    *,
    most_tasks: int | None = None,
) -> DataFrame:
    """The dump's raw rows (`RAW_ROWS`). Each of Spark's tasks reads some of the files.

    Args:
        most_tasks: how many tasks there are at most.
    """
    groups = _groups(files, most_tasks)

    def read(batches: Batches) -> Batches:
        for batch in batches:
            for group in batch.column(0).to_pylist():
                for file in groups[group]:
                    for rows in read_file(sync_day, file):
                        add_rows_read(pc.sum(pc.equal(rows["kind"], "row")).as_py() or 0)
                        yield rows

    return map_in_arrow(spark.range(0, len(groups), 1, len(groups)), read, RAW_ROWS)


def _groups(files: Sequence[DumpFile], most: int | None) -> list[list[DumpFile]]:
    """The files in groups of about equal size, one group for each task."""
    count = max(1, min(len(files), sum(file.size for file in files) // _BYTES_PER_TASK))
    count = min(count, most or count)
    groups: list[list[DumpFile]] = [[] for _ in range(count)]
    sizes = [0] * count
    for file in sorted(files, key=lambda file: file.size, reverse=True):
        smallest = sizes.index(min(sizes))
        groups[smallest].append(file)
        sizes[smallest] += file.size
    return groups
