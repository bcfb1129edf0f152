"""Applying staged days to the mapping, by `sql/mapping/012_upsert_agent_roles.sql`."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import psycopg

from agent_roles_dagster.outcomes import NotApplied, NotTakenBack
from agent_roles_dagster.postgres.connection import connect
from agent_roles_dagster.postgres.locks import lock_tables
from agent_roles_dagster.postgres.sql_files import Connection, one, rows_of_file, run_file
from agent_roles_dagster.progress import Progress, writing
from agent_roles_dagster.sync_days import day_number

# The COMMIT of the file that follows ends it. A pooler may give a session of another level.
_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"


@dataclass(frozen=True)
class Applied:
    """What applying a day came to.

    Attributes:
        written: rows of the mapping that are new or different.
        deleted: rows that left the mapping.
        days: the day, and the days that were applied with it.
        pruned: the days whose snapshots left staging.
    """

    written: int
    deleted: int
    days: Sequence[str]
    pruned: Sequence[str]


def apply_day(
    url: str,
    sync_day: str,
    run_id: str,
    *,
    keep_days: int = 0,
    landed: Sequence[str] = (),
    say: Callable[[str], None],
    say_every: float | None = None,
) -> Applied:
    """Make the mapping follow the staged days, this one and any that was not applied yet.

    Args:
        keep_days: the snapshots of this many newest days stay in staging. 0 keeps all.
        landed: the days that landed. The snapshots beside one that is not staged yet stay.
        say: takes a line for the user.
        say_every: seconds between lines about progress. None means the default.

    Raises:
        NotApplied: the day is not staged, or its rows break a rule. The mapping is as before.
        psycopg.Error: the database. The mapping is as before.
    """
    with (
        connect(url) as connection,
        Progress(say, writing(url, f"{sync_day}: applying"), say_every),
    ):
        wait = f"{sync_day}: waiting, since another run is changing the tables"
        connection.execute(_BEGIN)
        lock_tables(connection, on_wait=lambda: say(wait))
        # While this run has the lock, no day is added to these.
        rows = rows_of_file(connection, "mapping/days_to_apply", sync_day=sync_day)
        days = [row["sync_day"] for row in rows]
        if sync_day not in days:
            raise NotApplied(
                f"{sync_day} is not staged, so there is nothing to apply and the mapping is as"
                " before; materialise stg_agent_roles for it first"
            )
        for day in days:
            [facts] = rows_of_file(connection, "mapping/011_require_sound", sync_day=day)
            _require_sound(facts, day)
        filled = one(connection, "SELECT agent_role_fill_mapping()")
        counts = run_file(connection, "mapping/012_upsert_agent_roles", run_id=run_id)
        _begin, _level, _path, _lock, _plan, written, deleted, _days, followed, _commit = counts
        if filled or followed:
            # The next run reads this table from end to end, with the dead rows.
            connection.execute("VACUUM (SKIP_LOCKED) agent_role_pending")
        pruned = _prune(connection, sync_day, keep_days, landed) if keep_days else []
    return Applied(filled + written, deleted, days, pruned)


def _prune(
    connection: Connection, sync_day: str, keep_days: int, landed: Sequence[str]
) -> list[str]:
    """Drop old snapshots. If another session uses them now, leave that to a later run.

    Returns:
        The days whose snapshots were dropped.
    """
    dropped: list[str] = []
    parameters = {
        "sync_day": sync_day,
        "keep_days": str(keep_days),
        "landed_days": f"{{{','.join(str(day_number(day)) for day in landed)}}}",
    }
    with suppress(psycopg.errors.LockNotAvailable), connection.transaction():
        connection.execute("LOCK TABLE agent_role_turn IN SHARE ROW EXCLUSIVE MODE NOWAIT")
        connection.execute("SET LOCAL lock_timeout = '2s'")
        rows = rows_of_file(connection, "mapping/prune_snapshots", **parameters)
        dropped = [row["sync_day"] for row in rows]
    return dropped


def _require_sound(facts: dict[str, int], sync_day: str) -> None:
    if broken := {name: count for name, count in facts.items() if count}:
        shown = ", ".join(f"{name.replace('_', ' ')}: {count}" for name, count in broken.items())
        raise NotApplied(
            f"what is staged for {sync_day} breaks rules ({shown}), so nothing was applied and the"
            " mapping is as before; materialise stg_agent_roles for the day again, which stages it"
            " anew from its dump"
        )


def take_back_newest_day(connection: Connection, sync_day: str, run_id: str) -> None:
    """Take the newest staged day out of all tables, and have the mapping follow.

    Raises:
        NotTakenBack: it is not staged, or not the newest day, or the day before was pruned.
        psycopg.Error: the database. If the day is taken back, the next run has the mapping follow.
    """
    connection.execute(_BEGIN)
    try:
        run_file(connection, "admin/take_back_newest_day", sync_day=sync_day)
    except psycopg.errors.RaiseException as error:
        hint = error.diag.message_hint
        raise NotTakenBack(f"{error.diag.message_primary}. {hint}") from None
    connection.execute(_BEGIN)
    run_file(connection, "mapping/012_upsert_agent_roles", run_id=run_id)
