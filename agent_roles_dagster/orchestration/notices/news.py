"""What happened since the sensor's last tick: runs that ended, and whether a day is overdue."""

import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Final, Literal, get_args

import dagster as dg
from dagster._core.event_api import PartitionKeyFilter
from dagster._core.execution.backfill import BULK_ACTION_TERMINAL_STATUSES
from dagster._core.storage.dagster_run import RunRecord
from dagster._core.storage.tags import BACKFILL_ID_TAG, PARTITION_NAME_TAG, WILL_RETRY_TAG

from agent_roles_dagster.orchestration.assets import landed_dump
from agent_roles_dagster.orchestration.automation import LOAD
from agent_roles_dagster.orchestration.checks import finding
from agent_roles_dagster.orchestration.checks.history import said
from agent_roles_dagster.orchestration.notices.compose import gathered, overdue
from agent_roles_dagster.orchestration.notices.sentences import DIED, READ, what_went_wrong
from agent_roles_dagster.orchestration.partitions import SYNC_DAY
from agent_roles_dagster.sync_days import day_number, is_sync_day

_End = Literal[dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_SUCCESS]
_ENDS: Final[tuple[_End, ...]] = get_args(_End)
_ENDED = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS]
_RUNS_AT_ONCE = 20


def news(
    instance: dg.DagsterInstance, state: dict[str, Any], fresh_hours: float
) -> Iterator[tuple[str | None, str | None, dict[str, Any]]]:
    """Each notice or None, its page, and how the state changes once the notice is posted."""
    for kind in _ENDS:
        if kind.value not in state:  # Nothing that happened before the first tick is news.
            newest = instance.fetch_run_status_changes(kind, limit=1).records
            yield None, None, {kind.value: newest[0].storage_id if newest else 0}
        yield from _of_ended(instance, state, kind)
    for backfill in state.get("backfills", []):
        # One notice tells of all its days, once it has ended.
        if (known_to := instance.get_backfill(backfill)) is None or (
            known_to.status in BULK_ACTION_TERMINAL_STATUSES
        ):
            left = [each for each in state["backfills"] if each != backfill]
            text = _of_backfill(instance, backfill)
            yield text, f"runs/b/{backfill}", {"backfills": left}
    # A person may register a partition under any name.
    days = filter(is_sync_day, instance.get_dynamic_partitions(SYNC_DAY))
    known = sorted(days, key=day_number)
    last = known[-1] if known else None
    # An earlier version left a state without the number of days.
    before = {"days": state.get("days", len(known) if "since" in state else -1)}
    before["newest"] = state.get("newest")
    if before != (now := {"days": len(known), "newest": last}):
        # A day is new if there are more days than before, or if the newest has a higher number.
        is_new = len(known) > before["days"] or (
            last and before["newest"] and day_number(last) > day_number(before["newest"])
        )
        yield None, None, now | ({"since": time.time(), "overdue": False} if is_new else {})
    waited = timedelta(seconds=time.time() - state["since"])
    if not state["overdue"] and (text := overdue(last, waited, fresh_hours)):
        yield text, "automation", {"overdue": True}


def _of_ended(
    instance: dg.DagsterInstance, state: Mapping[str, Any], kind: _End
) -> Iterator[tuple[str | None, str | None, dict[str, Any]]]:
    """One notice for the runs that ended since the last tick, however many days they are about."""
    ended = dg.RunStatusChangeRecordsFilter(kind, after_storage_id=state[kind.value])
    records = instance.fetch_run_status_changes(ended, limit=_RUNS_AT_ONCE, ascending=True).records
    runs, backfills, lines = [], {*state.get("backfills", [])}, []
    for record in records:
        run = instance.get_run_record_by_id(record.run_id)
        if run and (backfill := run.dagster_run.tags.get(BACKFILL_ID_TAG)):
            backfills.add(backfill)
        elif run and (of_run := _news_of(instance, run)):
            runs.append(run)
            lines += of_run
    if not records:
        return
    after = {kind.value: records[-1].storage_id, "backfills": sorted(backfills)}
    if not runs:
        yield None, None, after
        return
    # Many days may say much the same.
    is_of_many = len(runs) > 1 or runs[0].dagster_run.job_name == LOAD
    ids = [run.dagster_run.run_id for run in runs]
    text = "\n".join(
        [
            *([gathered(lines)] if is_of_many else lines),
            f"Run{'s' * (len(ids) > 1)} {', '.join(ids)}",
        ]
    )
    yield text, f"runs/{ids[0]}" if len(ids) == 1 else "runs", after


def _of_backfill(instance: dg.DagsterInstance, backfill: str) -> str | None:
    """What went wrong in the backfill's runs, in one notice."""
    runs = instance.get_run_records(
        dg.RunsFilter(tags={BACKFILL_ID_TAG: backfill}, statuses=_ENDED), ascending=True
    )
    lines = [line for run in runs for line in _news_of(instance, run)]
    return f"{gathered(lines)}\nBackfill {backfill}" if lines else None


def _news_of(instance: dg.DagsterInstance, run: RunRecord) -> list[str]:
    """What went wrong in the run, and not in the day's previous run on the same dump."""
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
        # Dagster starts it again. Its death is news only if that was the last time.
        lines = [line for line in lines if DIED not in line]
    return lines


def _is_known(instance: dg.DagsterInstance, run: RunRecord, event: dg.DagsterEvent) -> bool:
    """Whether the event is a check's result that is no news.

    A result for another day is no news if it was the same before the run. A warning is no news if
    the day before has the same one.
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
    """The day's previous run, unless the day landed in between."""
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
