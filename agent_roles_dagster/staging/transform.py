"""The transform: from raw rows and snapshots to what is staged, and which rows are invalid.

DataFrames go in, DataFrames come out. Nothing here knows Dagster or PostgreSQL.
"""

from enum import IntFlag
from functools import reduce

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from agent_roles_dagster.rules import ASSIGNED
from agent_roles_dagster.staging.validation import id_value, message, status_value

SNAPSHOT_SCHEMA = pa.schema(
    [("agent_id", pa.int64()), ("role_id", pa.int64()), ("seen", pa.int32())]
)


class Seen(IntFlag):
    """Where a pair was seen. It is one number, as every row carries it along.

    IN_ROW: a valid row of the day. IN_DAY: a valid row of the day with the status `assigned`.
    IN_PREVIOUS: the previous day's snapshot.
    OLD_...: this day as it was staged before. OLD_OTHER is any other status. This program does not
        write it.
    NEXT_...: the next day, as it is staged.
    KNOWN_..., NEXT_KNOWN_...: the recorded changes of this day, and of the next day.
    """

    NOWHERE = 0
    IN_DAY = 1
    IN_PREVIOUS = 2
    NEXT_ASSIGNED = 4
    NEXT_REMOVED = 8
    OLD_ASSIGNED = 16
    OLD_REMOVED = 32
    OLD_OTHER = 64
    KNOWN_ASSIGNED = 128
    KNOWN_REMOVED = 256
    NEXT_KNOWN_ASSIGNED = 512
    NEXT_KNOWN_REMOVED = 1024
    IN_ROW = 2048
    OLD = OLD_ASSIGNED | OLD_REMOVED | OLD_OTHER


class Decision(IntFlag):
    """What to do with a pair. It is one number, as each column takes time on its way to Python.

    IN_DAY, IN_PREVIOUS, IN_NEXT: the pair is in this day's, the previous or the next day's
        snapshot.
    STAGE_...: add a row with this status. UNSTAGE: take out the rows that were staged before.
    ASSIGNED, REMOVED: what the day changes, compared with the previous day.
    IS_CHANGED: the recorded change is another one.
    NEXT_...: the same for the next day, for which only removals are staged again.
    """

    IN_DAY = 1
    IN_PREVIOUS = 2
    STAGE_ASSIGNED = 4
    STAGE_REMOVED = 8
    UNSTAGE = 16
    ASSIGNED = 32
    REMOVED = 64
    IS_CHANGED = 128
    NEXT_STAGE_REMOVED = 256
    NEXT_UNSTAGE = 512
    NEXT_ASSIGNED = 1024
    NEXT_REMOVED = 2048
    NEXT_IS_CHANGED = 4096
    IN_NEXT = 8192


def transform_agent_roles(
    raw: DataFrame, snapshots: DataFrame, *, has_next: bool, partitions: int
) -> DataFrame:
    """Validate, deduplicate, and detect assignments and removals, in one pass and one shuffle.

    Args:
        raw: the day's raw rows.
        snapshots: staged rows of the previous day, of this day as it was staged before, and of
            the next day; and the recorded changes of this day and the next day. The columns are
            those of `SNAPSHOT_SCHEMA`, and `seen` is a `Seen`.
        has_next: whether a later day is staged.
        partitions: how many partitions the shuffle has.

    Returns: a row for each pair, for each invalid row and for each note of the reader:
        agent_id, role_id: the pair. For an invalid row, the ids that could be read.
        refused: null for a pair. Otherwise a JSON object of `kind`, `message` and `raw`; `kind` is
            that of `RAW_ROWS`.
        valid_rows: how many valid raw rows the pair has.
        decision: a `Decision` for a pair, otherwise 0.
    """
    grouped = (
        _validated(raw)
        .unionByName(_snapshot_rows(snapshots))
        # Invalid rows pass the same shuffle, so the dump is read only once. `refused` is part of
        # the key, so many invalid rows of one role are still spread evenly.
        .repartition(partitions, *_KEYS)
        .groupBy(*_KEYS)
        # Spark aggregates numbers by hash. For any other type it would sort.
        .agg(
            F.bit_or("seen").alias("seen"),
            F.count_if(_has("seen", Seen.IN_ROW)).alias("valid_rows"),
            F.count_if(_has("seen", Seen.OLD)).alias("old_rows"),
        )
    )
    return _decided(grouped, has_next=has_next)


_KEYS = ("agent_id", "role_id", "refused")


def _validated(raw: DataFrame) -> DataFrame:
    """Raw rows with their ids, and `refused` where they are invalid or no rows."""
    # A row of the reader's fast path is valid, and its status is `assigned`.
    is_plain = F.col("agent_id").isNotNull()
    checked = raw.select(
        "kind",
        F.coalesce("agent_id", id_value("agent")).alias("agent_id"),
        F.coalesce("role_id", id_value("role")).alias("role_id"),
        F.when(is_plain, None)
        .when(F.col("kind") == "row", message("agent", "role", "status", "problem"))
        .otherwise(F.col("problem"))
        .alias("message"),
        (is_plain | (status_value("status") == ASSIGNED)).alias("is_assigned"),
        "raw",
    )
    is_valid = F.col("message").isNull()
    return checked.select(
        "agent_id",
        "role_id",
        # One text takes the least time for the valid rows, which have none.
        F.when(~is_valid, F.to_json(F.struct("kind", "message", "raw"))).alias("refused"),
        F.when(is_valid & F.col("is_assigned"), int(Seen.IN_ROW | Seen.IN_DAY))
        .when(is_valid, int(Seen.IN_ROW))
        .otherwise(int(Seen.NOWHERE))
        .alias("seen"),
    )


def _snapshot_rows(snapshots: DataFrame) -> DataFrame:
    """Staged rows in the columns of `_validated`."""
    # This program stages no row without an id. Such a row of this day must go, and such a row of
    # another day means nothing.
    has_ids = F.col("agent_id").isNotNull() & F.col("role_id").isNotNull()
    return snapshots.where(_has("seen", Seen.OLD) | has_ids).select(
        "agent_id", "role_id", F.lit(None).cast("string").alias("refused"), "seen"
    )


def _decided(grouped: DataFrame, *, has_next: bool) -> DataFrame:
    """Each pair with its decision."""
    in_day, in_previous = _has("seen", Seen.IN_DAY), _has("seen", Seen.IN_PREVIOUS)
    next_assigned = _has("seen", Seen.NEXT_ASSIGNED)
    next_removed = _has("seen", Seen.NEXT_REMOVED)
    old_assigned, old_removed = _has("seen", Seen.OLD_ASSIGNED), _has("seen", Seen.OLD_REMOVED)
    has_old = F.col("old_rows") > 0
    # One row with the right status stays. Any other rows go, which also repairs what somebody else
    # did to the table.
    is_kept = (F.col("old_rows") == 1) & F.when(in_day, old_assigned).otherwise(
        in_previous & old_removed
    )
    assigned, removed, is_changed = _changes(
        in_previous, in_day, Seen.KNOWN_ASSIGNED, Seen.KNOWN_REMOVED
    )
    next_gets, next_loses, next_is_changed = _changes(
        in_day, next_assigned, Seen.NEXT_KNOWN_ASSIGNED, Seen.NEXT_KNOWN_REMOVED
    )
    decided = {
        Decision.IN_DAY: in_day,
        Decision.IN_PREVIOUS: in_previous,
        Decision.STAGE_ASSIGNED: ~is_kept & in_day,
        Decision.STAGE_REMOVED: ~is_kept & removed,
        Decision.UNSTAGE: ~is_kept & has_old,
        Decision.ASSIGNED: assigned,
        Decision.REMOVED: removed,
        Decision.IS_CHANGED: is_changed,
    }
    if has_next:
        decided |= {
            Decision.IN_NEXT: next_assigned,
            Decision.NEXT_STAGE_REMOVED: next_loses & ~next_removed,
            Decision.NEXT_UNSTAGE: next_removed & ~next_loses,
            Decision.NEXT_ASSIGNED: next_gets,
            Decision.NEXT_REMOVED: next_loses,
            Decision.NEXT_IS_CHANGED: next_is_changed,
        }
    flags = (F.when(condition, int(flag)).otherwise(0) for flag, condition in decided.items())
    decision = reduce(Column.bitwiseOR, flags)
    return grouped.select(
        *_KEYS,
        "valid_rows",
        F.when(F.col("refused").isNull(), decision).otherwise(0).alias("decision"),
    )


def _changes(
    before: Column, after: Column, known_assigned: Seen, known_removed: Seen
) -> tuple[Column, Column, Column]:
    """What a day changes, compared with the day before it.

    Args:
        before, after: whether the day before has the pair, and whether the day has it.
        known_assigned, known_removed: what is on record for the day.

    Returns: whether the pair is assigned, whether it is removed, and whether that differs from the
        record. The staged rows don't count as the record, as somebody may have changed them.
    """
    assigned, removed = after & ~before, before & ~after
    return assigned, removed, _differs(assigned, known_assigned) | _differs(removed, known_removed)


def _has(seen: str, flag: Seen) -> Column:
    return F.col(seen).bitwiseAND(int(flag)) != 0


def _differs(is_so: Column, known: Seen) -> Column:
    return is_so != _has("seen", known)
