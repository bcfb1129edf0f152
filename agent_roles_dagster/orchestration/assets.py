"""The assets: thin steps around `landing`, `staging` and `mapping`, which do the work.

https://docs.dagster.io/guides/build/assets
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from dagster_pyspark import LazyPySparkResource
from pydantic import Field

from agent_roles_dagster.display import in_markdown
from agent_roles_dagster.engines import Start, started
from agent_roles_dagster.landing.arrival import Arrival
from agent_roles_dagster.landing.days import landed_days, require_landed
from agent_roles_dagster.landing.dump import Dump
from agent_roles_dagster.landing.files import shown
from agent_roles_dagster.landing.find import find_dump
from agent_roles_dagster.landing.seal import seal
from agent_roles_dagster.mapping.apply import NotApplied, apply_day
from agent_roles_dagster.orchestration import reports
from agent_roles_dagster.orchestration.automation import ON_LANDING, WITH_UPSTREAM
from agent_roles_dagster.orchestration.check_results import as_far_as_possible, with_unreached
from agent_roles_dagster.orchestration.checks import ERRORS, MAPPING, MAY_BE_STAGED, STAGED
from agent_roles_dagster.orchestration.partitions import of_one_day, sync_day_partitions
from agent_roles_dagster.orchestration.renewal import owed
from agent_roles_dagster.orchestration.reports import (
    Context,
    Event,
    of_errors,
    of_mapping,
    of_staged,
    version,
)
from agent_roles_dagster.orchestration.resources import AgentRolesResource
from agent_roles_dagster.orchestration.retries import retried_if_lost
from agent_roles_dagster.orchestration.summary import mapping_preview, what_was_read
from agent_roles_dagster.outcomes import NotRead, Pruned, Unreadable
from agent_roles_dagster.postgres.connection import connect
from agent_roles_dagster.settings import Settings
from agent_roles_dagster.staging.stage import record_unreadable, stage_day
from agent_roles_dagster.staging.staged_day import Held
from agent_roles_dagster.sync_days import InvalidSyncDay, is_sync_day

Refusal = Event | dg.AssetObservation
GROUP = "agent_roles"
_LISTED = 50
OWNERS = ["team:access-reviews"]
_ID = (
    ("agent_id", "BIGINT", "The agent, by the help desk's own number"),
    ("role_id", "BIGINT", "The role, by the help desk's own number"),
)
# Rises when the same dump comes to other rows: Dagster then shows what was made before as unsynced.
CODE_VERSION = "1"


def _columns(*columns: tuple[str, str, str]) -> dict[str, object]:
    """Dagster's standard metadata for columns: name, type, description of each."""
    return {
        "dagster/column_schema": dg.TableSchema(
            [dg.TableColumn(column, kind, description=text) for column, kind, text in columns]
        )
    }


def _table(name: str, *columns: tuple[str, str, str]) -> dict[str, object]:
    """Dagster's standard metadata for a table."""
    return {"dagster/table_name": name, **_columns(*columns)}


# Not ours to make: the sensor reports that a day landed, or landed again, which is what the
# automation of raw_roles goes by.
landed_dump = dg.AssetSpec(
    "landed_dump",
    partitions_def=sync_day_partitions,
    group_name=GROUP,
    owners=OWNERS,
    kinds={"json", "file"},
    description="The day's folder as the source wrote it; the sensor tells of each new content.",
)


def what_landed(day: str, arrival: Arrival, settings: Settings) -> dict[str, Any]:
    """Metadata of a day's landed_dump."""
    changed = datetime.fromtimestamp(arrival.changed_at, UTC)
    settled = f"nothing had changed for {settings.settle_seconds:g} seconds"
    return {
        "dagster/uri": f"{shown(settings.landing)}/{day}",
        "files": arrival.files,
        "size": f"{arrival.size:,} bytes",
        "last changed at": f"{changed:{reports.TIME}} UTC",
        "complete because": "the manifest lists its files" if arrival.listed else settled,
    }


@dg.asset(
    deps=[landed_dump],
    code_version=CODE_VERSION,
    automation_condition=ON_LANDING,
    partitions_def=sync_day_partitions,
    group_name=GROUP,
    owners=OWNERS,
    kinds={"json", "file"},
    description="The day's dump as it landed: its files found, verified and sealed by a digest."
    " Nothing is copied.",
    metadata=_columns(
        ("agent_id", "JSON", "The agent as the dump says it: a number, text, anything, or nothing"),
        ("role_id", "JSON", "The role as the dump says it: a number, text, anything, or nothing"),
        ("status", "JSON", "assigned or removed; absent means assigned"),
    ),
)
@of_one_day
@with_unreached(STAGED, ERRORS, MAPPING)
@retried_if_lost
def raw_roles(
    context: dg.AssetExecutionContext, agent_roles: AgentRolesResource
) -> Iterator[dg.MaterializeResult[None] | Refusal]:
    """Fails with the outcome "unreadable" if the day is no snapshot."""
    yield from read_day(context, agent_roles)


def read_day(
    context: Context, agent_roles: AgentRolesResource
) -> Iterator[dg.MaterializeResult[None] | Refusal]:
    """Find the day's dump and seal it, as raw_roles does for the day of its run."""
    settings = agent_roles.settings()
    landing = settings.landing
    sync_day = context.partition_key
    of_sample = " of the sample, as AGENT_ROLES_LANDING is not set" if settings.is_sample else ""
    context.log.info(f"{sync_day}: reading {shown(landing)}/{sync_day}{of_sample}")
    try:
        require_landed(landing, sync_day)
        dump = find_dump(landing, sync_day)
        digest = seal(dump)
    except (Unreadable, InvalidSyncDay) as error:
        yield from _unreadable(context, agent_roles, error)
        return
    except NotRead as error:
        raise _not_read(error) from None
    context.log.info(
        f"{sync_day}: {len(dump.files):,} files, {dump.size:,} bytes",
        extra={"sync_day": sync_day, "files": len(dump.files), "bytes": dump.size},
    )
    yield dg.MaterializeResult(
        data_version=dg.DataVersion(digest),
        metadata={
            "dagster/uri": f"{shown(landing)}/{sync_day}",
            "files": len(dump.files),
            "size": f"{dump.size:,} bytes",
            "observed at": f"{dump.observed_at or dump.modified_at:{reports.TIME}} UTC",
            "observed at is from": "the manifest" if dump.observed_at else "the files' times",
            "names and sizes": dg.MetadataValue.md(_names_and_sizes(dump)),
            "digest": digest,
        },
    )


def _names_and_sizes(dump: Dump) -> str:
    lines = [f"- {in_markdown(file.name)}: {file.size:,} bytes" for file in dump.files[:_LISTED]]
    more = len(dump.files) - len(lines)
    return "\n".join(lines) + (f"\n\nand {more:,} more." if more else "")


ACCEPT = "accept_held_day"


class Acceptance(dg.Config):
    """Why removals beyond the guard's limits are right, and who says so."""

    day: str = Field(description="The held day, e.g. day4: the same as the run's partition.")
    reason: str = Field(description="Why the removals are right, e.g. the tenant was closed.")
    approver: str = Field(description="Who approved it: a name, an address or a ticket.")


class StageConfig(dg.Config):
    """Run config of `stage_agent_roles`."""

    accept_removals: str | None = Field(
        default=None,
        description="Why removals beyond the guard's limits are right. It lets this one run"
        " through, and is kept with the day.",
    )
    accept: Acceptance | None = Field(
        default=None, description="The same with an approver, as the job accept_held_day asks."
    )

    def accepted(self, job: str, sync_day: str) -> tuple[str | None, str | None]:
        """The reason and the approver, None where nothing is accepted.

        Raises:
            dg.Failure: the acceptance is of another day, or lacks something.
        """
        if self.accept is None and job != ACCEPT:
            return (self.accept_removals or "").strip() or None, None
        given = self.accept or Acceptance(day=sync_day, reason="", approver="")
        reason, approver = given.reason.strip(), given.approver.strip()
        needed = {"the reason": reason, "the approver": approver}
        wrong = [f"{name} is empty" for name, text in needed.items() if not text]
        if given.day.strip() != sync_day:
            wrong.insert(0, f"it is of {given.day!r}, and the run's partition is {sync_day!r}")
        if wrong:
            raise dg.Failure(
                f"{sync_day} is not accepted: {' and '.join(wrong)}. Nothing was changed in any"
                f" table. Run the job {ACCEPT} again with the day, the reason and the approver.",
                {"outcome": "not accepted"},
                allow_retries=False,
            )
        return reason, approver


@dg.multi_asset(
    name="stage_agent_roles",
    # Runs that stage wait for each other in PostgreSQL anyway; a pool keeps the queue short.
    pool="stage_agent_roles",
    partitions_def=sync_day_partitions,
    group_name=GROUP,
    check_specs=[MAY_BE_STAGED],
    specs=[
        dg.AssetSpec(
            "stg_agent_roles",
            deps=[raw_roles],
            code_version=CODE_VERSION,
            automation_condition=WITH_UPSTREAM,
            owners=OWNERS,
            kinds={"pyspark", "postgres"},
            description="The day's assignments, and the removals found against the staged day"
            " before.",
            metadata=_table(
                "stg_agent_roles",
                *_ID,
                (
                    "status",
                    "TEXT",
                    "assigned: the day's dump has the pair. removed: the staged day before had it,"
                    " and this one does not",
                ),
                ("sync_day", "TEXT", "The day whose dump this is, such as day1 or 2026-11-23"),
                ("source", "TEXT", "Where the dump is from: always api"),
                (
                    "ingested_at",
                    "TIMESTAMP",
                    "When this row's content was loaded, UTC; the same dump again leaves it",
                ),
            ),
        ),
        dg.AssetSpec(
            "agent_role_pipeline_errors",
            deps=[raw_roles],
            code_version=CODE_VERSION,
            automation_condition=WITH_UPSTREAM,
            owners=OWNERS,
            kinds={"pyspark", "postgres"},
            description="The rows that were refused, each with every rule it breaks.",
            metadata=_table(
                "agent_role_pipeline_errors",
                ("id", "SERIAL", "A number of its own, by which to point at the row"),
                ("agent_id", "BIGINT", "The agent, if it could be read"),
                ("role_id", "BIGINT", "The role, if it could be read"),
                ("error_type", "TEXT", "The kind of error: always VALIDATION_ERROR"),
                ("error_message", "TEXT", "Every rule that the row breaks, parted by semicolons"),
                (
                    "raw_record",
                    "JSONB",
                    "The row as received, with its file and its place there; it may have names and"
                    " addresses, so few may read it",
                ),
                ("created_at", "TIMESTAMP", "When the row was refused, UTC"),
                ("sync_day", "TEXT", "The day whose dump this is, such as day1 or 2026-11-23"),
            ),
        ),
    ],
)
@of_one_day
@with_unreached(STAGED, ERRORS, MAPPING)
@retried_if_lost
def stage_agent_roles(
    context: dg.AssetExecutionContext,
    config: StageConfig,
    agent_roles: AgentRolesResource,
    pyspark: LazyPySparkResource,
) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult | Refusal]:
    """Fails, with the outcome that says why, if the day must not be staged."""
    settings = agent_roles.settings()
    reason, approver = config.accepted(context.job_name, context.partition_key)
    yield from stage_and_report(
        context,
        agent_roles,
        lambda: started(pyspark, settings),
        sealed=_sealed_digest(context),
        reason=reason,
        approver=approver,
        is_applied_next=_is_selected(context, "agent_role_mapping"),
    )


def stage_and_report(
    context: Context,
    agent_roles: AgentRolesResource,
    engine: Start,
    *,
    sealed: str | None,
    reason: str | None,
    approver: str | None,
    is_applied_next: bool,
    others: bool = True,
) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult | Refusal]:
    """Stage the day, as stage_agent_roles does for the day of its run, or say why not.

    Args:
        engine: enters the engine.
        sealed: the digest that `read_day` gave.
        reason: why the day's removals are right, None if nobody says so.
        approver: who says so.
        is_applied_next: whether the same run applies the day.
        others: whether to report what this changes for other days, too.
    """
    sync_day = context.partition_key
    settings = agent_roles.settings()
    url = agent_roles.database_url()
    try:
        staged = stage_day(
            settings,
            url,
            engine,
            sync_day,
            sealed=sealed,
            run_id=context.run_id,
            accept_removals=reason,
            approver=approver,
            say=context.log.info,
        )
    except Held as error:
        yield from _held(context, agent_roles, error)
        return
    except Pruned as error:
        yield from _refused(context, "pruned", str(error))
        return
    except InvalidSyncDay as error:
        yield from _refused(context, "refused", str(error))
        return
    except Unreadable as error:
        yield from _unreadable(context, agent_roles, error)
        return
    except NotRead as error:
        raise _not_read(error) from None
    versus = f" since {staged.previous_day}" if staged.previous_day else ""
    context.log.info(
        f"{sync_day}: {staged.raw_rows:,} raw rows = {staged.valid_pairs:,} valid pairs"
        f" + {staged.duplicates:,} duplicate + {staged.invalid_rows:,} invalid;"
        f" {staged.assigned:,} assigned, {staged.removed:,} removed{versus}",
        extra={name: value for name, value in vars(staged).items() if name != "content"}
        | {"newly_assigned": staged.newly_assigned},
    )
    spent = ", ".join(f"{phase} {seconds} s" for phase, seconds in staged.seconds.items())
    with connect(url) as connection:
        if not is_applied_next:
            context.log.info(f"{sync_day}: {mapping_preview(connection)}")
        metadata = of_staged(connection, sync_day, is_applied_next=is_applied_next)
        yield dg.MaterializeResult(
            asset_key=STAGED,
            metadata={**metadata, reports.TIME_SPENT: spent},
            data_version=version(connection, sync_day, STAGED, is_applied_next=is_applied_next),
        )
        yield dg.MaterializeResult(
            asset_key=ERRORS,
            metadata=of_errors(connection, sync_day),
            data_version=version(connection, sync_day, ERRORS),
        )
        yield reports.may_be_staged(connection, sync_day)
        if others:
            assets = [STAGED, ERRORS] if is_applied_next else [STAGED, ERRORS, MAPPING]
            yield from owed(context, connection, sync_day, own=[STAGED, ERRORS], assets=assets)


@dg.asset(
    deps=["stg_agent_roles", "agent_role_pipeline_errors"],
    code_version=CODE_VERSION,
    automation_condition=WITH_UPSTREAM,
    partitions_def=sync_day_partitions,
    group_name=GROUP,
    owners=OWNERS,
    kinds={"postgres", "sql"},
    description="Who holds which role: each pair's latest assignment over the staged days.",
    metadata=_table(
        "agent_role_mapping",
        *_ID,
        (
            "status",
            "TEXT",
            "assigned: the agent holds the role on the newest staged day. removed: it did before",
        ),
        (
            "assigned_at",
            "TIMESTAMP",
            "When the source was read, UTC, on the day on which the latest assignment began",
        ),
        (
            "removed_at",
            "TIMESTAMP",
            "When the source was read, UTC, on the day on which it ended; null while it holds",
        ),
    ),
)
@of_one_day
@with_unreached(MAPPING)
@retried_if_lost
def agent_role_mapping(
    context: dg.AssetExecutionContext, agent_roles: AgentRolesResource
) -> Iterator[dg.MaterializeResult[None] | Event]:
    """Applies the staged day in one transaction."""
    yield from apply_and_report(context, agent_roles)


def apply_and_report(
    context: Context, agent_roles: AgentRolesResource, *, others: bool = True
) -> Iterator[dg.MaterializeResult[None] | Event]:
    """Apply the staged day, as agent_role_mapping does for the day of its run."""
    sync_day = context.partition_key
    settings = agent_roles.settings()
    keep_days, landed = settings.keep_days, []
    try:
        landed = landed_days(settings.landing) if keep_days else []
    except NotRead as error:
        context.log.warning(f"{sync_day}: no old snapshot is dropped this time: {error}")
        keep_days = 0
    try:
        applied = apply_day(
            agent_roles.database_url(),
            sync_day,
            context.run_id,
            keep_days=keep_days,
            landed=landed,
            say=context.log.info,
        )
    except NotApplied as error:
        raise dg.Failure(str(error), {"outcome": "not applied"}, allow_retries=False) from None
    context.log.info(
        f"{sync_day}: mapping: {applied.written:,} rows changed, {applied.deleted:,} deleted",
        extra={
            "sync_day": sync_day,
            "rows_changed": applied.written,
            "rows_deleted": applied.deleted,
        },
    )
    with connect(agent_roles.database_url()) as connection:
        yield dg.MaterializeResult(
            metadata={
                **of_mapping(connection, sync_day),
                reports.CHANGED: applied.written,
                reports.DELETED: applied.deleted,
            },
            data_version=version(connection, sync_day, MAPPING),
        )
        if others:
            yield from owed(context, connection, sync_day, own=[MAPPING])


def _is_selected(context: dg.AssetExecutionContext, asset: str) -> bool:
    """Whether the run materialises the asset, too; a run without a selection materialises all."""
    selection = context.run.asset_selection
    return selection is None or dg.AssetKey(asset) in selection


def _sealed_digest(context: dg.AssetExecutionContext) -> str | None:
    """The digest that raw_roles sealed the day with, None if it never did."""
    result = context.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=raw_roles.key, asset_partitions=[context.partition_key]),
        limit=1,
    )
    if not result.records or (event := result.records[0].asset_materialization) is None:
        return None
    # Somebody may have reported the day as materialised, without saying which dump.
    digest = event.metadata.get("digest")
    return None if digest is None else str(digest.value)


def _held(context: Context, agent_roles: AgentRolesResource, error: Held) -> Iterator[Refusal]:
    """What is said of a day that is held: of its own check, and of what its errors change."""
    day = error.day
    about: dict[str, Any] = {
        "previous day": day.previous_day or "none",
        "assigned on the previous day": day.previous_assigned,
        "assigned by this dump": day.assigned,
        "removals held": day.removed,
        "invalid rows": day.invalid_rows,
        "what was read": dg.MetadataValue.md(what_was_read(vars(day))),
        "observed at": f"{day.observed_at:{reports.TIME}} UTC",
    }
    if error.sample:
        about["sample of the removals"] = "; ".join(error.sample)
    with (
        as_far_as_possible(context, day.sync_day, "what it changes for other days is not reported"),
        connect(agent_roles.database_url()) as connection,
    ):
        yield from owed(context, connection, day.sync_day, own=[])
    yield from _refused(context, "held", str(error), about)


def _unreadable(
    context: Context, agent_roles: AgentRolesResource, error: Exception
) -> Iterator[Refusal]:
    text = (
        f"{error}. Nothing was changed in any table. Land the whole dump again and materialise"
        " the day."
    )
    day = context.partition_key
    if is_sync_day(day):
        with as_far_as_possible(context, day, "that the day is unreadable is not on record"):
            record_unreadable(agent_roles.database_url(), day, context.run_id, str(error))
    yield from _refused(context, "unreadable", text)


def _refused(
    context: Context,
    outcome: str,
    text: str,
    about: Mapping[str, Any] | None = None,
) -> Iterator[Refusal]:
    """The day's own check fails, and the run."""
    metadata = {"outcome": outcome, **(about or {})}
    explained = {"why, and what to do": text, **metadata}
    # A failed run materialises nothing. What is observed is among the day's events, and in the
    # plots of events, too.
    yield dg.AssetObservation(STAGED, partition=context.partition_key, metadata=explained)
    yield dg.AssetCheckEvaluation(
        asset_key=STAGED,
        check_name=MAY_BE_STAGED.name,
        passed=False,
        description=text,
        metadata=explained,
        partition=context.partition_key,
    )
    raise dg.Failure(text, metadata, allow_retries=False) from None


def _not_read(error: NotRead) -> NotRead:
    return NotRead(
        f"{error}. Nothing was changed in any table. The dump may be whole: once the place where it"
        " landed can be reached and read, materialise the day again."
    )
