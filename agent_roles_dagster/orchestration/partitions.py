"""The partitions: sync days, which arrive over time. `sync_days` says which names are valid.

https://docs.dagster.io/guides/build/partitions-and-backfills/partitioning-assets
"""

from collections.abc import Iterator
from datetime import datetime
from functools import wraps
from typing import Any

import click
import dagster as dg
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._core.instance import DynamicPartitionsStore
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
)

from agent_roles_dagster.landing.days import landed_sentence, require_landed
from agent_roles_dagster.orchestration.failures import failure
from agent_roles_dagster.outcomes import InvalidSyncDay, NoDay, NotRead, RangeOfDays
from agent_roles_dagster.settings import Settings


class SyncDayPartitions(dg.DynamicPartitionsDefinition):
    """Dynamic partitions that register a landed day when Dagster's command line asks for it.

    The command line refuses a key that is not registered, and can't register one. The webserver
    and the daemon see ordinary dynamic partitions of the same name.
    """

    def has_partition_key(
        self,
        partition_key: str,
        current_time: datetime | None = None,
        dynamic_partitions_store: DynamicPartitionsStore | None = None,
    ) -> bool:
        """Whether the day is registered. A day that has landed is registered first.

        Raises:
            click.UsageError: its name is not valid, it has not landed, or the store can't be read.
        """
        if super().has_partition_key(partition_key, current_time, dynamic_partitions_store):
            return True
        try:
            require_landed(Settings.from_env().landing, partition_key)
        except (InvalidSyncDay, NotRead) as error:
            raise click.UsageError(str(error)) from error
        with partition_loading_context(current_time, dynamic_partitions_store) as context:
            store = context.dynamic_partitions_store
            if isinstance(store, dg.DagsterInstance):
                store.add_dynamic_partitions(SYNC_DAY, [partition_key])
        return True


SYNC_DAY = "sync_day"
sync_day_partitions = SyncDayPartitions(name=SYNC_DAY)


def of_one_day(compute: Any) -> Any:
    """A step that refuses a run over a range of days, which "pass partition ranges" launches.

    Dagster takes these days in the order of their registration. If the range's end was registered
    before its start, it takes none, and the run would succeed without doing anything.
    """

    @wraps(compute)
    def step(context: Any, *args: Any, **resources: Any) -> Iterator[Any]:
        if not (context.has_partition_key or context.has_partition_key_range):
            raise failure(NoDay("The run is for no day"))
        tags = context.run.tags
        first = tags.get(ASSET_PARTITION_RANGE_START_TAG)
        last = tags.get(ASSET_PARTITION_RANGE_END_TAG)
        if first != last:
            raise failure(RangeOfDays(_range_sentence(first, last)))
        yield from compute(context, *args, **resources)

    return step


def refuse_wrong_options(definitions: dg.Definitions) -> None:
    """Refuse in a sentence what Dagster's `asset materialize` would answer with a traceback.

    Raises:
        click.UsageError: the command that imports this has a range, no day, or an unknown asset.
    """
    command = click.get_current_context(silent=True)
    if command is None or command.info_name != "materialize":
        return
    # Not a module of somebody else's that has these definitions, too.
    if "agent_roles_dagster.definitions" not in (command.params.get("module_name") or ()):
        return
    if asked := command.params.get("partition_range"):
        raise click.UsageError(_range_sentence(*asked.partition("...")[::2]))
    try:
        if not command.params.get("partition"):
            landed = landed_sentence(Settings.from_env().landing)
            raise click.UsageError(f"--partition is missing: the sync day to run. {landed}")
        selection = dg.AssetSelection.from_string(command.params.get("select") or "*")
        selection.resolve(definitions.resolve_asset_graph())
    except (dg.DagsterError, NotRead) as error:
        raise click.UsageError(" ".join(str(error).split())) from None


def _range_sentence(first: str | None, last: str | None) -> str:
    return (
        f"{first} to {last}: a run over a range of days would take them in the order in which they"
        " were registered. Nothing was changed in any table. Run the job load_landed_days with"
        f" the config from: {first}, to: {last}, which loads them in their own order"
    )
