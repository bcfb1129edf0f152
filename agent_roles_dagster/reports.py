"""What is shown of a day. It follows from the tables alone, so it can be said again at any time.

A run changes what the tables say of other days, too, such as the next day's removals. Where what is
shown of these is no longer so, the run reports it anew, by events of its own for their partitions.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import dagster as dg
from dagster._core.event_api import PartitionKeyFilter
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecord

from agent_roles_dagster import checks
from agent_roles_dagster.checks import ERRORS, MAPPING, MAY_BE_STAGED, STAGED
from agent_roles_dagster.database import Connection, rows_of_file
from agent_roles_dagster.summary import acceptance, day_summary, errors_summary, mapping_preview

Event = dg.AssetMaterialization | dg.AssetCheckEvaluation


class Context(Protocol):
    """What is asked of a run of one day: a Dagster asset's context has it."""

    @property
    def partition_key(self) -> str: ...
    @property
    def run_id(self) -> str: ...
    @property
    def instance(self) -> Any: ...
    @property
    def log(self) -> Any: ...


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


METADATA = {STAGED: of_staged, ERRORS: of_errors, MAPPING: of_mapping}


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


def found(connection: Connection, day: str, asset: dg.AssetKey) -> list[dg.AssetCheckEvaluation]:
    """What the asset's checks find for the day, other than whether it may be staged."""
    if asset == STAGED:
        results = checks.of_staging(connection, day)
    elif asset == ERRORS:
        results = checks.of_errors(connection, day)
    else:
        results = [*checks.of_mapping(connection), *checks.of_times(connection, day)]
    return [evaluation(day, result) for result in results]


def evaluation(day: str, result: dg.AssetCheckResult) -> dg.AssetCheckEvaluation:
    """A check's result as an event for the day, whichever day the run is of."""
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


def unreached(
    context: Context,
    connection: Connection,
    assets: Iterable[dg.AssetKey] = (STAGED, ERRORS, MAPPING),
) -> Iterator[dg.AssetCheckEvaluation]:
    """What those of the assets' checks find that this run has planned, and is not going to reach.

    Dagster shows a check that was planned in a run that fails as failed, unless it has a result.
    """
    day = context.partition_key
    planned = {
        dg.AssetCheckKey(event.asset_key, event.check_name)
        for entry in context.instance.all_logs(
            context.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED
        )
        if entry.dagster_event and (event := entry.dagster_event.event_specific_data)
    }
    for asset in assets:
        if any(key.asset_key == asset for key in planned):
            for evaluation in found(connection, day, asset):
                if evaluation.asset_check_key in planned:
                    yield evaluation


def beside_staged(
    context: Context, connection: Connection, day: str, *, is_applied_next: bool
) -> Iterator[Event]:
    """What is to be said anew, after the day was staged, or its errors recorded.

    Args:
        is_applied_next: whether the same run goes on to the checks of agent_role_mapping.
    """
    for other in rows_of_file(connection, "043_days_beside", sync_day=day):
        name = other["sync_day"]
        if other["is_after"]:
            yield from renewed(context, connection, name, STAGED, with_checks=True)
            yield from renewed(context, connection, name, ERRORS, with_checks=True)
        elif other["is_waiting"]:
            yield from renewed(context, connection, name, STAGED)
        if other["is_before"] or other["is_after"]:
            yield from _times(context, connection, name)
    if not is_applied_next:
        yield from _times(context, connection, day)


def _times(context: Context, connection: Connection, day: str) -> Iterator[dg.AssetCheckEvaluation]:
    found = [evaluation(day, result) for result in checks.of_times(connection, day)]
    return _that_differ(context, found)


def beside_applied(
    context: Context, connection: Connection, days: Iterable[str], pruned: Iterable[str]
) -> Iterator[Event]:
    """What is to be said anew after these days were applied, and others pruned."""
    for day in pruned:
        yield from renewed(context, connection, day, STAGED)
    for day in days:
        yield from renewed(context, connection, day, STAGED)
        if day != context.partition_key:
            yield from renewed(context, connection, day, MAPPING)
        for other in rows_of_file(connection, "043_days_beside", sync_day=day):
            if other["is_after"]:
                yield from renewed(context, connection, other["sync_day"], MAPPING)


def renewed(
    context: Context,
    connection: Connection,
    day: str,
    asset: dg.AssetKey,
    *,
    with_checks: bool = False,
) -> Iterator[Event]:
    """The asset's metadata for the day and its checks, if something else was reported of it before.

    Args:
        with_checks: whether to look at the checks where the metadata are still right.
    """
    records = context.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset, asset_partitions=[day]), limit=1
    ).records
    before = records[0].asset_materialization if records else None
    if before is None:
        return
    of_the_run = {name: before.metadata[name] for name in _OF_THE_RUN & before.metadata.keys()}
    now = dg.AssetMaterialization(
        asset,
        partition=day,
        description=f"As the tables say since {context.partition_key} was run.",
        metadata={**METADATA[asset](connection, day), **of_the_run},
    )
    if now.metadata != before.metadata:
        yield now
        # Those of before count as being of another materialisation.
        yield from found(connection, day, asset)
        if asset == STAGED and (judged := _newest(context, MAY_BE_STAGED.key, day)):
            # A day that was refused since stays so, until it is run again.
            passed = evaluation(day, may_be_staged(connection, day))
            yield passed if judged.passed else judged
    elif with_checks:
        yield from _that_differ(context, found(connection, day, asset))


def _that_differ(
    context: Context, evaluations: Iterable[dg.AssetCheckEvaluation]
) -> Iterator[dg.AssetCheckEvaluation]:
    """Those evaluations that say another thing than the newest of the check for the day."""
    for now in evaluations:
        assert now.partition
        before = _newest(context, now.asset_check_key, now.partition)
        if before and said(before) != said(now):
            yield now


def said(evaluation: dg.AssetCheckEvaluation) -> tuple[Any, ...]:
    """What a check's result tells, whichever run it is of."""
    return evaluation.passed, evaluation.severity, evaluation.description, evaluation.metadata


def _newest(context: Context, key: dg.AssetCheckKey, day: str) -> dg.AssetCheckEvaluation | None:
    records = context.instance.event_log_storage.get_latest_asset_check_execution_by_key(
        [key], PartitionKeyFilter(key=day)
    )
    record: AssetCheckExecutionRecord | None = records.get(key)
    is_evaluated = record and isinstance(record.evaluation, dg.AssetCheckEvaluation)
    return record.evaluation if record and is_evaluated else None


def in_psql(query: str, **days: str) -> dg.MarkdownMetadataValue:
    """A query that shows the rows behind a result, for psql; a day's name needs no escapes."""
    return dg.MetadataValue.md(f"```sql\n{query.format(**days)};\n```")
