"""The named jobs. Any other run materialises the assets that a person chooses.

https://docs.dagster.io/guides/build/jobs/asset-jobs
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg
from dagster._core.storage.tags import RETRY_STRATEGY_TAG
from pydantic import Field

from agent_roles_dagster.mapping.apply import take_back_newest_day
from agent_roles_dagster.orchestration.acceptance import ACCEPT
from agent_roles_dagster.orchestration.automation import LOAD, LOADED, TAKE_BACK
from agent_roles_dagster.orchestration.checks import ERRORS, MAPPING, STAGED
from agent_roles_dagster.orchestration.failures import failure
from agent_roles_dagster.orchestration.many_days.load import load_days
from agent_roles_dagster.orchestration.partitions import sync_day_partitions
from agent_roles_dagster.orchestration.reports import Event
from agent_roles_dagster.orchestration.resources import AgentRolesResource
from agent_roles_dagster.orchestration.stale_reports import refresh
from agent_roles_dagster.outcomes import NotTakenBack
from agent_roles_dagster.postgres.connection import connect


def _to_fill_in(sync_day: str) -> dict[str, Any]:
    """The launchpad's config for the day. Only the reason and the approver are left to fill in."""
    accept = {"day": sync_day, "reason": "", "approver": ""}
    return {"ops": {"stage_agent_roles": {"config": {"accept": accept}}}}


load_day = dg.define_asset_job(
    "load_day",
    selection=dg.AssetSelection.assets("raw_roles", STAGED, ERRORS, MAPPING),
    partitions_def=sync_day_partitions,
    description="Reads, stages and applies a day. Choose the day as the partition.",
)

accept_held_day = dg.define_asset_job(
    ACCEPT,
    selection=dg.AssetSelection.assets("raw_roles", STAGED, ERRORS, MAPPING),
    partitions_def=sync_day_partitions,
    config=dg.PartitionedConfig(sync_day_partitions, run_config_for_partition_key_fn=_to_fill_in),
    description="Stages and applies a held day whose removals are right. Choose the day as the"
    " partition, and fill in the reason and the approver. Both are kept with the day.",
)


@dg.job(
    name=LOAD,
    tags={
        LOADED: "many days",
        # Not the limit for a run of one day.
        dg.MAX_RUNTIME_SECONDS_TAG: str(7 * 86_400),
        # If the run dies, the next one loads what is left.
        RETRY_STRATEGY_TAG: "ALL_STEPS",
    },
    description="Loads a folder of many days in one run: all that have landed and are not staged as"
    " they landed, in their own order. Its config narrows that down; without any, it loads all.",
)
def load_landed_days() -> None:
    """One step, since the days go one after the other."""
    load_days()


class DayToTakeBack(dg.Config):
    """Run config of `take_back_newest_day`."""

    day: str = Field(description="The day, e.g. day4. It must be the newest staged one.")


@dg.op(
    name="take_back",
    out={},
    description="Takes the day out of all tables and the mapping, and reports the days that this"
    " changes.",
)
def _take_back(
    context: dg.OpExecutionContext, config: DayToTakeBack, agent_roles: AgentRolesResource
) -> Iterator[Event]:
    day = config.day.strip()
    with connect(agent_roles.database_url()) as connection:
        try:
            take_back_newest_day(connection, day, context.run_id)
        except NotTakenBack as error:
            raise failure(error) from None
        context.log.info(f"{day}: taken back, as if it had never been staged")
        yield from refresh(context, connection, day, own=[], since=f"{day} was taken back")


@dg.job(
    name=TAKE_BACK,
    description="Takes the newest staged day back, as if it had never been staged: a day that"
    " should not be there at all. Move its folder out of the landing folder first. To correct a"
    " day, land the right dump under its name and run it again instead.",
)
def take_back_newest() -> None:
    """One step."""
    _take_back()
