"""What happened since the sensor's last tick: runs that ended, and whether a day is overdue."""

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, Literal, get_args

import dagster as dg
from dagster._core.event_api import PartitionKeyFilter
from dagster._core.execution.backfill import BULK_ACTION_TERMINAL_STATUSES
from dagster._core.storage.tags import BACKFILL_ID_TAG, PARTITION_NAME_TAG, WILL_RETRY_TAG

from agent_roles_dagster.orchestration.assets import landed_dump
from agent_roles_dagster.orchestration.automation import LOAD, TAKE_BACK
from agent_roles_dagster.orchestration.checks import finding
from agent_roles_dagster.orchestration.checks.history import was_so_before
from agent_roles_dagster.orchestration.notices.compose import fits_one_post, gathered, overdue
from agent_roles_dagster.orchestration.notices.sentences import (
    DIED,
    ERROR,
    NO_DAY,
    READ,
    what_went_wrong,
)
from agent_roles_dagster.orchestration.partitions import SYNC_DAY
from agent_roles_dagster.sync_days import day_number, is_sync_day

_End = Literal[dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_SUCCESS]
_ENDS: Final[tuple[_End, ...]] = get_args(_End)
_ENDED = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS]
_RUNS_AT_ONCE = 50
# A notice names this many runs.
_NAMED = 5


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
    """The runs that ended since the last tick, in as few notices as have room for every sentence.

    A run whose sentences alone are too long for a notice has one of its own.
    """
    ended = dg.RunStatusChangeRecordsFilter(kind, after_storage_id=state[kind.value])
    records = instance.fetch_run_status_changes(ended, limit=_RUNS_AT_ONCE, ascending=True).records
    ids: list[str] = []
    lines: list[str] = []
    backfills = {*state.get("backfills", [])}
    after: dict[str, Any] = {}
    for record in records:
        run = instance.get_run_record_by_id(record.run_id)
        if run and (backfill := run.dagster_run.tags.get(BACKFILL_ID_TAG)):
            backfills.add(backfill)
        elif run and (of_run := _news_of(instance, run)):
            if ids and not fits_one_post([*lines, *of_run], _named([*ids, record.run_id])):
                yield gathered(lines, _named(ids)), _page(ids), after
                ids, lines = [], []
            ids.append(record.run_id)
            lines += of_run
        after = {kind.value: record.storage_id, "backfills": sorted(backfills)}
    if ids:
        yield gathered(lines, _named(ids)), _page(ids), after
    elif after:
        yield None, None, after


def _named(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _NAMED:,} more" if len(ids) > _NAMED else ""
    return f"Run{'s' * (len(ids) > 1)} {', '.join(ids[:_NAMED])}{more}"


def _page(ids: Sequence[str]) -> str:
    return f"runs/{ids[0]}" if len(ids) == 1 else "runs"


def _of_backfill(instance: dg.DagsterInstance, backfill: str) -> str | None:
    """What went wrong in the backfill's runs, in one notice."""
    runs = instance.get_run_records(
        dg.RunsFilter(tags={BACKFILL_ID_TAG: backfill}, statuses=_ENDED), ascending=True
    )
    lines = [line for run in runs for line in _news_of(instance, run)]
    return gathered(lines, f"Backfill {backfill}") if lines else None


def _news_of(instance: dg.DagsterInstance, run: dg.RunRecord) -> list[str]:
    """What went wrong in the run, and not in the previous run of the same day, or of the load."""
    lines = _lines_of(instance, run)
    if lines and (before := _run_before(instance, run)):
        known = _lines_of(instance, before)
        if run.dagster_run.job_name == LOAD:
            return _new_of_load(instance, lines, known, before)
        lines = [line for line in lines if line not in known]
    return lines


def _new_of_load(
    instance: dg.DagsterInstance, lines: list[str], known: list[str], before: dg.RunRecord
) -> list[str]:
    """The lines that the load before did not have, or whose day landed again since it ended."""
    since = before.end_time or before.create_timestamp.timestamp()

    def is_new(line: str) -> bool:
        day = line.split(":")[0].partition(" ")[2]
        return line not in known or _has_landed(instance, day, after=since)

    new = [line for line in lines if is_new(line)]
    # Its own line has the next step.
    own = f"{ERROR} {LOAD}: "
    return [line for line in lines if line in new or (new and line.startswith(own))]


def _lines_of(instance: dg.DagsterInstance, run: dg.RunRecord) -> list[str]:
    entries = instance.all_logs(run.dagster_run.run_id, of_type=READ)
    events = [entry.dagster_event for entry in entries if entry.dagster_event]
    lines = what_went_wrong(
        _about(run), events, is_news=lambda result: not _is_known(instance, run, result)
    )
    if run.dagster_run.tags.get(WILL_RETRY_TAG) == "true":
        # Dagster starts it again. Its death is news only if that was the last time.
        lines = [line for line in lines if DIED not in line]
    return lines


def _is_known(
    instance: dg.DagsterInstance, run: dg.RunRecord, now: dg.AssetCheckEvaluation
) -> bool:
    """Whether the failed check's result is no news.

    A result for another day is no news if it was the same before the run. A warning is no news if
    the day before has the same one.
    """
    if now.severity == dg.AssetCheckSeverity.WARN and _lasts(instance, now):
        return True
    if now.partition in (None, _about(run)):
        return False
    return was_so_before(instance, run.dagster_run.run_id, now)


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


def _run_before(instance: dg.DagsterInstance, run: dg.RunRecord) -> dg.RunRecord | None:
    """The previous load; or the day's previous run, unless the day landed in between."""
    is_load = run.dagster_run.job_name == LOAD
    runs = instance.get_run_records(
        dg.RunsFilter(
            job_name=LOAD if is_load else None,
            tags={} if is_load else {PARTITION_NAME_TAG: _about(run)},
            statuses=_ENDED,
            created_before=run.create_timestamp,
        ),
        limit=1,
    )
    if not runs or is_load:
        return runs[0] if runs else None
    after, before = (each.create_timestamp.timestamp() for each in (runs[0], run))
    return None if _has_landed(instance, _about(run), after=after, before=before) else runs[0]


def _has_landed(
    instance: dg.DagsterInstance, day: str, *, after: float, before: float | None = None
) -> bool:
    landed = dg.AssetRecordsFilter(
        landed_dump.key, asset_partitions=[day], after_timestamp=after, before_timestamp=before
    )
    return bool(instance.fetch_materializations(landed, limit=1).records)


def _about(run: dg.RunRecord) -> str:
    """The run's day, or its job if that is not of one day."""
    job = run.dagster_run.job_name
    return run.dagster_run.tags.get(PARTITION_NAME_TAG, job if job in (LOAD, TAKE_BACK) else NO_DAY)
