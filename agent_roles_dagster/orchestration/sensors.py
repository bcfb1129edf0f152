"""Sensors: noticing that a sync day landed, and telling somebody what went wrong.

They only discover and tell; runs are launched elsewhere.

https://docs.dagster.io/guides/automate/sensors
"""

import hashlib
import json
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

import dagster as dg
from dagster._core.definitions.data_version import DATA_VERSION_TAG
from dagster._core.event_api import PartitionKeyFilter
from dagster._core.execution.backfill import BULK_ACTION_TERMINAL_STATUSES
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES, RunRecord
from dagster._core.storage.tags import BACKFILL_ID_TAG, PARTITION_NAME_TAG, WILL_RETRY_TAG

from agent_roles_dagster.landing.arrival import days_to_look_at, look_at
from agent_roles_dagster.landing.days import landed_days, landed_sentence
from agent_roles_dagster.landing.files import shown
from agent_roles_dagster.orchestration.assets import landed_dump, raw_roles
from agent_roles_dagster.orchestration.automation import LOAD, LOOK_EVERY, automation_is_on
from agent_roles_dagster.orchestration.check_results import said
from agent_roles_dagster.orchestration.checks import finding
from agent_roles_dagster.orchestration.jobs import load_landed_days
from agent_roles_dagster.orchestration.landing_metadata import what_landed
from agent_roles_dagster.orchestration.many_days import run_config
from agent_roles_dagster.orchestration.notices import (
    DIED,
    READ,
    NotDelivered,
    gathered,
    overdue,
    post,
    what_went_wrong,
)
from agent_roles_dagster.orchestration.partitions import SYNC_DAY
from agent_roles_dagster.settings import Settings
from agent_roles_dagster.sync_days import day_number, is_sync_day

_ENDS: Final = (dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_SUCCESS)
_ENDED = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS]
_RUNS_AT_ONCE = 20
_SECONDS = 30
# So many days that were never run are loaded by one run; fewer are a run each, as each day is that
# lands from then on.
_MANY = 10
# Seconds after which a run that says nothing is taken for one that is no more.
_SILENT = 3600


@dg.sensor(
    job=load_landed_days,
    description="Registers each sync day once its dump is complete, and reports it as landed;"
    " again whenever it lands with other content. Many days that were never run it has loaded by"
    f" one run of {LOAD} instead, if automation is on.",
    minimum_interval_seconds=LOOK_EVERY,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def landed_sync_days(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Compares the landing folder with what was reported before, in the days' order."""
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
    about: dict[str, dict[str, Any]] = {}
    for day in chosen:
        if time.monotonic() > until:
            odd.append("the others at the next tick")  # Dagster ends one that takes a minute.
            break
        last = day if day in in_turn else last
        # One that is not registered, or not any more, is new, whatever was reported once.
        known = reported.get(day, {}).get(DATA_VERSION_TAG) if day in registered else None
        try:
            arrival = look_at(settings.landing, day, known, now)
        except Exception as error:  # The other days are not to wait for this one.
            odd.append(f"{day} can't be looked into ({type(error).__name__})")
            continue
        if arrival:
            if arrival.is_complete(now, settings.settle_seconds):
                landed[day] = arrival.fingerprint
                about[day] = what_landed(day, arrival, settings)
            else:
                landing.append(day)
    # At once, not by the result: Dagster would report the days before it registers them.
    context.instance.add_dynamic_partitions(SYNC_DAY, sorted(landed, key=day_number))
    # As landings, each would be a run of its own, in no set order.
    waiting = unreported if is_loading else never_run if is_many else []
    new = [day for day in waiting if day in landed]
    to_load = {day: landed[day] for day in new} if may_load else {}
    # In an instance without an event, the automation can't tell which run an event is of.
    first = [dg.AssetObservation(landed_dump.key, description=f"{len(to_load):,} days landed")]
    if not to_load or context.instance.event_log_storage.get_maximum_record_id():
        first = []
    requests = [_to_load(to_load)] if to_load and not first else []
    landed = {day: seen for day, seen in landed.items() if day not in new}
    nothing = f"Nothing new under {shown(settings.landing)}"
    if not days:  # Perhaps there can be none.
        nothing = landed_sentence(settings.landing)
    said = [f"{', '.join(landed)} landed"] if landed else []
    if waiting:
        end = "its run is over" if is_loading else "it has loaded them"
        said.append(f"{len(waiting):,} days are {LOAD}'s: they are not run singly until {end}")
    said += [f"{', '.join(landing)} still landing"] if landing else []
    said += odd
    told = "; ".join(said) or nothing
    return dg.SensorResult(
        # Dagster takes no reason to skip beside a request.
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
    """The registered days, less those whose folders are gone, if they were never run."""
    registered = set(instance.get_dynamic_partitions(SYNC_DAY))
    # If there is none at all, it is rather the landing folder that is not there just now.
    gone = registered.difference(days) if days else set()
    if gone:
        gone -= instance.get_materialized_partitions(raw_roles.key)
    for day in gone:
        instance.delete_dynamic_partition(SYNC_DAY, day)
    return registered - gone


def _is_loading(instance: dg.DagsterInstance) -> bool:
    """Whether a run that loads many days is under way, or waits to be."""
    unfinished = dg.RunsFilter(job_name=LOAD, statuses=NOT_FINISHED_STATUSES)
    return any(
        run.status != dg.DagsterRunStatus.STARTED
        # A command that was killed could not say so: Dagster has it as running for ever.
        or time.time()
        - instance.get_records_for_run(run.run_id, limit=1, ascending=False).records[0].timestamp
        < _SILENT
        for run in instance.get_runs(unfinished)
    )


def _to_load(landed: dict[str, str]) -> dg.RunRequest:
    """One run for all of these; not again before one of them has other content."""
    lines = "".join(f"{day} {seen}\n" for day, seen in landed.items())
    return dg.RunRequest(
        run_key=hashlib.sha256(lines.encode()).hexdigest()[:32],
        # One that is refused is told; it is not to keep all later ones waiting.
        run_config=run_config(days=landed, on_refused="skip"),
    )


@dg.sensor(
    description="Tells of failed runs, failed checks and a day that is overdue: in its log, and to"
    " the webhook if one is set. Each once, unless the day landed again in between.",
    minimum_interval_seconds=LOOK_EVERY,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def notices(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Tells what is new since the last tick; what the webhook does not take, it keeps for the next.

    Raises:
        NotDelivered: the webhook takes none.
        Exception: whatever else kept it from telling anything.
    """
    settings = Settings.from_env()
    # The last event told of each kind; how many days there are, the newest, since when, and whether
    # that was told.
    state: dict[str, Any] = json.loads(context.cursor or "{}")
    told = 0
    said = ""
    until = time.monotonic() + _SECONDS
    try:
        for text, page, after in _news(context.instance, state, settings.fresh_hours):
            if text:
                if settings.webhook_url:
                    post(settings.webhook_url, text, _link(settings.ui_url, page))
                context.log.warning(text)
                told += 1
            state.update(after)
            if time.monotonic() > until:
                break  # The rest at the next tick: Dagster ends one that takes a minute.
    except Exception as error:
        if not told:
            raise
        # What was told is kept; the next tick fails if this lasts.
        said = f" {error if isinstance(error, NotDelivered) else type(error).__name__}"
    return dg.SensorResult(
        skip_reason=f"{told} told.{said}" if told else "Nothing to tell",
        cursor=json.dumps(state),
    )


def _news(
    instance: dg.DagsterInstance, state: dict[str, Any], fresh_hours: float
) -> Iterator[tuple[str | None, str | None, dict[str, Any]]]:
    """Each notice, or None, its page, and what the state is to hold once it has been told."""
    for kind in _ENDS:
        if kind.value not in state:  # What happened before the first tick is old.
            newest = instance.fetch_run_status_changes(kind, limit=1).records
            yield None, None, {kind.value: newest[0].storage_id if newest else 0}
        ended = dg.RunStatusChangeRecordsFilter(kind, after_storage_id=state[kind.value])
        for record in instance.fetch_run_status_changes(
            ended, limit=_RUNS_AT_ONCE, ascending=True
        ).records:
            run = instance.get_run_record_by_id(record.run_id)
            after: dict[str, Any] = {kind.value: record.storage_id}
            backfill = run and run.dagster_run.tags.get(BACKFILL_ID_TAG)
            if backfill:
                after["backfills"] = sorted({*state.get("backfills", []), backfill})
            text = _of_run(instance, run) if run and not backfill else None
            yield text, f"runs/{record.run_id}", after
    for backfill in state.get("backfills", []):
        # Its days are told of together, once it has ended.
        if (known_to := instance.get_backfill(backfill)) is None or (
            known_to.status in BULK_ACTION_TERMINAL_STATUSES
        ):
            left = [each for each in state["backfills"] if each != backfill]
            text = _of_backfill(instance, backfill)
            yield text, f"runs/b/{backfill}", {"backfills": left}
    # Anybody may register a partition, under any name.
    days = filter(is_sync_day, instance.get_dynamic_partitions(SYNC_DAY))
    known = sorted(days, key=day_number)
    last = known[-1] if known else None
    # A state that does not say how many there were is of an earlier version.
    before = {"days": state.get("days", len(known) if "since" in state else -1)}
    before["newest"] = state.get("newest")
    if before != (now := {"days": len(known), "newest": last}):
        # A day is new if it is one more, or the newest by its name. Others may have gone meanwhile.
        is_new = len(known) > before["days"] or (
            last and before["newest"] and day_number(last) > day_number(before["newest"])
        )
        yield None, None, now | ({"since": time.time(), "overdue": False} if is_new else {})
    waited = timedelta(seconds=time.time() - state["since"])
    if not state["overdue"] and (text := overdue(last, waited, fresh_hours)):
        yield text, "automation", {"overdue": True}


def _link(ui_url: str | None, page: str | None) -> str | None:
    return f"{ui_url.rstrip('/')}/{page}" if ui_url and page else None


def _of_run(instance: dg.DagsterInstance, run: RunRecord) -> str | None:
    lines = _news_of(instance, run)
    return "\n".join([*lines, f"Run {run.dagster_run.run_id}"]) if lines else None


def _of_backfill(instance: dg.DagsterInstance, backfill: str) -> str | None:
    """What went wrong in its runs, in one notice."""
    runs = instance.get_run_records(
        dg.RunsFilter(tags={BACKFILL_ID_TAG: backfill}, statuses=_ENDED), ascending=True
    )
    lines = [line for run in runs for line in _news_of(instance, run)]
    return f"{gathered(lines)}\nBackfill {backfill}" if lines else None


def _news_of(instance: dg.DagsterInstance, run: RunRecord) -> list[str]:
    """What went wrong in the run, other than in the day's run before it on the same dump."""
    lines = _lines_of(instance, run)
    if lines and (before := _run_before(instance, run)):
        known = _lines_of(instance, before)
        lines = [line for line in lines if line not in known]
    return lines


def _lines_of(instance: dg.DagsterInstance, run: RunRecord) -> list[str]:
    entries = instance.all_logs(run.dagster_run.run_id, of_type=READ)
    events = [
        entry.dagster_event
        for entry in entries
        if entry.dagster_event and not _is_known(instance, run, entry.dagster_event)
    ]
    lines = what_went_wrong(_day(run), events)
    if run.dagster_run.tags.get(WILL_RETRY_TAG) == "true":
        # Dagster starts it again; only if that was the last time, its death is news.
        lines = [line for line in lines if not line.endswith(DIED)]
    return lines


def _is_known(instance: dg.DagsterInstance, run: RunRecord, event: dg.DagsterEvent) -> bool:
    """Whether it is a check's result that is no news.

    It is none for another day if it was the same before the run, nor is a warning that lasts: one
    that says the same of the day before.
    """
    now = event.event_specific_data
    if not isinstance(now, dg.AssetCheckEvaluation) or now.passed:
        return False
    if now.severity == dg.AssetCheckSeverity.WARN and _lasts(instance, now):
        return True
    if now.partition in (None, _day(run)):
        return False
    records = instance.event_log_storage.get_asset_check_execution_history(
        now.asset_check_key, _RUNS_AT_ONCE, partition_filter=PartitionKeyFilter(key=now.partition)
    )
    runs = [record.run_id for record in records]
    at = runs.index(event_run) if (event_run := run.dagster_run.run_id) in runs else len(runs)
    before = next((record.evaluation for record in records[at + 1 :] if record.evaluation), None)
    return isinstance(before, dg.AssetCheckEvaluation) and said(before) == said(now)


def _lasts(instance: dg.DagsterInstance, now: dg.AssetCheckEvaluation) -> bool:
    if now.partition is None or not is_sync_day(now.partition):
        return False
    number = day_number(now.partition)
    days = filter(is_sync_day, instance.get_dynamic_partitions(SYNC_DAY))
    earlier = [day for day in days if day_number(day) < number]
    if not earlier:
        return False
    day_before = max(earlier, key=day_number)
    key = now.asset_check_key
    found = instance.event_log_storage.get_latest_asset_check_execution_by_key(
        [key], PartitionKeyFilter(key=day_before)
    ).get(key)
    before = found.evaluation if found else None
    return (
        isinstance(before, dg.AssetCheckEvaluation)
        and not before.passed
        and before.severity == now.severity
        and finding(before).replace(day_before, "") == finding(now).replace(now.partition, "")
    )


def _run_before(instance: dg.DagsterInstance, run: RunRecord) -> RunRecord | None:
    """The day's run before this one, unless the day landed in between."""
    runs = instance.get_run_records(
        dg.RunsFilter(
            tags={PARTITION_NAME_TAG: _day(run)},
            statuses=_ENDED,
            created_before=run.create_timestamp,
        ),
        limit=1,
    )
    if not runs:
        return None
    landed = instance.fetch_materializations(
        dg.AssetRecordsFilter(
            landed_dump.key,
            asset_partitions=[_day(run)],
            after_timestamp=runs[0].create_timestamp.timestamp(),
            before_timestamp=run.create_timestamp.timestamp(),
        ),
        limit=1,
    )
    return None if landed.records else runs[0]


def _day(run: RunRecord) -> str:
    is_of_many = run.dagster_run.job_name == LOAD
    return run.dagster_run.tags.get(PARTITION_NAME_TAG, LOAD if is_of_many else "no day")
