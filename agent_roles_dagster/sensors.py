"""Sensors: noticing that a sync day landed. They only discover; runs are launched elsewhere.

https://docs.dagster.io/guides/automate/sensors
"""

import dagster as dg

from agent_roles_dagster.landing import landed_days, shown
from agent_roles_dagster.partitions import SYNC_DAY, sync_day_partitions
from agent_roles_dagster.settings import Settings


@dg.sensor(
    description="Registers each sync day that has landed, so that it shows as a partition.",
    minimum_interval_seconds=15,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def landed_sync_days(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Registers the landed days that are not registered yet, in their order."""
    landing = Settings.from_env().landing
    known = set(context.instance.get_dynamic_partitions(SYNC_DAY))
    if new := [day for day in landed_days(landing) if day not in known]:
        return dg.SensorResult(
            dynamic_partitions_requests=[sync_day_partitions.build_add_request(new)],
            skip_reason=f"Registered {', '.join(new)}",
        )
    return dg.SkipReason(f"No new sync day under {shown(landing)}")
