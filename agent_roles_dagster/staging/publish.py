"""Publishing a loaded day. Of a day that is held, only its invalid rows are published."""

import json
from functools import partial

from psycopg.types.json import Jsonb

from agent_roles_dagster.outcomes import Held
from agent_roles_dagster.postgres.locks import lock_tables
from agent_roles_dagster.postgres.sql_files import Connection, rows_of_file, run_file
from agent_roles_dagster.staging.context import Staging
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


def publish(
    run: Staging,
    connection: Connection,
    staged: StagedDay,
    neighbours: Neighbours,
    target: Load,
) -> Held | None:
    """Publish the loaded day in the transaction of `staging_turn`.

    Returns:
        Why the day is held, or None if it was published.
    """
    reason = why_held(
        run.settings.guard,
        records=staged.records,
        assigned=staged.assigned,
        previous=staged.previous_assigned,
        removals=staged.removed,
    )
    waiting = f"{run.sync_day}: waiting, since another"
    used = (
        f"{waiting} session reads its load tables, as a dump tool may: end the dump, or leave these"
        " tables out"
    )
    use_load_tables(connection, target, on_wait=lambda: run.say(used))
    changed = f"{waiting} run is changing the tables"
    lock_tables(connection, on_wait=lambda: run.say(changed))
    held = None
    if reason and not run.accept_removals:
        sample = removal_sample(connection, run.sync_day)
        held = Held(_held_text(staged, reason, sample), vars(staged), sample)
    _write_record(run, connection, staged, neighbours, target, reason, held)
    run_file(connection, "load/021_publish_errors")
    if held is None:
        following = neighbours.next
        if following is not None and (
            not following["is_there"] or following["assigned"] != staged.next_assigned
        ):
            run.say(
                f"{run.sync_day}: somebody changed the snapshot of {following['sync_day']} since it"
                f" was staged. Of it, only what {run.sync_day} itself changes was corrected."
                f" Materialise {following['sync_day']} again"
            )
            run_file(connection, "load/next_day_is_damaged")
        _publish_rows(connection, run.sync_day)
    drop_used_tables(connection, target)
    return held


def _write_record(
    run: Staging,
    connection: Connection,
    staged: StagedDay,
    neighbours: Neighbours,
    target: Load,
    reason: str | None,
    held: Held | None,
) -> None:
    """Write the new values of the day's record into `agent_roles_load_day`.

    Args:
        reason: why the guard would hold the day.
        held: why the day is held; None if it is not, or if a person accepted it.
    """
    following = neighbours.next["sync_day"] if neighbours.next else None
    is_accepted = reason is not None and held is None
    record = {
        **vars(staged),
        "day_no": day_number(staged.sync_day),
        "next_day": following,
        "next_day_no": None if following is None else day_number(following),
        "is_first": target.is_first,
        "loaded_at": target.loaded_at,
        "run_id": run.run_id,
        "accepted_reason": run.accept_removals if is_accepted else None,
        "accepted_by": run.approver if is_accepted else None,
        "accepted_what": reason if is_accepted else None,
        "held_reason": None if held is None else str(held),
    }
    # One bound parameter. A list of thousands of files would be too long for a setting.
    connection.execute(
        "INSERT INTO agent_roles_load_day"
        " SELECT * FROM jsonb_populate_record(NULL::agent_roles_load_day, %s)",
        (Jsonb(record, partial(json.dumps, default=str)),),
    )


def _publish_rows(connection: Connection, sync_day: str) -> None:
    run_file(connection, "load/022_publish_day")
    [found] = rows_of_file(connection, "load/fingerprint", sync_day=sync_day)
    fingerprint = str(found["fingerprint"])
    run_file(connection, "load/record_fingerprint", sync_day=sync_day, fingerprint=fingerprint)


def _held_text(staged: StagedDay, reason: str, sample: list[str]) -> str:
    shown = f" Among them: {'; '.join(sample)}." if sample else ""
    return (
        f"{staged.sync_day} is held: {reason}.{shown} Nothing was staged, the tables are as before;"
        f" only its invalid rows were recorded ({staged.invalid_rows:,}). If a page is"
        " missing, land the whole dump again and materialise the day. If the removals are right,"
        " run the job accept_held_day for the day, which asks why and who says so, or"
        ' materialise it with the run config accept_removals: "..." of the op'
        " stage_agent_roles."
    )
