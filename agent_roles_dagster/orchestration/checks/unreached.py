"""Results for checks that a run planned and did not reach.

Dagster would show such a check as failed. It gets the result that the tables give instead.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import wraps
from typing import Any

import dagster as dg
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from agent_roles_dagster.orchestration import checks
from agent_roles_dagster.orchestration.best_effort import best_effort
from agent_roles_dagster.orchestration.checks import ERRORS, MAPPING, MAY_BE_STAGED, STAGED
from agent_roles_dagster.orchestration.checks.history import (
    log_new_failures,
    newest_result,
    newest_result_and_time,
    newest_statuses,
)
from agent_roles_dagster.orchestration.reports import Context, evaluation, found, may_be_staged
from agent_roles_dagster.orchestration.resources import AgentRolesResource
from agent_roles_dagster.postgres.connection import connect
from agent_roles_dagster.postgres.sql_files import Connection, rows_of_file


def with_unreached(*assets: dg.AssetKey) -> Callable[[Any], Any]:
    """A step that gives a result to each check that its failure keeps from running.

    Args:
        assets: the assets whose checks do not run if the step fails.
    """

    def decorate(compute: Any) -> Any:
        @wraps(compute)
        def step(context: Any, *args: Any, **resources: Any) -> Iterator[Any]:
            op = getattr(context, "op_execution_context", context)
            try:
                yield from compute(context, *args, **resources)
            except Exception as error:
                is_tried_again = (
                    isinstance(error, dg.RetryRequested) and op.retry_number < error.max_retries
                )
                # A run over a range of days, which is refused, has planned checks for each of them.
                if not is_tried_again and (op.has_partition_key or op.has_partition_key_range):
                    yield from unreached(op, resources["agent_roles"], op.partition_keys, assets)
                raise

        return step

    return decorate


def unreached(
    context: Context,
    agent_roles: AgentRolesResource,
    days: Iterable[str],
    assets: Collection[dg.AssetKey],
) -> Iterator[dg.AssetCheckEvaluation]:
    """Results for the days' checks of the assets that this run planned and will not reach.

    They come from the tables. If the tables can't be read, the newest results stand.
    """
    of_type = {
        dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED,
        dg.DagsterEventType.ASSET_CHECK_EVALUATION,
    }
    planned, given = set(), set()
    for entry in context.instance.all_logs(context.run_id, of_type=of_type):
        event: Any = entry.dagster_event and entry.dagster_event.event_specific_data
        if isinstance(event, dg.AssetCheckEvaluation):
            given.add((event.partition, event.asset_check_key))
        elif event and event.asset_key in assets:
            planned.add(dg.AssetCheckKey(event.asset_key, event.check_name))
    left = {day: {key for key in planned if (day, key) not in given} for day in days}
    yield from settled(context, agent_roles, left)


def settled(
    context: Context,
    agent_roles: AgentRolesResource,
    left: Mapping[str, Collection[dg.AssetCheckKey]],
) -> Iterator[dg.AssetCheckEvaluation]:
    """Results for checks of days that will not run: what the tables say, or the newest ones."""
    results: list[dg.AssetCheckEvaluation] = []
    if any(left.values()):
        with (
            best_effort(context, next(iter(left)), "checks are shown as they were found last"),
            connect(agent_roles.database_url()) as connection,
        ):
            is_asked = any(key.asset_key == MAPPING for keys in left.values() for key in keys)
            whole = checks.of_mapping(connection) if is_asked else []
            for day, keys in left.items():
                results += _results_now(context, connection, day, keys, whole)
    given = {(result.partition, result.asset_check_key) for result in results}
    yield from results
    for day, keys in left.items():
        for key in sorted(keys):
            if (day, key) not in given:
                yield _last_result(context, day, key)


def _results_now(
    context: Context,
    connection: Connection,
    day: str,
    keys: Collection[dg.AssetCheckKey],
    whole: Sequence[dg.AssetCheckResult] | None = None,
) -> list[dg.AssetCheckEvaluation]:
    """What these checks find for the day in the tables.

    Args:
        whole: the results for the whole mapping, if they are known.
    """
    results = [
        result
        for asset in (STAGED, ERRORS, MAPPING)
        if any(key.asset_key == asset for key in keys)
        for result in found(connection, day, asset, whole)
    ]
    if MAY_BE_STAGED.key in keys:
        results.append(judged(context, connection, day))
    return [result for result in results if result.asset_check_key in keys]


def judged(context: Context, connection: Connection, day: str) -> dg.AssetCheckEvaluation:
    """Whether the day may be staged. A refused day stays refused until it is run again."""
    known = rows_of_file(connection, "reports/shown_day", sync_day=day)
    staged_at = known[0]["staged_at"] if known else None
    before, given_at = newest_result_and_time(context, MAY_BE_STAGED.key, day)
    if before and not before.passed:
        # The run that staged it since then may have been killed before it said so.
        refused_at = max(given_at, (known and known[0]["refused_at"]) or given_at)
        if not staged_at or staged_at < refused_at:
            return before
    if staged_at:
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


def left_planned(
    context: Context, connection: Connection, day: str
) -> Iterator[dg.AssetCheckEvaluation]:
    """Results for the checks that a killed run planned, which Dagster shows as failed."""
    left: dict[str, dict[str, set[dg.AssetCheckKey]]] = {}
    with best_effort(context, day, "checks that a killed run left may show as failed"):
        # A step gives the results of its checks in their order, so its last check stands for all.
        steps = {group[-1].key: [spec.key for spec in group] for group in checks.BY_STEP}
        for key, other, status, run_id in newest_statuses(context, steps):
            if status == AssetCheckExecutionRecordStatus.PLANNED and run_id != context.run_id:
                left.setdefault(run_id, {}).setdefault(other, set()).update(steps[key])
        runs = context.instance.get_runs(dg.RunsFilter(run_ids=list(left))) if left else []
        for run in runs:
            for other, keys in left[run.run_id].items() if run.is_finished else ():
                yield from log_new_failures(context, _results_now(context, connection, other, keys))
