"""Many landed days that were never run: one run loads them, in their order.

Each day that is reported as landed would be a run of its own, in no set order. So the sensor does
not report the days of the backlog.
"""

import hashlib
import time
from collections.abc import Mapping
from datetime import UTC, datetime

import dagster as dg
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from dagster._core.storage.tags import RUN_KEY_TAG

from agent_roles_dagster.orchestration.assets import landed_dump, raw_roles
from agent_roles_dagster.orchestration.automation import LOAD, automation_is_on
from agent_roles_dagster.orchestration.many_days.config import run_config
from agent_roles_dagster.settings import Settings

# One run loads the days that were never run if they are more than this. Fewer days, and each day
# that lands later, are a run each.
_MANY = 10
# Seconds of silence after which a run counts as dead.
_SILENT = 3600
# Seconds after which a run of many days that failed is requested again.
_AGAIN = 3600


def find_backlog(
    instance: dg.DagsterInstance, settings: Settings, days: list[str]
) -> tuple[list[str], str]:
    """Which of the landed days wait for a run of many days, and why none can be requested now."""
    reported = instance.get_materialized_partitions(landed_dump.key)
    unreported = [day for day in days if day not in reported]
    if not unreported:
        return [], ""
    if _is_loading(instance):
        return unreported, "its run is not over"
    ran = instance.get_materialized_partitions(raw_roles.key)
    never_run = [day for day in unreported if day not in ran]
    if len(never_run) <= _MANY:
        return [], ""
    is_on = automation_is_on(instance, settings)
    return never_run, "" if is_on else "run it, as automation is off"


def request_load(
    instance: dg.DagsterInstance, landed: Mapping[str, str]
) -> tuple[dg.RunRequest | None, str, list[dg.AssetObservation | dg.AssetMaterialization]]:
    """One run for these days; or why it is not requested now, and an event to report first.

    Args:
        landed: the fingerprint of each day, at least one.
    """
    if not instance.event_log_storage.get_maximum_record_id():
        # Before the first event, the automation can't see to which run an event belongs.
        said = f"{len(landed):,} days landed"
        first = dg.AssetObservation(landed_dump.key, description=said)
        return None, "its run is requested at the next tick", [first]
    request = dg.RunRequest(
        run_key=_run_key(instance, landed),
        # A refused day must not keep all later days waiting.
        run_config=run_config(days=landed, on_refused="skip"),
    )
    known = dg.RunsFilter(tags={RUN_KEY_TAG: str(request.run_key)})
    if instance.get_runs_count(known):
        why = "its last run for them failed, and it is run again within an hour; to have it sooner,"
        return None, f"{why} run it", []
    return request, "", []


def _run_key(instance: dg.DagsterInstance, landed: Mapping[str, str]) -> str:
    """Another key, and so another run, if a day changed or an hour after the last run failed."""
    failed = dg.RunsFilter(
        job_name=LOAD,
        statuses=[dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED],
        updated_before=datetime.fromtimestamp(time.time() - _AGAIN, UTC),
    )
    lines = [f"{day} {seen}\n" for day, seen in landed.items()]
    lines += [run.run_id for run in instance.get_runs(failed, limit=1)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:32]


def _is_loading(instance: dg.DagsterInstance) -> bool:
    """Whether a run that loads many days is queued, or has begun and is not over."""
    unfinished = dg.RunsFilter(job_name=LOAD, statuses=NOT_FINISHED_STATUSES)
    return any(
        run.status == dg.DagsterRunStatus.QUEUED or _is_alive(instance, run.run_id)
        for run in instance.get_runs(unfinished)
    )


def _is_alive(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether the run said something of late.

    A killed command could not report its end, so Dagster would count it as unfinished for ever.
    """
    newest = instance.get_records_for_run(run_id, limit=1, ascending=False).records
    created = instance.get_run_record_by_id(run_id)
    spoke = (
        newest[0].timestamp if newest else created.create_timestamp.timestamp() if created else 0
    )
    return time.time() - spoke < _SILENT
