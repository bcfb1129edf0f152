"""Which partitions Dagster shows as failed.

These are the days whose newest planned materialisation, in a run that failed, has none after it. A
run plans what it will materialise when it starts. A report of a refused day clears that, and a run
of many days plans nothing.
"""

from collections.abc import Iterable
from typing import Any

import dagster as dg
from dagster._core.events import AssetMaterializationPlannedData

_PLANNED = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED


def show_as_failed(
    instance: dg.DagsterInstance, run_id: str, day: str, assets: Iterable[dg.AssetKey]
) -> None:
    """Show the day as failed for these assets.

    Args:
        run_id: a run that failed, or is going to fail.
    """
    run = instance.get_run_by_id(run_id)
    if run is None:  # Somebody deleted it, and with it what it planned.
        return
    for asset in assets:
        # Without a step: the run's own events say which step plans what.
        event = dg.DagsterEvent(
            event_type_value=_PLANNED.value,
            job_name=run.job_name,
            message=f"{asset.to_user_string()} of {day} stays as it is, since the day is refused",
            event_specific_data=AssetMaterializationPlannedData(asset, day),
        )
        instance.report_dagster_event(event, run_id)


def planned_assets(instance: dg.DagsterInstance, run_id: str, day: str) -> set[dg.AssetKey]:
    """The assets that the run was to materialise for the day."""
    planned = set()
    for entry in instance.all_logs(run_id, of_type=_PLANNED):
        event: Any = entry.dagster_event and entry.dagster_event.event_specific_data
        if event and event.partition == day:
            planned.add(event.asset_key)
    return planned
