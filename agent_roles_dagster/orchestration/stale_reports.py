"""Refreshing the reports of days that are out of date.

A run also changes what the tables say about other days, such as the next day's removals. So does a
person who takes a day back with psql. Each report has a data version, made from the tables.
Every run reports anew each day whose version no longer fits the tables. What one run failed to
report, the next one does.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import dagster as dg
from dagster._core.definitions.data_version import DATA_VERSION_TAG

from agent_roles_dagster.orchestration import checks, reports
from agent_roles_dagster.orchestration.best_effort import best_effort
from agent_roles_dagster.orchestration.checks import ERRORS, MAPPING, MAY_BE_STAGED, STAGED
from agent_roles_dagster.orchestration.checks.history import (
    differing,
    log_new_failures,
    newest_result,
)
from agent_roles_dagster.orchestration.checks.unreached import judged, left_planned
from agent_roles_dagster.orchestration.failed_partitions import show_as_failed
from agent_roles_dagster.orchestration.reports import Context, Event
from agent_roles_dagster.postgres.sql_files import Connection, rows_of_file
from agent_roles_dagster.sync_days import day_number, is_sync_day

_RAW = dg.AssetKey("raw_roles")
# One run makes at most this many reports of other days. The next run goes on.
_MOST = 100


def refresh(
    context: Context,
    connection: Connection,
    day: str,
    *,
    own: Collection[dg.AssetKey],
    assets: Collection[dg.AssetKey] = (STAGED, ERRORS, MAPPING),
    since: str | None = None,
    is_bounded: bool = True,
) -> Iterator[Event]:
    """Report anew what is out of date: other days, and the checks that a killed run left.

    A report that fails is left to the next run, with a warning. The others are made.

    Args:
        day: the run's day.
        own: the assets for which the run reports this day itself.
        assets: the assets to report. A run that will apply the day leaves out the mapping.
        since: what happened; None means that the day was run.
        is_bounded: whether reports beyond a number are left to later runs.
    """
    todo: list[_Todo] = []
    beside: list[str] = []
    with best_effort(context, day, "what is shown of other days may be out of date"):
        others = rows_of_file(connection, "reports/days_beside", sync_day=day)
        # This includes days that are not applied yet. Their mapping is not reported.
        beside = [other["sync_day"] for other in others]
        following = [other["sync_day"] for other in others if other["is_after"]]
        todo = [
            each
            for each in _behind(context, connection, day, following, assets)
            if each.day != day or each.asset not in own
        ]
    most = _MOST if is_bounded else len(todo)
    if left := len(todo[most:]):
        context.log.info(f"{day}: {left:,} reports of other days follow in later runs")
    whole: list[dg.AssetCheckResult] = []
    for each in todo[:most]:
        events: list[Event] = []
        with best_effort(context, each.day, "what is shown of it may be out of date"):
            if each.asset == MAPPING and not whole:
                whole = checks.of_mapping(connection)
            events = list(_renewed(context, connection, since or f"{day} was run", each, whole))
        failed_run = _failed_run(context, each) if events and _is_refused(context, each) else None
        yield from log_new_failures(context, events)
        # A report of a day that is still refused has Dagster show it as materialised.
        if failed_run and _is_refused(context, each):
            show_as_failed(context.instance, failed_run, each.day, [each.asset])
    if MAPPING not in assets:
        return
    for other in [day, *beside]:
        events = []
        with best_effort(context, other, "whether its time is right may be out of date"):
            results = checks.of_times(connection, other)
            events += differing(context, [reports.evaluation(other, each) for each in results])
        yield from log_new_failures(context, events)
    yield from left_planned(context, connection, day)


def _is_refused(context: Context, todo: "_Todo") -> bool:
    newest = newest_result(context, MAY_BE_STAGED.key, todo.day)
    return newest is not None and not newest.passed


def _failed_run(context: Context, todo: "_Todo") -> str | None:
    """The run for which Dagster shows the day's asset as failed."""
    storage = context.instance.event_log_storage
    attempts = storage.get_latest_asset_partition_materialization_attempts_without_materializations(
        todo.asset
    )
    if todo.day not in attempts:
        return None
    run = context.instance.get_run_by_id(attempts[todo.day][0])
    failed = {dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}
    return run.run_id if run and run.status in failed else None


class _Todo(NamedTuple):
    """A day's report of an asset that is due, and the version that it will have."""

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
    """The reports whose version does not fit the tables, the nearest days first.

    The following day is always included: its version does not cover all that its report says.
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
            # Such a day was never run here or never staged, or its run was killed.
            if other not in reported and not is_staged:
                continue
            # A day that is not applied is not in the mapping.
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
    """The report and the results of its checks, if they differ from what was reported before."""
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
        yield from differing(context, results)
        return
    yield now
    # Dagster counts earlier results as results of the earlier materialisation.
    yield from results
    if todo.asset == STAGED and newest_result(context, MAY_BE_STAGED.key, todo.day):
        yield judged(context, connection, todo.day)
