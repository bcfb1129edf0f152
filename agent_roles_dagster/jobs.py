"""The jobs that have a name. Any other run is of whatever assets somebody chooses.

https://docs.dagster.io/guides/build/jobs/asset-jobs
"""

from typing import Any

import dagster as dg
from dagster._core.storage.tags import MAX_RUNTIME_SECONDS_TAG

from agent_roles_dagster.assets import ACCEPT
from agent_roles_dagster.automation import LOAD, LOADED
from agent_roles_dagster.checks import ERRORS, MAPPING, STAGED
from agent_roles_dagster.many_days import load_days
from agent_roles_dagster.partitions import sync_day_partitions


def _to_fill_in(sync_day: str) -> dict[str, Any]:
    """What the launchpad shows for the day: only the reason and the approver are missing."""
    accept = {"day": sync_day, "reason": "", "approver": ""}
    return {"ops": {"stage_agent_roles": {"config": {"accept": accept}}}}


accept_held_day = dg.define_asset_job(
    ACCEPT,
    selection=dg.AssetSelection.assets("raw_roles", STAGED, ERRORS, MAPPING),
    partitions_def=sync_day_partitions,
    config=dg.PartitionedConfig(sync_day_partitions, run_config_for_partition_key_fn=_to_fill_in),
    description="Stages and applies a day that was held, since its removals are right. Choose the"
    " day as the partition, and fill in the reason and the approver: both are kept with the day.",
)


@dg.job(
    name=LOAD,
    tags={
        LOADED: "many days",
        # Not the limit for a run of one day.
        MAX_RUNTIME_SECONDS_TAG: str(7 * 86_400),
        # A run that died goes on with what is not loaded yet.
        "dagster/retry_strategy": "ALL_STEPS",
    },
    description="Loads a folder of many days in one run: all that have landed and are not staged as"
    " they landed, in their own order. Its config narrows that down; without any, it loads all.",
)
def load_landed_days() -> None:
    """One step, since the days go one after the other."""
    load_days()
