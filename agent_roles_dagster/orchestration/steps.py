"""What the steps do for one day: read it, stage it, apply it, and report each.

The assets run them for the day of their run, and `many_days` for one day after the other.
"""

from collections.abc import Iterator

import dagster as dg

from agent_roles_dagster.engines.start import Start
from agent_roles_dagster.landing.days import landed_days, require_landed
from agent_roles_dagster.landing.files import shown
from agent_roles_dagster.landing.find import find_dump
from agent_roles_dagster.landing.seal import seal
from agent_roles_dagster.mapping.apply import apply_day
from agent_roles_dagster.orchestration import reports
from agent_roles_dagster.orchestration.checks import ERRORS, MAPPING, STAGED
from agent_roles_dagster.orchestration.failures import failure
from agent_roles_dagster.orchestration.landing_metadata import what_was_sealed
from agent_roles_dagster.orchestration.refusals import Refusal, refused
from agent_roles_dagster.orchestration.reports import (
    Context,
    Event,
    of_errors,
    of_mapping,
    of_staged,
    version,
)
from agent_roles_dagster.orchestration.resources import AgentRolesResource
from agent_roles_dagster.orchestration.stale_reports import refresh
from agent_roles_dagster.orchestration.summary import mapping_preview
from agent_roles_dagster.outcomes import (
    DayRefused,
    InvalidSyncDay,
    NotApplied,
    NotRead,
    Unreadable,
)
from agent_roles_dagster.postgres.connection import connect
from agent_roles_dagster.settings import Settings
from agent_roles_dagster.staging.stage import stage_day


def read_day(
    context: Context, agent_roles: AgentRolesResource
) -> Iterator[dg.MaterializeResult[None] | Refusal]:
    """Find the day's dump and seal it."""
    settings = agent_roles.settings()
    landing = settings.landing
    sync_day = context.partition_key
    context.log.info(f"{sync_day}: reading {where(settings, sync_day)}")
    try:
        require_landed(landing, sync_day)
        dump = find_dump(landing, sync_day)
        digest = seal(dump)
    except InvalidSyncDay as error:
        yield from refused(context, agent_roles, Unreadable(str(error)))
        return
    except DayRefused as error:
        yield from refused(context, agent_roles, error)
        return
    context.log.info(
        f"{sync_day}: {len(dump.files):,} files, {dump.size:,} bytes",
        extra={"sync_day": sync_day, "files": len(dump.files), "bytes": dump.size},
    )
    yield dg.MaterializeResult(
        data_version=dg.DataVersion(digest), metadata=what_was_sealed(landing, dump, digest)
    )


def where(settings: Settings, sync_day: str | None = None) -> str:
    """The landing folder, or the day's, as the log names it."""
    folder = "/".join(filter(None, (shown(settings.landing), sync_day)))
    of_sample = " of the sample, as AGENT_ROLES_LANDING is not set" if settings.is_sample else ""
    return f"{folder}{of_sample}"


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
    """Stage the day, or say why not.

    Args:
        engine: enters the engine.
        sealed: the digest that `read_day` gave.
        reason: why the day's removals are right; None if nobody accepted them.
        approver: who accepted them.
        is_applied_next: whether the same run applies the day.
        others: whether to report, too, what this changes for other days.
    """
    sync_day = context.partition_key
    url = agent_roles.database_url()
    try:
        staged = stage_day(
            agent_roles.settings(),
            url,
            engine,
            sync_day,
            sealed=sealed,
            run_id=context.run_id,
            accept_removals=reason,
            approver=approver,
            say=context.log.info,
        )
    except DayRefused as error:
        yield from refused(context, agent_roles, error)
        return
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
            yield from refresh(context, connection, sync_day, own=[STAGED, ERRORS], assets=assets)


def apply_and_report(
    context: Context, agent_roles: AgentRolesResource, *, others: bool = True
) -> Iterator[dg.MaterializeResult[None] | Event]:
    """Apply the staged day to the mapping.

    Args:
        others: whether to report, too, what this changes for other days.
    """
    sync_day = context.partition_key
    settings = agent_roles.settings()
    keep_days, landed = settings.keep_days, []
    try:
        landed = landed_days(settings.landing) if keep_days else []
    except NotRead as error:
        context.log.warning(f"{sync_day}: no old snapshot is pruned this time: {error}")
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
        raise failure(error) from None
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
            yield from refresh(context, connection, sync_day, own=[MAPPING])
