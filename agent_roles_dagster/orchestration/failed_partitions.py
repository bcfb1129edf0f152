"""Which partitions Dagster shows as failed.

These are the days whose newest planned materialisation, in a run that failed, has none after it. A
run plans what it will materialise when it starts. A report of a refused day clears that, and a run
of many days plans nothing.
"""

from collections.abc import Iterable

import dagster as dg
from dagster._core.events import AssetMaterializationPlannedData


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
        planned = dg.DagsterEvent.build_asset_materialization_planned_event(
            run.job_name,
            "stage_agent_roles",
            AssetMaterializationPlannedData(asset, day),
        )
        instance.report_dagster_event(planned, run_id)
