"""Results of checks beside those that the checks' own steps give, so that each shows what is so.

Dagster shows a check that a run has planned and did not reach as failed, and each day's newest
result, whatever has become of the tables since.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from functools import wraps
from typing import Any, TypeVar

import dagster as dg
from dagster._core.event_api import PartitionKeyFilter
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from agent_roles_dagster.orchestration import checks
from agent_roles_dagster.orchestration.best_effort import best_effort
from agent_roles_dagster.orchestration.checks import ERRORS, MAPPING, MAY_BE_STAGED, STAGED
from agent_roles_dagster.orchestration.reports import Context, evaluation, found, may_be_staged
from agent_roles_dagster.orchestration.resources import AgentRolesResource
from agent_roles_dagster.postgres.connection import connect
from agent_roles_dagster.postgres.sql_files import Connection, rows_of_file

_E = TypeVar("_E")

# Executions of a check for a day, one for each of its runs, among which its newest result is.
_LOOK_BACK = 20
_PLANNED, _FAILED = (
    AssetCheckExecutionRecordStatus.PLANNED,
    AssetCheckExecutionRecordStatus.FAILED,
)


def with_unreached(*assets: dg.AssetKey) -> Callable[[Any], Any]:
    """A step that, where it fails for good, gives a result to each check that nobody reaches now.

    Args:
        assets: those whose checks are not reached then.
    """

    def decorate(compute: Any) -> Any:
        @wraps(compute)
        def step(context: Any, *args: Any, **resources: Any) -> Iterator[Any]:
            op = getattr(context, "op_execution_context", context)
            try:
                yield from compute(context, *args, **resources)
            except dg.RetryRequested as asked:
                if op.retry_number >= asked.max_retries:
                    yield from unreached(op, resources["agent_roles"], assets)
                raise
            except Exception:
                yield from unreached(op, resources["agent_roles"], assets)
                raise

        return step

    return decorate


def unreached(
    context: Context, agent_roles: AgentRolesResource, assets: Collection[dg.AssetKey]
) -> Iterator[dg.AssetCheckEvaluation]:
    """Results of those of the assets' checks that this run has planned, and is not going to reach.

    Dagster shows a check that was planned in a run that fails as failed, unless it has a result.
    They are what the tables say; where nobody can ask these, what was found last.
    """
    day = context.partition_key
    of_type = {
        dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED,
        dg.DagsterEventType.ASSET_CHECK_EVALUATION,
    }
    planned, given = set(), set()
    for entry in context.instance.all_logs(context.run_id, of_type=of_type):
        event: Any = entry.dagster_event and entry.dagster_event.event_specific_data
        if isinstance(event, dg.AssetCheckEvaluation):
            if event.partition == day:
                given.add(event.asset_check_key)
        elif event:
            planned.add(dg.AssetCheckKey(event.asset_key, event.check_name))
    keys = {key for key in planned - given if key.asset_key in assets}
    results: list[dg.AssetCheckEvaluation] = []
    if keys:
        with (
            best_effort(context, day, "checks are shown as they were found last"),
            connect(agent_roles.database_url()) as connection,
        ):
            results = _results_now(context, connection, day, keys)
    given = {result.asset_check_key for result in results}
    yield from results
    yield from (_last_result(context, day, key) for key in sorted(keys - given))


def _results_now(
    context: Context, connection: Connection, day: str, keys: Collection[dg.AssetCheckKey]
) -> list[dg.AssetCheckEvaluation]:
    """What these checks find for the day."""
    results = [
        result
        for asset in (STAGED, ERRORS, MAPPING)
        if any(key.asset_key == asset for key in keys)
        for result in found(connection, day, asset)
    ]
    if MAY_BE_STAGED.key in keys:
        results.append(judged(context, connection, day))
    return [result for result in results if result.asset_check_key in keys]


def judged(context: Context, connection: Connection, day: str) -> dg.AssetCheckEvaluation:
    """Whether the day may be staged. One that was refused stays so, until it is run again."""
    before = newest_result(context, MAY_BE_STAGED.key, day)
    if before and not before.passed:
        return before
    known = rows_of_file(connection, "reports/shown_day", sync_day=day)
    if known and known[0]["is_staged"]:
        return evaluation(day, may_be_staged(connection, day))
    return _nothing_known(day, MAY_BE_STAGED.key, f"{day} is not staged")


def _last_result(context: Context, day: str, key: dg.AssetCheckKey) -> dg.AssetCheckEvaluation:
    why = "the run ended before this check, which has never been run for the day"
    return newest_result(context, key, day) or _nothing_known(day, key, why)


def _nothing_known(day: str, key: dg.AssetCheckKey, why: str) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=key.asset_key,
        check_name=key.name,
        passed=True,
        description=f"There is nothing to check: {why}.",
        partition=day,
    )


def passing_again(
    context: Context, results: Iterable[dg.AssetCheckResult]
) -> Iterator[dg.AssetCheckEvaluation]:
    """The results of the checks on the whole mapping for the other days for which they failed.

    The mapping is one table: where it is right, it is right for each day.
    """
    own = context.partition_key
    whole = [spec.key for spec in checks.OF_WHOLE_MAPPING]
    passed = {result.check_name: result for result in results if result.passed}
    with best_effort(context, own, "checks of the mapping may show as failed for other days"):
        for key, day, status, _ in _newest_statuses(context, whole):
            if key.name in passed and day != own and status == _FAILED:
                yield evaluation(day, passed[key.name])


def left_planned(
    context: Context, connection: Connection, day: str
) -> Iterator[dg.AssetCheckEvaluation]:
    """Results of the checks that a killed run has left as planned, which shows as failed."""
    left: dict[str, dict[str, set[dg.AssetCheckKey]]] = {}
    with best_effort(context, day, "checks that a killed run left may show as failed"):
        # The last of each step's, as they are found in their order.
        steps = {group[-1].key: [spec.key for spec in group] for group in checks.BY_STEP}
        for key, other, status, run_id in _newest_statuses(context, steps):
            if status == _PLANNED and run_id != context.run_id:
                left.setdefault(run_id, {}).setdefault(other, set()).update(steps[key])
        runs = context.instance.get_runs(dg.RunsFilter(run_ids=list(left))) if left else []
        for run in runs:
            for other, keys in left[run.run_id].items() if run.is_finished else ():
                yield from told(context, _results_now(context, connection, other, keys))


def _newest_statuses(
    context: Context, keys: Iterable[dg.AssetCheckKey]
) -> list[tuple[dg.AssetCheckKey, str, AssetCheckExecutionRecordStatus, str]]:
    """Of each of the checks and each day: how the newest execution ended, and in which run."""
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


def that_differ(
    context: Context, evaluations: Iterable[dg.AssetCheckEvaluation]
) -> Iterator[dg.AssetCheckEvaluation]:
    """Those evaluations that say another thing than the newest of the check for the day."""
    for now in evaluations:
        assert now.partition
        before = newest_result(context, now.asset_check_key, now.partition)
        if before and said(before) != said(now):
            yield now


def told(context: Context, events: Iterable[_E]) -> Iterator[_E]:
    """The events, of which a check that fails as it did not before is in the log, too."""
    for event in events:
        if isinstance(event, dg.AssetCheckEvaluation) and not event.passed:
            before = newest_result(context, event.asset_check_key, event.partition or "")
            if not before or said(before) != said(event):
                context.log.warning(f"{event.partition}: {checks.finding(event)}")
        yield event


def said(evaluation: dg.AssetCheckEvaluation) -> tuple[Any, ...]:
    """What a check's result tells, whichever run it is of."""
    return evaluation.passed, evaluation.severity, evaluation.description, evaluation.metadata


def newest_result(
    context: Context, key: dg.AssetCheckKey, day: str
) -> dg.AssetCheckEvaluation | None:
    """The newest result of the check for the day, whatever was planned since."""
    records = context.instance.event_log_storage.get_asset_check_execution_history(
        key, limit=_LOOK_BACK, partition_filter=PartitionKeyFilter(key=day)
    )
    evaluations = (record.evaluation for record in records)
    return next((each for each in evaluations if isinstance(each, dg.AssetCheckEvaluation)), None)
