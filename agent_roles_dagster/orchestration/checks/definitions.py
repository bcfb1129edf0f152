"""The steps that run the asset checks: one step for each table, so that it is read once.

`rules` decides what the checks find.

https://docs.dagster.io/guides/test/asset-checks
"""

from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import Any

import dagster as dg

from agent_roles_dagster.orchestration import checks, closing_line
from agent_roles_dagster.orchestration.checks import ERRORS, MAPPING, STAGED
from agent_roles_dagster.orchestration.checks.history import passing_again
from agent_roles_dagster.orchestration.checks.unreached import unreached, with_unreached
from agent_roles_dagster.orchestration.partitions import of_one_day
from agent_roles_dagster.orchestration.resources import AgentRolesResource
from agent_roles_dagster.orchestration.retries import retried_if_lost
from agent_roles_dagster.postgres.connection import connect
from agent_roles_dagster.progress import Progress, lasting

Result = dg.AssetCheckResult | dg.AssetCheckEvaluation


def _of_one_day(asset: dg.AssetKey) -> Callable[[Any], Any]:
    """A step that refuses a run over a range of days, and leaves its checks as the tables are.

    Checks that fail to run for any other reason show as failed.
    """

    @with_unreached(asset)
    @of_one_day
    def refuse_range(_: dg.AssetCheckExecutionContext, **__: Any) -> Iterator[Result]:
        yield from ()

    def decorate(compute: Any) -> Any:
        @wraps(compute)
        def step(context: dg.AssetCheckExecutionContext, **resources: Any) -> Iterator[Result]:
            yield from refuse_range(context, **resources)
            yield from compute(context, **resources)

        return step

    return decorate


@dg.multi_asset_check(name="check_stg_agent_roles", specs=checks.ON_STAGED)
@with_unreached(MAPPING)
@_of_one_day(STAGED)
@retried_if_lost
def check_stg_agent_roles(
    context: dg.AssetCheckExecutionContext, agent_roles: AgentRolesResource
) -> Iterator[Result]:
    """One pass over the day's staged rows, and a second one only to show offenders."""
    with connect(agent_roles.database_url()) as connection, _progress(context, "stg_agent_roles"):
        results = checks.of_staging(connection, context.partition_key)
    yield from _with_failures_logged(context, results)
    if any(result.check_name in checks.BLOCKING and not result.passed for result in results):
        # Dagster fails the step now, and runs no later step.
        run = context.op_execution_context
        yield from unreached(run, agent_roles, [context.partition_key], [MAPPING])


@dg.multi_asset_check(name="check_agent_role_pipeline_errors", specs=checks.ON_ERRORS)
@_of_one_day(ERRORS)
@retried_if_lost
def check_agent_role_pipeline_errors(
    context: dg.AssetCheckExecutionContext, agent_roles: AgentRolesResource
) -> Iterator[Result]:
    """Counts the day's errors by rule."""
    with (
        connect(agent_roles.database_url()) as connection,
        _progress(context, "agent_role_pipeline_errors"),
    ):
        results = checks.of_errors(connection, context.partition_key)
    yield from _with_failures_logged(context, results)


@dg.multi_asset_check(name="check_agent_role_mapping", specs=checks.ON_MAPPING)
@_of_one_day(MAPPING)
@retried_if_lost
def check_agent_role_mapping(
    context: dg.AssetCheckExecutionContext, agent_roles: AgentRolesResource
) -> Iterator[Result]:
    """One pass over the mapping and the newest staged day."""
    with connect(agent_roles.database_url()) as connection:
        with _progress(context, "agent_role_mapping"):
            whole = checks.of_mapping(connection)
            results = [*whole, *checks.of_times(connection, context.partition_key)]
        yield from _with_failures_logged(context, results)
        yield from passing_again(context.op_execution_context, whole)
        # This is the last step of a run of all assets, so this is the run's closing line.
        day = context.partition_key
        failed = closing_line.failed_checks(context.instance, context.run.run_id, [day])
        context.log.info(closing_line.of_staged_day(connection, day, failed))


def _progress(context: dg.AssetCheckExecutionContext, table: str) -> Progress:
    return Progress(context.log.info, lasting(f"{context.partition_key}: checking {table}"))


def _with_failures_logged(
    context: dg.AssetCheckExecutionContext, results: Sequence[dg.AssetCheckResult]
) -> Sequence[dg.AssetCheckResult]:
    """Pass the results on, and log those that failed, since Dagster does not."""
    for result in results:
        if not result.passed:
            is_warning = result.severity == dg.AssetCheckSeverity.WARN
            log = context.log.warning if is_warning else context.log.error
            log(f"{context.partition_key}: {checks.finding(result)}")
    return results
