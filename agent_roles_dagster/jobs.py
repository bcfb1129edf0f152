"""The jobs that have a name. Any other run is of whatever assets somebody chooses.

https://docs.dagster.io/guides/build/jobs/asset-jobs
"""

from typing import Any

import dagster as dg

from agent_roles_dagster.assets import ACCEPT
from agent_roles_dagster.checks import ERRORS, MAPPING, STAGED
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
