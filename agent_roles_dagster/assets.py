"""The assets: thin steps around `landing`, `staging` and `mapping`, which do the work.

https://docs.dagster.io/guides/build/assets
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dagster as dg
from dagster_pyspark import LazyPySparkResource
from pydantic import Field

from agent_roles_dagster import checks, reports
from agent_roles_dagster.automation import ON_LANDING, WITH_UPSTREAM
from agent_roles_dagster.checks import MAY_BE_STAGED
from agent_roles_dagster.database import connect
from agent_roles_dagster.display import in_markdown
from agent_roles_dagster.engines import started
from agent_roles_dagster.landing import (
    NotRead,
    Unreadable,
    find_dump,
    landed_days,
    require_landed,
    seal,
    shown,
)
from agent_roles_dagster.mapping import NotApplied, apply_day
from agent_roles_dagster.partitions import sync_day_partitions
from agent_roles_dagster.reports import Event, of_errors, of_mapping, of_staged
from agent_roles_dagster.resources import AgentRolesResource
from agent_roles_dagster.retries import retried_if_lost
from agent_roles_dagster.staging import Held, Pruned, record_unreadable, stage_day
from agent_roles_dagster.summary import mapping_preview
from agent_roles_dagster.sync_days import InvalidSyncDay, is_sync_day

Refusal = Event | dg.AssetObservation
GROUP = "agent_roles"
OWNERS = ["team:access-reviews"]
_ID = ("agent_id", "BIGINT", "Agent ID"), ("role_id", "BIGINT", "Role ID")


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


@dg.asset(
    deps=[landed_dump],
    automation_condition=ON_LANDING,
    partitions_def=sync_day_partitions,
    group_name=GROUP,
    owners=OWNERS,
    kinds={"json", "file"},
    description="The day's dump as it landed: its files found, verified and sealed by a digest."
    " Nothing is copied.",
    metadata=_columns(
        ("agent_id", "JSON", "Agent ID as it came, if at all"),
        ("role_id", "JSON", "Role ID as it came, if at all"),
        ("status", "JSON", "assigned, removed or absent"),
    ),
)
@retried_if_lost
def raw_roles(
    context: dg.AssetExecutionContext, agent_roles: AgentRolesResource
) -> Iterator[dg.MaterializeResult[None] | Refusal]:
    """Fails with the outcome "unreadable" if the day is no snapshot."""
    landing = agent_roles.settings().landing
    sync_day = context.partition_key
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
        f"{sync_day}: {len(dump.files)} files, {dump.size:,} bytes under"
        f" {shown(landing)}/{sync_day}",
        extra={"sync_day": sync_day, "files": len(dump.files), "bytes": dump.size},
    )
    yield dg.MaterializeResult(
        data_version=dg.DataVersion(digest),
        metadata={
            "dagster/uri": f"{shown(landing)}/{sync_day}",
            "files": len(dump.files),
            "bytes": dump.size,
            "digest": digest,
            "observed at": f"{dump.observed_at or dump.modified_at:{reports.TIME}} UTC",
            "observed at is from": "the manifest" if dump.observed_at else "the files' times",
            "names and sizes": dg.MetadataValue.md(
                "\n".join(
                    f"- {in_markdown(file.name)}: {file.size:,} bytes" for file in dump.files[:50]
                )
            ),
        },
    )


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
            automation_condition=WITH_UPSTREAM,
            owners=OWNERS,
            kinds={"pyspark", "postgres"},
            description="The day's assignments, and the removals found against the staged day"
            " before.",
            metadata=_table(
                "stg_agent_roles",
                *_ID,
                ("status", "TEXT", "assigned or removed"),
                ("sync_day", "TEXT", "The day, e.g. day1"),
                ("source", "TEXT", "api"),
                ("ingested_at", "TIMESTAMP", "When the row's content was loaded, UTC"),
            ),
        ),
        dg.AssetSpec(
            "agent_role_pipeline_errors",
            deps=[raw_roles],
            automation_condition=WITH_UPSTREAM,
            owners=OWNERS,
            kinds={"pyspark", "postgres"},
            description="The rows that were refused, each with every rule it breaks.",
            metadata=_table(
                "agent_role_pipeline_errors",
                ("id", "SERIAL", "Serial number"),
                *_ID,
                ("error_type", "TEXT", "VALIDATION_ERROR"),
                ("error_message", "TEXT", "Every rule that the row breaks"),
                ("raw_record", "JSONB", "The row as received, its file and its place there"),
                ("created_at", "TIMESTAMP", "When it was refused, UTC"),
                ("sync_day", "TEXT", "The day, e.g. day1"),
            ),
        ),
    ],
)
@retried_if_lost
def stage_agent_roles(
    context: dg.AssetExecutionContext,
    config: StageConfig,
    agent_roles: AgentRolesResource,
    pyspark: LazyPySparkResource,
) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult | Refusal]:
    """Fails, with the outcome that says why, if the day must not be staged."""
    sync_day = context.partition_key
    settings = agent_roles.settings()
    url = agent_roles.database_url()
    try:
        reason, approver = config.accepted(context.job_name, sync_day)
    except dg.Failure:
        yield from _unreached(context, agent_roles, [checks.STAGED, checks.ERRORS, checks.MAPPING])
        raise
    try:
        staged = stage_day(
            settings,
            url,
            lambda: started(pyspark, settings),
            sync_day,
            sealed=_sealed_digest(context),
            run_id=context.run_id,
            accept_removals=reason,
            approver=approver,
            say=context.log.info,
        )
    except Held as error:
        yield from _held(context, agent_roles, error)
        return
    except Pruned as error:
        yield from _refused(context, agent_roles, "pruned", str(error))
        return
    except InvalidSyncDay as error:
        yield from _refused(context, agent_roles, "refused", str(error))
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
    is_applied_next = _is_selected(context, "agent_role_mapping")
    with connect(url) as connection:
        if not is_applied_next:
            context.log.info(f"{sync_day}: {mapping_preview(connection)}")
        metadata = of_staged(connection, sync_day, is_applied_next=is_applied_next)
        of_the_errors = of_errors(connection, sync_day)
        may_be_staged = reports.may_be_staged(connection, sync_day)
        others = list(
            reports.beside_staged(context, connection, sync_day, is_applied_next=is_applied_next)
        )
    spent = ", ".join(f"{phase} {seconds} s" for phase, seconds in staged.seconds.items())
    yield dg.MaterializeResult(
        asset_key="stg_agent_roles", metadata={**metadata, reports.TIME_SPENT: spent}
    )
    yield dg.MaterializeResult(asset_key="agent_role_pipeline_errors", metadata=of_the_errors)
    yield may_be_staged
    for event in others:
        if isinstance(event, dg.AssetCheckEvaluation) and not event.passed:
            context.log.warning(f"{event.partition}: {checks.finding(event)}")
        yield event


@dg.asset(
    deps=["stg_agent_roles", "agent_role_pipeline_errors"],
    automation_condition=WITH_UPSTREAM,
    partitions_def=sync_day_partitions,
    group_name=GROUP,
    owners=OWNERS,
    kinds={"postgres", "sql"},
    description="Who holds which role: each pair's latest assignment over the staged days.",
    metadata=_table(
        "agent_role_mapping",
        *_ID,
        ("status", "TEXT", "assigned or removed"),
        ("assigned_at", "TIMESTAMP", "When the latest assignment began, UTC"),
        ("removed_at", "TIMESTAMP", "When it ended, UTC; null while it holds"),
    ),
)
@retried_if_lost
def agent_role_mapping(
    context: dg.AssetExecutionContext, agent_roles: AgentRolesResource
) -> Iterator[dg.MaterializeResult[None] | Event]:
    """Applies the staged day in one transaction."""
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
        yield from _unreached(context, agent_roles, [checks.MAPPING])
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
        metadata = of_mapping(connection, sync_day)
        others = list(reports.beside_applied(context, connection, applied.days, applied.pruned))
    yield dg.MaterializeResult(
        metadata={
            **metadata,
            reports.CHANGED: applied.written,
            reports.DELETED: applied.deleted,
        }
    )
    yield from others


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


def _held(
    context: dg.AssetExecutionContext, agent_roles: AgentRolesResource, error: Held
) -> Iterator[Refusal]:
    """What is said of a day that is held: of its own check, and of what its errors change."""
    day = error.day
    about: dict[str, Any] = {
        "previous day": day.previous_day or "none",
        "assigned on the previous day": day.previous_assigned,
        "assigned by this dump": day.assigned,
        "removals held": day.removed,
        **{name.replace("_", " "): getattr(day, name) for name in reports.COUNTS},
        "observed at": f"{day.observed_at:{reports.TIME}} UTC",
    }
    if error.sample:
        about["sample of the removals"] = "; ".join(error.sample)
    others: list[Any] = []
    with (
        _as_far_as_possible(context, "what it changes for other days is not reported"),
        connect(agent_roles.database_url()) as connection,
    ):
        others += reports.renewed(context, connection, day.sync_day, checks.ERRORS)
        others += reports.beside_staged(context, connection, day.sync_day, is_applied_next=True)
    yield from others
    yield from _refused(context, agent_roles, "held", str(error), about)


def _unreadable(
    context: dg.AssetExecutionContext, agent_roles: AgentRolesResource, error: Exception
) -> Iterator[Refusal]:
    text = (
        f"{error}. Nothing was changed in any table. Land the whole dump again and materialise"
        " the day."
    )
    day = context.partition_key
    if is_sync_day(day):
        with _as_far_as_possible(context, "that the day is unreadable is not on record"):
            record_unreadable(agent_roles.database_url(), day, context.run_id, str(error))
    yield from _refused(context, agent_roles, "unreadable", text)


def _refused(
    context: dg.AssetExecutionContext,
    agent_roles: AgentRolesResource,
    outcome: str,
    text: str,
    about: Mapping[str, Any] | None = None,
) -> Iterator[Refusal]:
    """The day's own check fails, and the run; what else it would have checked is as it is found."""
    metadata = {"outcome": outcome, **(about or {})}
    explained = {"why, and what to do": text, **metadata}
    # A failed run materialises nothing. What is observed is among the day's events, and in the
    # plots of events, too.
    yield dg.AssetObservation(checks.STAGED, partition=context.partition_key, metadata=explained)
    yield dg.AssetCheckEvaluation(
        asset_key=checks.STAGED,
        check_name=MAY_BE_STAGED.name,
        passed=False,
        description=text,
        metadata=explained,
        partition=context.partition_key,
    )
    yield from _unreached(context, agent_roles, [checks.STAGED, checks.ERRORS, checks.MAPPING])
    raise dg.Failure(text, metadata, allow_retries=False) from None


def _unreached(
    context: dg.AssetExecutionContext, agent_roles: AgentRolesResource, assets: list[dg.AssetKey]
) -> Iterator[dg.AssetCheckEvaluation]:
    results: list[dg.AssetCheckEvaluation] = []
    with (
        _as_far_as_possible(context, "checks that were not reached show as failed"),
        connect(agent_roles.database_url()) as connection,
    ):
        results = list(reports.unreached(context, connection, assets))
    yield from results


@contextmanager
def _as_far_as_possible(context: dg.AssetExecutionContext, but: str) -> Iterator[None]:
    """What must not hide why a day is refused, whatever goes wrong with it."""
    try:
        yield
    except Exception as error:
        # Only its kind, as the text of an error that is not ours may quote a record.
        context.log.warning(f"{context.partition_key}: {but} ({type(error).__name__})")


def _not_read(error: NotRead) -> NotRead:
    return NotRead(
        f"{error}. Nothing was changed in any table. The dump may be whole: once the place where it"
        " landed can be reached and read, materialise the day again."
    )
