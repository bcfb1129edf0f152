"""The assets: thin steps around `landing`, `staging` and `mapping`, which do the work.

https://docs.dagster.io/guides/build/assets
"""

from collections.abc import Iterator

import dagster as dg
from dagster_pyspark import LazyPySparkResource

from agent_roles_dagster.automation import ON_LANDING, WITH_UPSTREAM
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
from agent_roles_dagster.resources import AgentRolesResource
from agent_roles_dagster.retries import retried_if_lost
from agent_roles_dagster.staging import Held, Pruned, StagedDay, stage_day
from agent_roles_dagster.summary import day_summary, mapping_preview
from agent_roles_dagster.sync_days import InvalidSyncDay

GROUP = "agent_roles"
OWNERS = ["team:access-reviews"]
# Of a staged day, what its log record has as fields, for whoever reads logs by machine.
_LOGGED = (
    "sync_day",
    "previous_day",
    "raw_rows",
    "valid_pairs",
    "duplicates",
    "invalid_rows",
    "assigned",
    "newly_assigned",
    "removed",
    "seconds",
)

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
) -> dg.MaterializeResult[None]:
    """Fails with the outcome "unreadable" if the day is no snapshot."""
    landing = agent_roles.settings().landing
    sync_day = context.partition_key
    try:
        require_landed(landing, sync_day)
        dump = find_dump(landing, sync_day)
        digest = seal(dump)
    except (Unreadable, InvalidSyncDay) as error:
        raise _unreadable(error) from None
    except NotRead as error:
        raise _not_read(error) from None
    context.log.info(
        f"{sync_day}: {len(dump.files)} files, {dump.size:,} bytes",
        extra={"sync_day": sync_day, "files": len(dump.files), "bytes": dump.size},
    )
    return dg.MaterializeResult(
        data_version=dg.DataVersion(digest),
        metadata={
            "dagster/uri": f"{shown(landing)}/{sync_day}",
            "files": len(dump.files),
            "bytes": dump.size,
            "digest": digest,
            "observed_at": (dump.observed_at or dump.modified_at).isoformat(),
            "observed_at is from": "the manifest" if dump.observed_at else "the files' times",
            "names and sizes": dg.MetadataValue.md(
                "\n".join(
                    f"- {in_markdown(file.name)}: {file.size:,} bytes" for file in dump.files[:50]
                )
            ),
        },
    )


class StageConfig(dg.Config):
    """Run config of `stage_agent_roles`.

    Attributes:
        accept_removals: why removals beyond the guard's limits are right; lets this one run
            through, and is kept with the day.
    """

    accept_removals: str | None = None


@dg.multi_asset(
    name="stage_agent_roles",
    # Runs that stage wait for each other in PostgreSQL anyway; a pool keeps the queue short.
    pool="stage_agent_roles",
    partitions_def=sync_day_partitions,
    group_name=GROUP,
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
) -> Iterator[dg.MaterializeResult[None] | dg.AssetObservation]:
    """Fails, with the outcome that says why, if the day must not be staged."""
    sync_day = context.partition_key
    settings = agent_roles.settings()
    url = agent_roles.database_url()
    try:
        staged = stage_day(
            settings,
            url,
            lambda: started(pyspark, settings),
            sync_day,
            sealed=_sealed_digest(context),
            run_id=context.run_id,
            accept_removals=(config.accept_removals or "").strip() or None,
            say=context.log.info,
        )
    except Held as error:
        # A failed run materialises nothing, and what is observed is in the plots of events, too.
        yield dg.AssetObservation(
            "stg_agent_roles",
            partition=sync_day,
            metadata={
                "why held": str(error),
                **_counts(error.day),
                "removals held": error.day.removed,
            },
        )
        raise dg.Failure(str(error), {"outcome": "held"}, allow_retries=False) from None
    except Pruned as error:
        raise dg.Failure(str(error), {"outcome": "pruned"}, allow_retries=False) from None
    except InvalidSyncDay as error:
        raise dg.Failure(str(error), {"outcome": "refused"}, allow_retries=False) from None
    except Unreadable as error:
        raise _unreadable(error) from None
    except NotRead as error:
        raise _not_read(error) from None
    versus = f" since {staged.previous_day}" if staged.previous_day else ""
    context.log.info(
        f"{sync_day}: {staged.raw_rows:,} raw rows = {staged.valid_pairs:,} valid pairs"
        f" + {staged.duplicates:,} duplicate + {staged.invalid_rows:,} invalid;"
        f" {staged.assigned:,} assigned, {staged.removed:,} removed{versus}",
        extra={name: getattr(staged, name) for name in _LOGGED},
    )
    with connect(url) as connection:
        explained = {"summary": dg.MetadataValue.md(day_summary(connection, staged))}
        if staged.previous_day:
            explained["changes in SQL"] = _in_psql(
                "SELECT * FROM agent_role_changes_between('{before}', '{day}')",
                before=staged.previous_day,
                day=sync_day,
            )
        if not _is_selected(context, "agent_role_mapping"):
            preview = mapping_preview(connection)
            explained["preview"] = dg.MetadataValue.md(preview)
            context.log.info(f"{sync_day}: {preview}")
    yield dg.MaterializeResult(
        asset_key="stg_agent_roles",
        metadata={
            # First, as the interface keeps the order.
            **explained,
            "dagster/partition_row_count": staged.assigned + staged.removed,
            **_counts(staged),
            "assigned": staged.assigned,
            "newly assigned": staged.newly_assigned,
            "removed": staged.removed,
            "removals held": 0,
            **{f"seconds {phase}": taken for phase, taken in staged.seconds.items()},
            "rows in SQL": _in_psql(
                "SELECT * FROM stg_agent_roles WHERE sync_day = '{day}'", day=sync_day
            ),
        },
    )
    yield dg.MaterializeResult(
        asset_key="agent_role_pipeline_errors",
        metadata={
            "dagster/partition_row_count": staged.invalid_rows,
            "invalid rows": staged.invalid_rows,
            "share of raw rows": staged.invalid_rows / max(staged.raw_rows, 1),
            "rows in SQL": _in_psql(
                # Not raw_record, which may have names and addresses, and which few may read.
                "SELECT id, agent_id, role_id, error_message FROM agent_role_pipeline_errors"
                "\nWHERE sync_day = '{day}'",
                day=sync_day,
            ),
        },
    )


def _counts(day: StagedDay) -> dict[str, int | str]:
    """What was read of a day, whether it was staged or held."""
    return {
        "records": day.records,
        "raw rows": day.raw_rows,
        "valid pairs": day.valid_pairs,
        "duplicates": day.duplicates,
        "invalid rows": day.invalid_rows,
        "previous day": day.previous_day or "none",
        "observed at": day.observed_at.isoformat(),
    }


def _in_psql(query: str, **days: str) -> dg.MarkdownMetadataValue:
    """A query that shows the rows behind a result, for psql; a day's name needs no escapes."""
    return dg.MetadataValue.md(f"```sql\n{query.format(**days)};\n```")


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
) -> dg.MaterializeResult[None]:
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
        raise dg.Failure(str(error), {"outcome": "not applied"}, allow_retries=False) from None
    context.log.info(
        f"{sync_day}: mapping: {applied.written:,} rows changed, {applied.deleted:,} deleted",
        extra={
            "sync_day": sync_day,
            "rows_changed": applied.written,
            "rows_deleted": applied.deleted,
        },
    )
    return dg.MaterializeResult(
        metadata={
            "dagster/partition_row_count": applied.day_rows,
            "rows changed": applied.written,
            "rows deleted": applied.deleted,
            "changed rows in SQL": _in_psql(
                "SELECT mapping.* FROM agent_role_mapping AS mapping"
                "\nJOIN agent_role_changes USING (agent_id, role_id)"
                "\nJOIN agent_role_sync_days USING (day_no)"
                "\nWHERE sync_day = '{day}'",
                day=sync_day,
            ),
        }
    )


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


def _unreadable(error: Exception) -> dg.Failure:
    return dg.Failure(
        f"{error}. Nothing was changed in any table. Land the whole dump again and materialise"
        " the day.",
        {"outcome": "unreadable"},
        allow_retries=False,
    )


def _not_read(error: NotRead) -> NotRead:
    return NotRead(
        f"{error}. Nothing was changed in any table. The dump may be whole: once the place where it"
        " landed can be reached and read, materialise the day again."
    )
