"""Reports of other days than the run's own, where the tables say something else than was reported.

A run changes what the tables say of other days, such as the next day's removals; so does whoever
takes a day back with psql. Each report has a version of what it was made of, as its data version. A
run reports anew each day whose version is no longer what the tables give, by events of its own for
that day's partition: what one run failed to report, the next one does.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import dagster as dg
from dagster._core.definitions.data_version import DATA_VERSION_TAG

from agent_roles_dagster.orchestration import checks, reports
from agent_roles_dagster.orchestration.best_effort import best_effort
from agent_roles_dagster.orchestration.check_results import (
    judged,
    left_planned,
    newest_result,
    that_differ,
    told,
)
from agent_roles_dagster.orchestration.checks import ERRORS, MAPPING, MAY_BE_STAGED, STAGED
from agent_roles_dagster.orchestration.reports import Context, Event
from agent_roles_dagster.postgres.sql_files import Connection, rows_of_file
from agent_roles_dagster.sync_days import day_number, is_sync_day

_RAW = dg.AssetKey("raw_roles")
# Reports of other days that one run makes at most; the next run goes on.
_MOST = 100


def owed(
    context: Context,
    connection: Connection,
    day: str,
    *,
    own: Collection[dg.AssetKey],
    assets: Collection[dg.AssetKey] = (STAGED, ERRORS, MAPPING),
    since: str | None = None,
) -> Iterator[Event]:
    """What is to be reported anew, since the tables say something else than was last reported.

    Each report is made by itself: one that can't be made is left to the next run, with a warning.

    Args:
        day: the day that the run is of.
        own: the assets for which the run reports this day itself.
        assets: the assets to report: not the mapping by a run that is going to apply the day.
        since: what has happened, if it is another thing than that the day was run.
    """
    todo: list[_Todo] = []
    beside: list[str] = []
    with best_effort(context, day, "what is shown of other days may be out of date"):
        others = rows_of_file(connection, "reports/days_beside", sync_day=day)
        # With those that wait to be applied, whose mapping is not reported.
        beside = [other["sync_day"] for other in others]
        following = [other["sync_day"] for other in others if other["is_after"]]
        todo = [
            each
            for each in _behind(context, connection, day, following, assets)
            if each.day != day or each.asset not in own
        ]
    if len(todo) > _MOST:
        context.log.info(f"{day}: {len(todo) - _MOST:,} reports of other days follow in later runs")
    whole: list[dg.AssetCheckResult] = []
    for each in todo[:_MOST]:
        events: list[Event] = []
        with best_effort(context, each.day, "what is shown of it may be out of date"):
            if each.asset == MAPPING and not whole:
                whole = checks.of_mapping(connection)
            events = list(_renewed(context, connection, since or f"{day} was run", each, whole))
        yield from told(context, events)
    if MAPPING not in assets:
        return
    for other in [day, *beside]:
        events = []
        with best_effort(context, other, "whether its time is right may be out of date"):
            results = checks.of_times(connection, other)
            events += that_differ(context, [reports.evaluation(other, each) for each in results])
        yield from told(context, events)
    yield from left_planned(context, connection, day)


class _Todo(NamedTuple):
    """A day's report that is due: of which asset, and the version that it is to have."""

    day: str
    asset: dg.AssetKey
    version: str


def _behind(
    context: Context,
    connection: Connection,
    day: str,
    following: Collection[str],
    assets: Collection[dg.AssetKey],
) -> list[_Todo]:
    """The reports that have another version than the tables give; those of the nearest days first.

    With those of the following day, which a version may not tell apart in all they say.
    """
    storage = context.instance.event_log_storage
    known = {row["sync_day"]: row for row in rows_of_file(connection, "reports/versions")}
    read = context.instance.get_materialized_partitions(_RAW)
    todo = []
    for asset in assets:
        name = asset.to_user_string()
        reported = context.instance.get_materialized_partitions(asset)
        tags = storage.get_latest_tags_by_partition(
            asset, dg.DagsterEventType.ASSET_MATERIALIZATION, [DATA_VERSION_TAG]
        )
        for other in filter(is_sync_day, reported | read):
            row = known.get(other)
            is_staged = row is not None and row["is_staged"]
            # Not reported: never run here, or never staged, or a run was killed at that moment.
            if other not in reported and not is_staged:
                continue
            # What waits to be applied is not in the mapping.
            if asset == MAPPING and row is not None and is_staged and not row["is_applied"]:
                continue
            version = (row and row[name]) or reports.NOT_STAGED
            is_beside = other in following and asset != MAPPING
            if tags.get(other, {}).get(DATA_VERSION_TAG) != version or is_beside:
                todo.append(_Todo(other, asset, version))
    return sorted(todo, key=lambda each: abs(day_number(each.day) - day_number(day)))


def _renewed(
    context: Context,
    connection: Connection,
    since: str,
    todo: _Todo,
    whole: Sequence[dg.AssetCheckResult],
) -> Iterator[Event]:
    """The report and the results of the checks, as far as they are not what was reported before."""
    records = context.instance.fetch_materializations(
        dg.AssetRecordsFilter(todo.asset, asset_partitions=[todo.day]), limit=1
    ).records
    before = records[0].asset_materialization if records else None
    shown = before.metadata if before else {}
    if todo.version == reports.NOT_STAGED:
        metadata = reports.of_not_staged(todo.day)
    else:
        metadata = {
            **reports.METADATA[todo.asset](connection, todo.day),
            **{name: shown[name] for name in reports.OF_THE_RUN & shown.keys()},
        }
    now = dg.AssetMaterialization(
        todo.asset,
        partition=todo.day,
        description=f"As the tables say since {since}.",
        metadata=metadata,
        tags={DATA_VERSION_TAG: todo.version},
    )
    results = reports.found(connection, todo.day, todo.asset, whole)
    tags = (before.tags if before else None) or {}
    if (now.metadata, todo.version) == (shown, tags.get(DATA_VERSION_TAG)):
        yield from that_differ(context, results)
        return
    yield now
    # Those of before count as being of another materialisation.
    yield from results
    if todo.asset == STAGED and newest_result(context, MAY_BE_STAGED.key, todo.day):
        yield judged(context, connection, todo.day)
