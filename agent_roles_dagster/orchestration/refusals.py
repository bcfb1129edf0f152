"""What Dagster shows of a day that a step refuses."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from agent_roles_dagster.orchestration import reports
from agent_roles_dagster.orchestration.best_effort import best_effort
from agent_roles_dagster.orchestration.checks import MAY_BE_STAGED, STAGED
from agent_roles_dagster.orchestration.failed_partitions import planned_assets, show_as_failed
from agent_roles_dagster.orchestration.failures import failure
from agent_roles_dagster.orchestration.reports import Context, Event
from agent_roles_dagster.orchestration.resources import AgentRolesResource
from agent_roles_dagster.orchestration.stale_reports import refresh
from agent_roles_dagster.orchestration.summary import what_was_read
from agent_roles_dagster.outcomes import FAILED, DayRefused, Held, Unreadable
from agent_roles_dagster.postgres.connection import connect
from agent_roles_dagster.staging.stage import record_unreadable
from agent_roles_dagster.sync_days import is_sync_day

Refusal = Event | dg.AssetObservation


def refused(
    context: Context, agent_roles: AgentRolesResource, error: DayRefused
) -> Iterator[Refusal]:
    """Fail the day's own check, and the run.

    Raises:
        dg.Failure: the refusal, with its advice.
        DayRefused: the error with its advice, if nothing is wrong with the day itself.
    """
    if error.outcome == FAILED:
        raise type(error)(error.sentence()).with_traceback(error.__traceback__) from None
    about: dict[str, Any] = {}
    if isinstance(error, Unreadable):
        _record(context, agent_roles, error)
    elif isinstance(error, Held):
        about = _about_held(error)
        yield from _changed_by_errors(context, agent_roles)
        # The reports above would show the day as materialised.
        instance, run_id, day = context.instance, context.run_id, context.partition_key
        planned = planned_assets(instance, run_id, day) & reports.METADATA.keys()
        show_as_failed(instance, run_id, day, sorted(planned))
    failed = failure(error, about)
    explained = {"why, and what to do": error.sentence(), "outcome": error.outcome, **about}
    # A failed run materialises nothing. Dagster shows what is observed among the day's events, and
    # in the plots of events.
    yield dg.AssetObservation(STAGED, partition=context.partition_key, metadata=explained)
    yield dg.AssetCheckEvaluation(
        asset_key=STAGED,
        check_name=MAY_BE_STAGED.name,
        passed=False,
        description=error.sentence(),
        metadata=explained,
        partition=context.partition_key,
    )
    raise failed from None


def _record(context: Context, agent_roles: AgentRolesResource, error: Unreadable) -> None:
    day = context.partition_key
    if is_sync_day(day):
        with best_effort(context, day, "that the day is unreadable is not on record"):
            record_unreadable(agent_roles.database_url(), day, context.run_id, str(error))


def _about_held(error: Held) -> dict[str, Any]:
    counts = error.counts
    about = {
        "previous day": counts["previous_day"] or "none",
        # As text: a number of refused days alone would be a plot with lone points.
        "assigned on the previous day": f"{counts['previous_assigned']:,}",
        "assigned by this dump": f"{counts['assigned']:,}",
        "removals held": counts["removed"],
        "invalid rows": counts["invalid_rows"],
        "what was read": dg.MetadataValue.md(what_was_read(counts)),
        "observed at": f"{counts['observed_at']:{reports.TIME}} UTC",
    }
    sample = {"sample of the removals": "; ".join(error.sample)} if error.sample else {}
    return about | sample


def _changed_by_errors(context: Context, agent_roles: AgentRolesResource) -> Iterator[Event]:
    """Report anew what the invalid rows of the held day change."""
    day = context.partition_key
    with (
        best_effort(context, day, "what it changes for other days is not reported"),
        connect(agent_roles.database_url()) as connection,
    ):
        yield from refresh(context, connection, day, own=[])
