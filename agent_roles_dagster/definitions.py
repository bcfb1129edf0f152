"""The code location: everything put together.

https://docs.dagster.io/guides/build/projects-and-components
"""

import warnings
from datetime import timedelta

import click
import dagster as dg

warnings.filterwarnings("ignore", category=dg.PreviewWarning)
warnings.filterwarnings("ignore", category=dg.SupersessionWarning)
warnings.filterwarnings("ignore", category=dg.BetaWarning)

from agent_roles_dagster.engines import spark_resource  # noqa: E402
from agent_roles_dagster.orchestration import assets, check_steps  # noqa: E402
from agent_roles_dagster.orchestration.automation import automation_sensor  # noqa: E402
from agent_roles_dagster.orchestration.jobs import (  # noqa: E402
    accept_held_day,
    load_day,
    load_landed_days,
    take_back_newest,
)
from agent_roles_dagster.orchestration.partitions import refuse_range_option  # noqa: E402
from agent_roles_dagster.orchestration.resources import AgentRolesResource  # noqa: E402
from agent_roles_dagster.orchestration.sensors import landed_sync_days, notices  # noqa: E402
from agent_roles_dagster.orchestration.terminal import terminal  # noqa: E402
from agent_roles_dagster.settings import InvalidSetting, Settings  # noqa: E402

refuse_range_option()
try:
    _settings = Settings.from_env()
except InvalidSetting as error:
    # Of this, Dagster's command line shows the sentence only.
    raise click.UsageError(str(error)) from None


def watched(landed: dg.AssetSpec, settings: Settings) -> dg.AssetSpec:
    """The landed dump, as late once no day has landed for too long, if days run by themselves.

    No other asset has such a policy: their old days are reported anew without being new.
    """
    if not (settings.automation and settings.fresh_hours):
        return landed
    late = max(timedelta(hours=settings.fresh_hours), timedelta(minutes=1))  # Dagster's least
    policy = dg.FreshnessPolicy.time_window(warn_window=late, fail_window=2 * late)
    return landed.replace_attributes(freshness_policy=policy)


defs = dg.Definitions(
    assets=[
        watched(assets.landed_dump, _settings),
        assets.raw_roles,
        assets.stage_agent_roles,
        assets.agent_role_mapping,
    ],
    asset_checks=[
        check_steps.check_stg_agent_roles,
        check_steps.check_agent_role_pipeline_errors,
        check_steps.check_agent_role_mapping,
    ],
    jobs=[load_day, accept_held_day, load_landed_days, take_back_newest],
    sensors=[landed_sync_days, notices, automation_sensor(_settings)],
    resources={
        "agent_roles": AgentRolesResource(),
        "pyspark": spark_resource(_settings),
    },
    # Used by a run whose configuration names it. `console` is Dagster's own, as without this list.
    loggers={"console": dg.colored_console_logger, "terminal": terminal},
    # One process for a whole run.
    executor=dg.in_process_executor,
)
