"""What Dagster costs by itself: one asset that does nothing, in one process."""

import dagster as dg


@dg.asset
def nothing() -> None: ...


defs = dg.Definitions(assets=[nothing], executor=dg.in_process_executor)
