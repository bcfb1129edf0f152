"""The sensor that registers and reports each sync day as it lands."""

import hashlib
import time
from datetime import UTC, datetime
from itertools import takewhile
from typing import Any

import dagster as dg
from dagster._core.definitions.data_version import DATA_VERSION_TAG
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from dagster._core.storage.tags import RUN_KEY_TAG

from agent_roles_dagster.landing.arrival import days_to_look_at, look_at
from agent_roles_dagster.landing.days import landed_days, landed_sentence
from agent_roles_dagster.landing.files import shown
from agent_roles_dagster.orchestration.assets import landed_dump, raw_roles
from agent_roles_dagster.orchestration.automation import LOAD, LOOK_EVERY, automation_is_on
from agent_roles_dagster.orchestration.jobs import load_landed_days
from agent_roles_dagster.orchestration.landing_metadata import what_landed
from agent_roles_dagster.orchestration.many_days.config import run_config
from agent_roles_dagster.orchestration.partitions import SYNC_DAY
from agent_roles_dagster.settings import Settings
from agent_roles_dagster.sync_days import day_number

_SECONDS = 30
# One run loads this many days that were never run. Fewer days, and each day that lands later, are
# a run each.
_MANY = 10
# Seconds of silence after which a run counts as dead.
_SILENT = 3600
# Seconds after which a run of many days that failed is requested again.
_AGAIN = 3600


@dg.sensor(
    job=load_landed_days,
    description="Registers each sync day once its dump is complete, and reports it as landed;"
    " again whenever it lands with other content. If automation is on and many days were never"
    f" run, one run of {LOAD} loads them.",
    minimum_interval_seconds=LOOK_EVERY,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def landed_sync_days(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Compare the landing folder with what was reported before, in the days' order."""
    settings = Settings.from_env()
    days = landed_days(settings.landing)
    registered = _without_those_gone(context.instance, days)
    now = time.time()
    chosen, in_turn = days_to_look_at(days, registered, context.cursor, int(now) // LOOK_EVERY)
    reported_once = context.instance.get_materialized_partitions(landed_dump.key)
    unreported = [day for day in days if day not in reported_once]
    ran = context.instance.get_materialized_partitions(raw_roles.key) if unreported else ()
    never_run = [day for day in unreported if day not in ran]
    is_many = len(never_run) > _MANY
    is_loading = _is_loading(context.instance)
    may_load = is_many and not is_loading and automation_is_on(context.instance, settings)
    if may_load:
        chosen += [day for day in never_run if day not in chosen]
    reported = context.instance.event_log_storage.get_latest_tags_by_partition(
        landed_dump.key,
        dg.DagsterEventType.ASSET_MATERIALIZATION,
        [DATA_VERSION_TAG],
        asset_partitions=chosen,
    )
    until = time.monotonic() + _SECONDS
    last = context.cursor
    landed, landing, odd = {}, [], []
    passed_over = set()  # They are gone, or can't be looked into.
    about: dict[str, dict[str, Any]] = {}
    for day in chosen:
        if time.monotonic() > until:
            odd.append("the others at the next tick")  # Dagster ends a tick that takes a minute.
            break
        last = day if day in in_turn else last
        # A day that is not registered is new, even if it was reported before.
        known = reported.get(day, {}).get(DATA_VERSION_TAG) if day in registered else None
        try:
            arrival = look_at(settings.landing, day, known, now)
        except Exception as error:  # The other days do not wait for this one.
            odd.append(f"{day} can't be looked into ({type(error).__name__})")
            passed_over.add(day)
            continue
        if arrival is None:
            passed_over.add(day)
        elif arrival.is_complete(now, settings.settle_seconds):
            landed[day] = arrival.fingerprint
            about[day] = what_landed(day, arrival, settings)
        else:
            landing.append(day)
    # Not by the sensor's result: Dagster would report the days before it registers them.
    context.instance.add_dynamic_partitions(SYNC_DAY, sorted(landed, key=day_number))
    # Each day that is reported as landed would be a run of its own, in no set order.
    waiting = unreported if is_loading else never_run if is_many else []
    new = [day for day in waiting if day in landed]
    # In their order: no day after the first that is still landing.
    reached = takewhile(lambda day: day in landed or day in passed_over, waiting)
    to_load = {day: landed[day] for day in reached if day in landed} if may_load else {}
    # If the instance has no event yet, the automation can't tell to which run an event belongs.
    first = [dg.AssetObservation(landed_dump.key, description=f"{len(to_load):,} days landed")]
    if not to_load or context.instance.event_log_storage.get_maximum_record_id():
        first = []
    request = _to_load(context.instance, to_load) if to_load and not first else None
    has_failed = request is not None and _has_run(context.instance, request)
    requests = [request] if request and not has_failed else []
    landed = {day: seen for day, seen in landed.items() if day not in new}
    nothing = f"Nothing new under {shown(settings.landing)}"
    if not days:  # Perhaps the landing folder is not there.
        nothing = landed_sentence(settings.landing)
    said = [f"{', '.join(landed)} landed"] if landed else []
    if waiting:
        if is_loading:
            why = "its run is not over"
        elif has_failed:
            why = "its last run for them failed, and it is run again within an hour; to have it"
            why += " sooner, run it"
        elif may_load:
            why = "the first of them is still landing"
        else:
            why = "run it, as automation is off"
        said.append(f"{len(waiting):,} days wait for {LOAD}: {why}")
    said += [f"{', '.join(landing)} still landing"] if landing else []
    said += odd
    told = "; ".join(said) or nothing
    return dg.SensorResult(
        # Dagster accepts no skip reason together with a request.
        run_requests=requests or None,
        skip_reason=None if requests else told,
        asset_events=[
            *first,
            *(
                dg.AssetMaterialization(
                    landed_dump.key,
                    partition=day,
                    metadata=about[day],
                    tags={DATA_VERSION_TAG: seen},
                )
                for day, seen in sorted(landed.items(), key=lambda each: day_number(each[0]))
            ),
        ],
        cursor=last,
    )


def _without_those_gone(instance: dg.DagsterInstance, days: list[str]) -> set[str]:
    """The registered days. A day whose folder is gone is deregistered, if it was never run."""
    registered = set(instance.get_dynamic_partitions(SYNC_DAY))
    # If no folder is there at all, the landing folder itself may be unavailable.
    gone = registered.difference(days) if days else set()
    if gone:
        gone -= instance.get_materialized_partitions(raw_roles.key)
    for day in gone:
        instance.delete_dynamic_partition(SYNC_DAY, day)
    return registered - gone


def _is_loading(instance: dg.DagsterInstance) -> bool:
    """Whether a run that loads many days has started or is queued."""
    unfinished = dg.RunsFilter(job_name=LOAD, statuses=NOT_FINISHED_STATUSES)
    return any(
        run.status != dg.DagsterRunStatus.STARTED
        # A killed command could not report its end, so Dagster would count it as running for ever.
        or time.time()
        - instance.get_records_for_run(run.run_id, limit=1, ascending=False).records[0].timestamp
        < _SILENT
        for run in instance.get_runs(unfinished)
    )


def _to_load(instance: dg.DagsterInstance, landed: dict[str, str]) -> dg.RunRequest:
    """One run for all these days.

    Dagster launches each run key once: another run is requested if one of the days changes, or an
    hour after the last run failed.
    """
    failed = dg.RunsFilter(
        job_name=LOAD,
        statuses=[dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED],
        updated_before=datetime.fromtimestamp(time.time() - _AGAIN, UTC),
    )
    lines = [f"{day} {seen}\n" for day, seen in landed.items()]
    lines += [run.run_id for run in instance.get_runs(failed, limit=1)]
    return dg.RunRequest(
        run_key=hashlib.sha256("".join(lines).encode()).hexdigest()[:32],
        # A refused day must not keep all later days waiting.
        run_config=run_config(days=landed, on_refused="skip"),
    )


def _has_run(instance: dg.DagsterInstance, request: dg.RunRequest) -> bool:
    known = dg.RunsFilter(tags={RUN_KEY_TAG: str(request.run_key)})
    return instance.get_runs_count(known) > 0
