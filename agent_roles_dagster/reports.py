"""What is shown of a day. It follows from the tables alone, so it can be said again at any time.

A run changes what the tables say of other days, too, such as the next day's removals; so does
whoever takes a day back with psql. Each report therefore has a version of what it was made of, as
its data version. A run reports anew each day whose version is no longer what the tables give, by
events of its own for that day's partition: what one run failed to report, the next one does.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, NamedTuple, TypeVar

import dagster as dg
from dagster._core.definitions.data_version import DATA_VERSION_TAG
from dagster._core.event_api import PartitionKeyFilter
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from agent_roles_dagster import checks
from agent_roles_dagster.checks import ERRORS, MAPPING, MAY_BE_STAGED, STAGED
from agent_roles_dagster.database import Connection, connect, rows_of_file
from agent_roles_dagster.resources import AgentRolesResource
from agent_roles_dagster.summary import acceptance, day_summary, errors_summary, mapping_preview
from agent_roles_dagster.sync_days import day_number, is_sync_day

_E = TypeVar("_E")
Event = dg.AssetMaterialization | dg.AssetCheckEvaluation
Context = dg.AssetExecutionContext | dg.AssetCheckExecutionContext | dg.OpExecutionContext

# The version of a day's report that is not staged, such as one that was taken back.
NOT_STAGED = "not staged"
_RAW = dg.AssetKey("raw_roles")
# Executions of a check for a day, one for each of its runs, among which its newest result is.
_LOOK_BACK = 20
# Reports of other days that one run makes at most; the next run goes on.
_MOST = 100

# What a run says of itself, not of the day. It stays with the day when that is reported anew.
TIME_SPENT, CHANGED, DELETED = "time spent", "rows changed", "rows deleted"
_OF_THE_RUN = {TIME_SPENT, CHANGED, DELETED}


def of_staged(connection: Connection, day: str, *, is_applied_next: bool = False) -> dict[str, Any]:
    """Metadata of a staged day's stg_agent_roles.

    Args:
        is_applied_next: whether the same run applies the day, so that nobody needs a preview.
    """
    known = rows_of_file(connection, "040_shown_day", sync_day=day)[0]
    # In reading order, as the interface keeps it.
    explained: dict[str, Any] = {"summary": dg.MetadataValue.md(day_summary(connection, known))}
    if known["accepted_reason"]:
        explained["accepted"] = dg.MetadataValue.md(acceptance(known))
    if not (known["is_applied"] or is_applied_next):
        explained["preview"] = dg.MetadataValue.md(mapping_preview(connection))
    if known["pruned_at"]:
        explained["snapshot pruned at"] = f"{known['pruned_at']:{TIME}} UTC"
    if known["previous_day"]:
        explained["changes in SQL"] = in_psql(
            "SELECT * FROM agent_role_changes_between('{before}', '{day}')",
            before=known["previous_day"],
            day=day,
        )
    return {
        **explained,
        "dagster/partition_row_count": (
            0 if known["pruned_at"] else known["assigned"] + known["removed"]
        ),
        "assigned": known["assigned"],
        "newly assigned": newly_assigned(known),
        "removed": known["removed"],
        "removals held": 0,
        **{name.replace("_", " "): known[name] for name in COUNTS},
        "previous day": known["previous_day"] or "none",
        "observed at": f"{known['observed_at']:{TIME}} UTC",
        "rows in SQL": in_psql("SELECT * FROM stg_agent_roles WHERE sync_day = '{day}'", day=day),
    }


TIME = "%Y-%m-%d %H:%M:%S"
COUNTS = ("records", "raw_rows", "valid_pairs", "duplicates", "invalid_rows")


def newly_assigned(known: Mapping[str, Any]) -> int:
    """Pairs that the previous staged day did not assign."""
    return int(known["assigned"] - (known["previous_assigned"] - known["removed"]))


def of_errors(connection: Connection, day: str) -> dict[str, Any]:
    """Metadata of the day's agent_role_pipeline_errors."""
    known = rows_of_file(connection, "040_shown_day", sync_day=day)[0]
    return {
        "summary": dg.MetadataValue.md(errors_summary(connection, known)),
        "dagster/partition_row_count": known["error_rows"],
        "invalid rows": known["error_rows"],
        "share of raw rows": known["error_rows"] / max(known["error_raw_rows"], 1),
        "rows in SQL": in_psql(
            # Not raw_record, which may have names and addresses, and which few may read.
            "SELECT id, agent_id, role_id, error_message FROM agent_role_pipeline_errors"
            "\nWHERE sync_day = '{day}'",
            day=day,
        ),
    }


def of_mapping(connection: Connection, day: str) -> dict[str, Any]:
    """Metadata of the mapping after the day was applied."""
    known = rows_of_file(connection, "040_shown_day", sync_day=day)[0]
    return {
        "dagster/partition_row_count": known["assigned"] + known["removed"],
        "changed rows in SQL": in_psql(
            "SELECT mapping.* FROM agent_role_mapping AS mapping"
            "\nJOIN agent_role_changes USING (agent_id, role_id)"
            "\nJOIN agent_role_sync_days USING (day_no)"
            "\nWHERE sync_day = '{day}'",
            day=day,
        ),
    }


_METADATA = {STAGED: of_staged, ERRORS: of_errors, MAPPING: of_mapping}


def may_be_staged(connection: Connection, day: str) -> dg.AssetCheckResult:
    """The check's result of a day that was staged."""
    known = rows_of_file(connection, "040_shown_day", sync_day=day)[0]
    accepted = known["accepted_reason"]
    return dg.AssetCheckResult(
        check_name=MAY_BE_STAGED.name,
        asset_key=STAGED,
        passed=True,
        metadata={
            "outcome": "staged",
            "previous day": known["previous_day"] or "none",
            "assigned on the previous day": known["previous_assigned"],
            "assigned": known["assigned"],
            "removed": known["removed"],
            **({"accepted": dg.MetadataValue.md(acceptance(known))} if accepted else {}),
        },
    )


def _found(
    connection: Connection,
    day: str,
    asset: dg.AssetKey,
    whole: Sequence[dg.AssetCheckResult] | None = None,
) -> list[dg.AssetCheckEvaluation]:
    """What the asset's checks find for the day, other than whether it may be staged.

    Args:
        whole: what is known of the whole mapping, which takes a pass over it to find out.
    """
    if asset == STAGED:
        results = checks.of_staging(connection, day)
    elif asset == ERRORS:
        results = checks.of_errors(connection, day)
    else:
        whole = checks.of_mapping(connection) if whole is None else whole
        results = [*whole, *checks.of_times(connection, day)]
    return [_evaluation(day, result) for result in results]


def _evaluation(day: str, result: dg.AssetCheckResult) -> dg.AssetCheckEvaluation:
    assert result.asset_key
    assert result.check_name
    return dg.AssetCheckEvaluation(
        asset_key=result.asset_key,
        check_name=result.check_name,
        passed=result.passed,
        metadata=result.metadata,
        severity=result.severity,
        description=result.description,
        partition=day,
    )


def version(
    connection: Connection, day: str, asset: dg.AssetKey, *, is_applied_next: bool = False
) -> dg.DataVersion:
    """The version of what the tables say of the day, for the report of a run of its own."""
    for known in rows_of_file(connection, "044_versions"):
        if known["sync_day"] == day:
            name = asset.to_user_string()
            return dg.DataVersion(known[f"{name}_if_applied" if is_applied_next else name])
    return dg.DataVersion(NOT_STAGED)


def with_unreached(*assets: dg.AssetKey) -> Callable[[Any], Any]:
    """A step that, where it fails for good, gives a result to each check that nobody reaches now.

    Args:
        assets: those whose checks are not reached then.
    """

    def decorate(compute: Any) -> Any:
        @wraps(compute)
        def step(context: Context, *args: Any, **resources: Any) -> Iterator[Any]:
            try:
                yield from compute(context, *args, **resources)
            except dg.RetryRequested as asked:
                if context.op_execution_context.retry_number >= asked.max_retries:
                    yield from unreached(context, resources["agent_roles"], assets)
                raise
            except Exception:
                yield from unreached(context, resources["agent_roles"], assets)
                raise

        return step

    return decorate


def unreached(
    context: Context, agent_roles: AgentRolesResource, assets: Collection[dg.AssetKey]
) -> Iterator[dg.AssetCheckEvaluation]:
    """Results of those of the assets' checks that this run has planned, and is not going to reach.

    Dagster shows a check that was planned in a run that fails as failed, unless it has a result.
    They are what the tables say; where nobody can ask these, what was found last.
    """
    day = context.partition_key
    of_type = {
        dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED,
        dg.DagsterEventType.ASSET_CHECK_EVALUATION,
    }
    planned, given = set(), set()
    for entry in context.instance.all_logs(context.run.run_id, of_type=of_type):
        event: Any = entry.dagster_event and entry.dagster_event.event_specific_data
        if isinstance(event, dg.AssetCheckEvaluation):
            if event.partition == day:
                given.add(event.asset_check_key)
        elif event:
            planned.add(dg.AssetCheckKey(event.asset_key, event.check_name))
    keys = {key for key in planned - given if key.asset_key in assets}
    results: list[dg.AssetCheckEvaluation] = []
    if keys:
        with (
            as_far_as_possible(context, day, "checks are shown as they were found last"),
            connect(agent_roles.database_url()) as connection,
        ):
            results = _results_now(context, connection, day, keys)
    found = {result.asset_check_key for result in results}
    yield from results
    yield from (_last_result(context, day, key) for key in keys - found)


def _results_now(
    context: Context, connection: Connection, day: str, keys: Collection[dg.AssetCheckKey]
) -> list[dg.AssetCheckEvaluation]:
    """What these checks find for the day."""
    results = [
        result
        for asset in {key.asset_key for key in keys}
        for result in _found(connection, day, asset)
    ]
    if MAY_BE_STAGED.key in keys:
        results.append(_judged(context, connection, day))
    return [result for result in results if result.asset_check_key in keys]


def _judged(context: Context, connection: Connection, day: str) -> dg.AssetCheckEvaluation:
    """Whether the day may be staged. One that was refused stays so, until it is run again."""
    judged = _newest(context, MAY_BE_STAGED.key, day)
    if judged and not judged.passed:
        return judged
    known = rows_of_file(connection, "040_shown_day", sync_day=day)
    if known and known[0]["is_staged"]:
        return _evaluation(day, may_be_staged(connection, day))
    return _nothing_known(day, MAY_BE_STAGED.key, f"{day} is not staged")


def _last_result(context: Context, day: str, key: dg.AssetCheckKey) -> dg.AssetCheckEvaluation:
    why = "the run ended before this check, which has never been run for the day"
    return _newest(context, key, day) or _nothing_known(day, key, why)


def _nothing_known(day: str, key: dg.AssetCheckKey, why: str) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=key.asset_key,
        check_name=key.name,
        passed=True,
        description=f"There is nothing to check: {why}.",
        partition=day,
    )


def passing_again(
    context: Context, results: Iterable[dg.AssetCheckResult]
) -> Iterator[dg.AssetCheckEvaluation]:
    """The results of the checks on the whole mapping for the other days for which they failed.

    The mapping is one table: where it is right, it is right for each day.
    """
    passed = {result.check_name: result for result in results if result.passed}
    for key, day, status, _ in _newest_statuses(context, checks.OF_WHOLE_MAPPING):
        if key.name in passed and day != context.partition_key and status == _FAILED:
            yield _evaluation(day, passed[key.name])


_PLANNED, _FAILED = (
    AssetCheckExecutionRecordStatus.PLANNED,
    AssetCheckExecutionRecordStatus.FAILED,
)


def _newest_statuses(
    context: Context, specs: Iterable[dg.AssetCheckSpec]
) -> list[tuple[dg.AssetCheckKey, str, AssetCheckExecutionRecordStatus, str]]:
    """Of each of the checks and each day: how the newest execution ended, and in which run."""
    storage = context.instance.event_log_storage
    return [
        (
            info.check_key,
            info.partition_key,
            info.latest_execution_status,
            info.latest_planned_run_id,
        )
        for info in storage.get_asset_check_partition_info([spec.key for spec in specs])
        if info.partition_key is not None
    ]


def owed(
    context: Context,
    connection: Connection,
    day: str,
    *,
    own: Collection[dg.AssetKey],
    assets: Collection[dg.AssetKey] = (STAGED, ERRORS, MAPPING),
) -> Iterator[Event]:
    """What is to be reported anew, since the tables say something else than was last reported.

    Each report is made by itself: one that can't be made is left to the next run, with a warning.

    Args:
        day: the day that the run is of.
        own: the assets for which the run reports this day itself.
        assets: the assets to report: not the mapping by a run that is going to apply the day.
    """
    todo: list[_Todo] = []
    beside: list[str] = []
    with as_far_as_possible(context, day, "what is shown of other days may be out of date"):
        found = rows_of_file(connection, "043_days_beside", sync_day=day)
        beside = [other["sync_day"] for other in found if other["is_before"] or other["is_after"]]
        following = [other["sync_day"] for other in found if other["is_after"]]
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
        with as_far_as_possible(context, each.day, "what is shown of it may be out of date"):
            if each.asset == MAPPING and not whole:
                whole = checks.of_mapping(connection)
            events = list(_renewed(context, connection, day, each, whole))
        yield from _told(context, events)
    for other in [day, *beside] if MAPPING in assets else ():
        events = []
        with as_far_as_possible(context, other, "whether its time is right may be out of date"):
            results = checks.of_times(connection, other)
            events += _that_differ(context, [_evaluation(other, each) for each in results])
        yield from _told(context, events)
    yield from _left_planned(context, connection, day)


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
    known = {row["sync_day"]: row for row in rows_of_file(connection, "044_versions")}
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
            version = (row and row[name]) or NOT_STAGED
            is_beside = other in following and asset != MAPPING
            if tags.get(other, {}).get(DATA_VERSION_TAG) != version or is_beside:
                todo.append(_Todo(other, asset, version))
    return sorted(todo, key=lambda each: abs(day_number(each.day) - day_number(day)))


def _renewed(
    context: Context,
    connection: Connection,
    by: str,
    todo: _Todo,
    whole: Sequence[dg.AssetCheckResult],
) -> Iterator[Event]:
    """The report and the results of the checks, as far as they are not what was reported before."""
    records = context.instance.fetch_materializations(
        dg.AssetRecordsFilter(todo.asset, asset_partitions=[todo.day]), limit=1
    ).records
    before = records[0].asset_materialization if records else None
    shown = before.metadata if before else {}
    if todo.version == NOT_STAGED:
        metadata = _not_staged(todo.day)
    else:
        metadata = {
            **_METADATA[todo.asset](connection, todo.day),
            **{name: shown[name] for name in _OF_THE_RUN & shown.keys()},
        }
    now = dg.AssetMaterialization(
        todo.asset,
        partition=todo.day,
        description=f"As the tables say since {by} was run.",
        metadata=metadata,
        tags={DATA_VERSION_TAG: todo.version},
    )
    found = _found(connection, todo.day, todo.asset, whole)
    tags = (before.tags if before else None) or {}
    if (now.metadata, todo.version) == (shown, tags.get(DATA_VERSION_TAG)):
        yield from _that_differ(context, found)
        return
    yield now
    # Those of before count as being of another materialisation.
    yield from found
    if todo.asset == STAGED and _newest(context, MAY_BE_STAGED.key, todo.day):
        yield _judged(context, connection, todo.day)


def _not_staged(day: str) -> dict[str, Any]:
    return {
        "summary": dg.MetadataValue.md(
            f"**{day}** is not staged any more: it was taken back, or the tables are others."
        ),
        "dagster/partition_row_count": 0,
    }


def _left_planned(
    context: Context, connection: Connection, day: str
) -> Iterator[dg.AssetCheckEvaluation]:
    """Results of the checks that a killed run has left as planned, which shows as failed."""
    left: dict[str, dict[str, set[dg.AssetCheckKey]]] = {}
    with as_far_as_possible(context, day, "checks that a killed run left may show as failed"):
        for key, other, status, run_id in _newest_statuses(context, checks.ALL):
            if status == _PLANNED and run_id != context.run.run_id:
                left.setdefault(run_id, {}).setdefault(other, set()).add(key)
        runs = context.instance.get_runs(dg.RunsFilter(run_ids=list(left))) if left else []
        for run in runs:
            for other, keys in left[run.run_id].items() if run.is_finished else ():
                yield from _told(context, _results_now(context, connection, other, keys))


def _that_differ(
    context: Context, evaluations: Iterable[dg.AssetCheckEvaluation]
) -> Iterator[dg.AssetCheckEvaluation]:
    """Those evaluations that say another thing than the newest of the check for the day."""
    for now in evaluations:
        assert now.partition
        before = _newest(context, now.asset_check_key, now.partition)
        if before and said(before) != said(now):
            yield now


def _told(context: Context, events: Iterable[_E]) -> Iterator[_E]:
    """The events, of which a check that fails as it did not before is in the log, too."""
    for event in events:
        if isinstance(event, dg.AssetCheckEvaluation) and not event.passed:
            before = _newest(context, event.asset_check_key, event.partition or "")
            if not before or said(before) != said(event):
                context.log.warning(f"{event.partition}: {checks.finding(event)}")
        yield event


def said(evaluation: dg.AssetCheckEvaluation) -> tuple[Any, ...]:
    """What a check's result tells, whichever run it is of."""
    return evaluation.passed, evaluation.severity, evaluation.description, evaluation.metadata


def _newest(context: Context, key: dg.AssetCheckKey, day: str) -> dg.AssetCheckEvaluation | None:
    """The newest result of the check for the day, whatever was planned since."""
    records = context.instance.event_log_storage.get_asset_check_execution_history(
        key, limit=_LOOK_BACK, partition_filter=PartitionKeyFilter(key=day)
    )
    evaluations = (record.evaluation for record in records)
    return next((each for each in evaluations if isinstance(each, dg.AssetCheckEvaluation)), None)


@contextmanager
def as_far_as_possible(context: Context, day: str, but: str) -> Iterator[None]:
    """What must not fail a run whose tables are right, nor hide why a day is refused."""
    try:
        yield
    except Exception as error:
        # Only its kind, as the text of an error that is not ours may quote a record.
        context.log.warning(f"{day}: {but} ({type(error).__name__})")


def in_psql(query: str, **days: str) -> dg.MarkdownMetadataValue:
    """A query that shows the rows behind a result, for psql; a day's name needs no escapes."""
    return dg.MetadataValue.md(f"```sql\n{query.format(**days)};\n```")
