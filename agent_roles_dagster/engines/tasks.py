"""Python functions as Spark's tasks: their batches are held to a schema, and they can be stopped.

A function takes a part of a frame's rows, in Arrow batches, and gives others. Sail calls it
in the run's own process, by several threads at once; Apache Spark in processes of its own.
"""

import threading
from collections.abc import Callable, Iterator

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql.pandas.types import from_arrow_schema

from agent_roles_dagster.postgres.arrow import cancel_all

Batches = Iterator[pa.RecordBatch]
_stopping = threading.Event()
_counting = threading.Lock()
_rows_read = 0


class Stopped(Exception):
    """The run is being ended, so its tasks end, too."""


class WrongBatch(TypeError):
    """A function gave a batch that is not of its schema."""


def map_in_arrow(
    frame: DataFrame, function: Callable[[Batches], Batches], schema: pa.Schema
) -> DataFrame:
    """`frame.mapInArrow`, by a function whose batches have this schema.

    Sail would take columns by their place, and a value of another type for null: a batch of another
    schema fails the task with `WrongBatch`.
    """

    def task(batches: Batches) -> Batches:
        for batch in function(_until_stopped(batches)):
            _require_schema(batch, schema)
            yield batch
            _require_running()

    return frame.mapInArrow(task, from_arrow_schema(schema))


def stop_tasks() -> None:
    """Have the tasks in this process end at their next batch, and what they ask PostgreSQL now."""
    _stopping.set()
    cancel_all()


def let_tasks_run() -> None:
    """The opposite, before the first task of a run."""
    _stopping.clear()


def add_rows_read(count: int) -> None:
    """Count raw rows that a task has read."""
    global _rows_read
    with _counting:
        _rows_read += count


def rows_read() -> int:
    """How many raw rows this process's tasks have read so far: none where others run them."""
    return _rows_read


def _until_stopped(batches: Batches) -> Batches:
    for batch in batches:
        _require_running()
        yield batch


def _require_running() -> None:
    if _stopping.is_set():
        raise Stopped("the run is being ended")


def _require_schema(batch: pa.RecordBatch, schema: pa.Schema) -> None:
    if not batch.schema.equals(schema):
        raise WrongBatch(f"a batch has the columns {batch.schema}, where {schema} is expected")
