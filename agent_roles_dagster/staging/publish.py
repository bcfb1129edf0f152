"""Publishing a loaded day, or only what it refuses."""

import json
from collections.abc import Callable
from functools import partial

from psycopg.types.json import Jsonb

from agent_roles_dagster.outcomes import Held
from agent_roles_dagster.postgres.locks import lock_tables
from agent_roles_dagster.postgres.sql_files import Connection, one, rows_of_file, run_file
from agent_roles_dagster.settings import Settings
from agent_roles_dagster.staging.guard import why_held
from agent_roles_dagster.staging.load_tables import (
    Load,
    drop_used_tables,
    removal_sample,
    use_load_tables,
)
from agent_roles_dagster.staging.neighbours import Neighbours
from agent_roles_dagster.staging.staged_day import StagedDay
from agent_roles_dagster.sync_days import day_number

_SAMPLE = 10

# Whether rows of the day are going to be others, or are of a version that took no fingerprint.
_IS_CHANGED = """
    SELECT EXISTS (SELECT FROM agent_roles_load_rows)
        OR EXISTS (SELECT FROM agent_roles_load_delta WHERE NOT is_next AND (stage OR unstage))
        OR NOT EXISTS (
            SELECT FROM agent_role_sync_days WHERE sync_day = %s AND fingerprint IS NOT NULL
        )
"""


def publish(
    settings: Settings,
    connection: Connection,
    staged: StagedDay,
    neighbours: Neighbours,
    target: Load,
    run_id: str,
    accept_removals: str | None,
    approver: str | None,
    say: Callable[[str], None],
) -> Held | None:
    """Publish the loaded day in the turn's transaction; or its errors only, and say why."""
    reason = why_held(
        settings.guard,
        records=staged.records,
        assigned=staged.assigned,
        previous=staged.previous_assigned,
        removals=staged.removed,
    )
    held = None
    if reason and not accept_removals:
        sample = removal_sample(connection, target, _SAMPLE)
        held = Held(_held_text(staged, reason, sample), vars(staged), sample)
    following = neighbours.next["sync_day"] if neighbours.next else None
    wait = f"{staged.sync_day}: waiting, since another run is changing the tables"
    lock_tables(connection, on_wait=lambda: say(wait))
    use_load_tables(connection, target)
    connection.execute(
        "INSERT INTO agent_roles_load_day"
        " SELECT * FROM jsonb_populate_record(NULL::agent_roles_load_day, %s)",
        (
            Jsonb(
                {
                    **vars(staged),
                    "day_no": day_number(staged.sync_day),
                    "next_day": following,
                    "next_day_no": None if following is None else day_number(following),
                    "is_first": target.is_first,
                    "loaded_at": target.loaded_at,
                    "run_id": run_id,
                    "accepted_reason": accept_removals if reason else None,
                    "held_reason": None if held is None else str(held),
                },
                partial(json.dumps, default=str),
            ),
        ),
    )
    run_file(connection, "load/021_publish_errors")
    if held is None:
        is_changed = one(connection, _IS_CHANGED, (staged.sync_day,))
        if reason:
            _record_acceptance(
                connection, staged.sync_day, accept_removals, approver, reason, run_id
            )
        run_file(connection, "load/022_publish_day")
        connection.execute(
            "UPDATE agent_role_sync_days"
            " SET accepted_by = NULL, accepted_run = NULL, accepted_what = NULL"
            " WHERE sync_day = %s AND accepted_reason IS NULL AND accepted_run IS NOT NULL",
            (staged.sync_day,),
        )
        if is_changed:
            _record_fingerprint(connection, staged.sync_day)
    drop_used_tables(connection, target)
    return held


def _record_fingerprint(connection: Connection, sync_day: str) -> None:
    """Not in one statement: several processes take part in a sum only where nothing is written."""
    [found] = rows_of_file(connection, "load/fingerprint", sync_day=sync_day)
    connection.execute(
        "UPDATE agent_role_sync_days SET fingerprint = %s WHERE sync_day = %s",
        (found["fingerprint"], sync_day),
    )


def _record_acceptance(
    connection: Connection, day: str, reason: str | None, approver: str | None, what: str, run: str
) -> None:
    """Who accepted what in which run, unless that is known; before the reason is published."""
    connection.execute(
        """
        UPDATE agent_role_sync_days
        SET accepted_by = %(approver)s, accepted_run = %(run)s, accepted_what = %(what)s
        WHERE
            sync_day = %(day)s
            AND (accepted_reason, accepted_by, accepted_what)
            IS DISTINCT FROM (%(reason)s, %(approver)s, %(what)s)
        """,
        {"day": day, "reason": reason, "approver": approver, "what": what, "run": run},
    )


def _held_text(staged: StagedDay, reason: str, sample: list[str]) -> str:
    shown = f" Among them: {'; '.join(sample)}." if sample else ""
    return (
        f"{staged.sync_day} is held: {reason}.{shown} Nothing was staged, the tables are as before;"
        f" of its rows only those refused were recorded ({staged.invalid_rows:,}). If a page is"
        " missing, land the whole dump again and materialise the day. If the removals are right,"
        " run the job accept_held_day for the day, which asks why and who says so, or"
        ' materialise it with the run config accept_removals: "..." of the op'
        " stage_agent_roles."
    )
