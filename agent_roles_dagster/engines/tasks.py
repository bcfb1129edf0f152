"""Python functions as Spark's tasks. Their batches are checked, and they can be stopped.

A function takes some of a frame's rows as Arrow batches, and yields other batches. Sail calls it in
the run's own process, in several threads at once. Apache Spark calls it in other processes.
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
    """The run ends, so its tasks end, too."""


class WrongBatch(TypeError):
    """A function yielded a batch of another schema."""


def map_in_arrow(
    frame: DataFrame, function: Callable[[Batches], Batches], schema: pa.Schema
) -> DataFrame:
    """`frame.mapInArrow`, for a function whose batches have this schema.

    A batch of another schema fails the task with `WrongBatch`. Sail alone would accept it: it
    matches columns by their order, and makes null of a value of another type.
    """

    def task(batches: Batches) -> Batches:
        for batch in function(_until_stopped(batches)):
            _require_schema(batch, schema)
            yield batch
            _require_running()

    return frame.mapInArrow(task, from_arrow_schema(schema))


def stop_tasks() -> None:
    """End the tasks in this process at their next batch, and cancel their queries now."""
    _stopping.set()
    cancel_all()


def let_tasks_run() -> None:
    """Undo `stop_tasks`, before the first task of a run."""
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
        raise Stopped("the run ends")


def _require_schema(batch: pa.RecordBatch, schema: pa.Schema) -> None:
    if not batch.schema.equals(schema):
        raise WrongBatch(f"a batch has the columns {batch.schema}; expected are {schema}")
