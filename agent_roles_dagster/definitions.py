"""The code location: everything put together.

https://docs.dagster.io/guides/build/projects-and-components
"""

import warnings

import click
import dagster as dg

warnings.filterwarnings("ignore", category=dg.PreviewWarning)
warnings.filterwarnings("ignore", category=dg.SupersessionWarning)
warnings.filterwarnings("ignore", category=dg.BetaWarning)

from agent_roles_dagster import assets, checks  # noqa: E402
from agent_roles_dagster.automation import automation_sensor  # noqa: E402
from agent_roles_dagster.engines import spark_resource  # noqa: E402
from agent_roles_dagster.jobs import accept_held_day  # noqa: E402
from agent_roles_dagster.resources import AgentRolesResource  # noqa: E402
from agent_roles_dagster.sensors import landed_sync_days, notices  # noqa: E402
from agent_roles_dagster.settings import InvalidSetting, Settings  # noqa: E402
from agent_roles_dagster.terminal import terminal  # noqa: E402

try:
    _settings = Settings.from_env()
except InvalidSetting as error:
    # Of this, Dagster's command line shows the sentence only.
    raise click.UsageError(str(error)) from None

defs = dg.Definitions(
    assets=[
        assets.landed_dump,
        assets.raw_roles,
        assets.stage_agent_roles,
        assets.agent_role_mapping,
    ],
    asset_checks=[
        checks.check_stg_agent_roles,
        checks.check_agent_role_pipeline_errors,
        checks.check_agent_role_mapping,
    ],
    jobs=[accept_held_day],
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
