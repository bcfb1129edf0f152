"""Sensors: noticing that a sync day landed. They only discover; runs are launched elsewhere.

https://docs.dagster.io/guides/automate/sensors
"""

import time

import dagster as dg
from dagster._core.definitions.data_version import DATA_VERSION_TAG

from agent_roles_dagster.arrival import days_to_look_at, look_at
from agent_roles_dagster.assets import landed_dump
from agent_roles_dagster.landing import landed_days, shown
from agent_roles_dagster.partitions import SYNC_DAY
from agent_roles_dagster.settings import Settings


@dg.sensor(
    description="Registers each sync day once its dump is complete, and reports it as landed;"
    " again whenever it lands with other content.",
    minimum_interval_seconds=15,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def landed_sync_days(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Compares the landing folder with what was reported before, in the days' order."""
    settings = Settings.from_env()
    registered = context.instance.get_dynamic_partitions(SYNC_DAY)
    days = landed_days(settings.landing)
    looked_at, last = days_to_look_at(days, registered, context.cursor)
    reported = context.instance.event_log_storage.get_latest_tags_by_partition(
        landed_dump.key,
        dg.DagsterEventType.ASSET_MATERIALIZATION,
        [DATA_VERSION_TAG],
        asset_partitions=looked_at,
    )
    now = time.time()
    landed, landing = {}, []
    for day in looked_at:
        known = reported.get(day, {}).get(DATA_VERSION_TAG)
        if arrival := look_at(settings.landing, day, known, now):
            if arrival.is_complete(now, settings.settle_seconds):
                landed[day] = arrival.fingerprint
            else:
                landing.append(day)
    # At once, not by the result: Dagster would report the days before it registers them.
    context.instance.add_dynamic_partitions(SYNC_DAY, list(landed))
    said = [f"{', '.join(landed)} landed"] if landed else []
    said += [f"{', '.join(landing)} still landing"] if landing else []
    return dg.SensorResult(
        skip_reason="; ".join(said) or f"Nothing new under {shown(settings.landing)}",
        asset_events=[
            dg.AssetMaterialization(landed_dump.key, partition=day, tags={DATA_VERSION_TAG: seen})
            for day, seen in landed.items()
        ],
        cursor=last,
    )
