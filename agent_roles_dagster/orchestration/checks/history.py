"""The results that checks gave before, as Dagster keeps them, and what differs from them."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, TypeVar

import dagster as dg
from dagster._core.event_api import PartitionKeyFilter
from dagster._core.storage.asset_check_execution_record import (
    AssetCheckExecutionRecord,
    AssetCheckExecutionRecordStatus,
)

from agent_roles_dagster.orchestration import checks
from agent_roles_dagster.orchestration.best_effort import best_effort
from agent_roles_dagster.orchestration.reports import Context, evaluation

_E = TypeVar("_E")

# The newest result is looked for among this many executions of a check for a day.
_LOOK_BACK = 20


def passing_again(
    context: Context, results: Iterable[dg.AssetCheckResult]
) -> Iterator[dg.AssetCheckEvaluation]:
    """Results for other days that still show a passing check on the whole mapping as failed.

    The mapping is one table, so the result is the same for each day.
    """
    own, failed = context.partition_key, AssetCheckExecutionRecordStatus.FAILED
    whole = [spec.key for spec in checks.OF_WHOLE_MAPPING]
    passed = {result.check_name: result for result in results if result.passed}
    with best_effort(context, own, "checks of the mapping may show as failed for other days"):
        for key, day, status, _ in newest_statuses(context, whole):
            if key.name in passed and day != own and status == failed:
                yield evaluation(day, passed[key.name])


def newest_statuses(
    context: Context, keys: Iterable[dg.AssetCheckKey]
) -> list[tuple[dg.AssetCheckKey, str, AssetCheckExecutionRecordStatus, str]]:
    """For each check and each day: how its newest execution ended, and in which run."""
    storage = context.instance.event_log_storage
    return [
        (
            info.check_key,
            info.partition_key,
            info.latest_execution_status,
            info.latest_planned_run_id,
        )
        for info in storage.get_asset_check_partition_info(list(keys))
        if info.partition_key is not None
    ]


def differing(
    context: Context, evaluations: Iterable[dg.AssetCheckEvaluation]
) -> Iterator[dg.AssetCheckEvaluation]:
    """The evaluations that differ from the newest result of the same check and day."""
    for now in evaluations:
        assert now.partition
        before = newest_result(context, now.asset_check_key, now.partition)
        if before and said(before) != said(now):
            yield now


def log_new_failures(context: Context, events: Iterable[_E]) -> Iterator[_E]:
    """Pass the events on, and log each check that did not fail like this before."""
    for event in events:
        if isinstance(event, dg.AssetCheckEvaluation) and not event.passed:
            before = newest_result(context, event.asset_check_key, event.partition or "")
            if not before or said(before) != said(event):
                context.log.warning(f"{event.partition}: {checks.finding(event)}")
        yield event


def was_so_before(instance: dg.DagsterInstance, run_id: str, now: dg.AssetCheckEvaluation) -> bool:
    """Whether the check's newest result for the day, before the run, said the same."""
    assert now.partition
    records = instance.event_log_storage.get_asset_check_execution_history(
        now.asset_check_key, _LOOK_BACK, partition_filter=PartitionKeyFilter(key=now.partition)
    )
    runs = [record.run_id for record in records]
    at = runs.index(run_id) if run_id in runs else len(runs)
    before, _ = _newest(records[at + 1 :])
    return before is not None and said(before) == said(now)


def said(evaluation: dg.AssetCheckEvaluation) -> tuple[Any, ...]:
    """What a check's result says, without the run that gave it."""
    return evaluation.passed, evaluation.severity, evaluation.description, evaluation.metadata


def newest_result(
    context: Context, key: dg.AssetCheckKey, day: str
) -> dg.AssetCheckEvaluation | None:
    """The newest result of the check for the day. An execution that was only planned has none."""
    evaluation, _ = newest_result_and_time(context, key, day)
    return evaluation


def newest_result_and_time(
    context: Context, key: dg.AssetCheckKey, day: str
) -> tuple[dg.AssetCheckEvaluation | None, datetime]:
    """The same, and when it was given, in UTC without a zone."""
    records = context.instance.event_log_storage.get_asset_check_execution_history(
        key, limit=_LOOK_BACK, partition_filter=PartitionKeyFilter(key=day)
    )
    return _newest(records)


def _newest(
    records: Iterable[AssetCheckExecutionRecord],
) -> tuple[dg.AssetCheckEvaluation | None, datetime]:
    """The first record's evaluation and its time. A record that is only planned has none."""
    for record in records:
        if isinstance(record.evaluation, dg.AssetCheckEvaluation):
            # Not the record's own time, which some storages keep in another zone.
            at = record.event.timestamp if record.event else record.create_timestamp
            return record.evaluation, datetime.fromtimestamp(at, UTC).replace(tzinfo=None)
    return None, datetime.min
