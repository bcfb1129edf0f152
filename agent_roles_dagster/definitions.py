"""The code location: `build_defs` puts everything together, and Dagster loads `defs`.

https://docs.dagster.io/guides/build/projects-and-components
"""

import warnings
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import click
import dagster as dg

warnings.filterwarnings("ignore", category=dg.PreviewWarning)
warnings.filterwarnings("ignore", category=dg.SupersessionWarning)
warnings.filterwarnings("ignore", category=dg.BetaWarning)

from agent_roles_dagster.engines.start import spark_resource  # noqa: E402
from agent_roles_dagster.orchestration import assets  # noqa: E402
from agent_roles_dagster.orchestration.automation import automation_sensor  # noqa: E402
from agent_roles_dagster.orchestration.checks import definitions as checks  # noqa: E402
from agent_roles_dagster.orchestration.jobs import (  # noqa: E402
    accept_held_day,
    load_day,
    load_landed_days,
    take_back_newest,
)
from agent_roles_dagster.orchestration.partitions import refuse_wrong_options  # noqa: E402
from agent_roles_dagster.orchestration.resources import AgentRolesResource  # noqa: E402
from agent_roles_dagster.orchestration.sensors.landed_days import landed_sync_days  # noqa: E402
from agent_roles_dagster.orchestration.sensors.notices import notices  # noqa: E402
from agent_roles_dagster.orchestration.terminal import terminal  # noqa: E402
from agent_roles_dagster.settings import InvalidSetting, Settings  # noqa: E402


def build_defs(settings: Settings, resources: Mapping[str, Any] | None = None) -> dg.Definitions:
    """All definitions.

    Args:
        settings: decide which engine there is, and whether days run by themselves.
        resources: replace the resources of the same names, such as `agent_roles` in a test.
    """
    return dg.Definitions(
        assets=[
            watched(assets.landed_dump, settings),
            assets.raw_roles,
            assets.stage_agent_roles,
            assets.agent_role_mapping,
        ],
        asset_checks=[
            checks.check_stg_agent_roles,
            checks.check_agent_role_pipeline_errors,
            checks.check_agent_role_mapping,
        ],
        jobs=[load_day, accept_held_day, load_landed_days, take_back_newest],
        sensors=[landed_sync_days, notices, automation_sensor(settings)],
        resources={
            "agent_roles": AgentRolesResource(),
            "pyspark": spark_resource(settings),
            **(resources or {}),
        },
        # A run uses the loggers that its configuration names. `console` is Dagster's own.
        loggers={"console": dg.colored_console_logger, "terminal": terminal},
        # One process for a whole run.
        executor=dg.in_process_executor,
    )


def watched(landed: dg.AssetSpec, settings: Settings) -> dg.AssetSpec:
    """Have Dagster show the landed dump as late if no day lands for too long.

    Only if days run by themselves. No other asset has such a policy, since reporting an old day
    anew would count as fresh.
    """
    if not (settings.automation and settings.fresh_hours):
        return landed
    late = max(timedelta(hours=settings.fresh_hours), timedelta(minutes=1))  # Dagster's least
    policy = dg.FreshnessPolicy.time_window(warn_window=late, fail_window=2 * late)
    return landed.replace_attributes(freshness_policy=policy)


def _settings() -> Settings:
    try:
        return Settings.from_env()
    except InvalidSetting as error:
        # Dagster's command line shows only the sentence of a UsageError.
        raise click.UsageError(str(error)) from None


defs = build_defs(_settings())
refuse_wrong_options(defs)
