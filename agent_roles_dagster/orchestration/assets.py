"""The assets. What they do for a day is in `steps`, what their columns mean in `columns`.

https://docs.dagster.io/guides/build/assets
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_pyspark import LazyPySparkResource

from agent_roles_dagster.engines.start import started
from agent_roles_dagster.orchestration import columns
from agent_roles_dagster.orchestration.acceptance import StageConfig
from agent_roles_dagster.orchestration.automation import ON_LANDING, WITH_UPSTREAM
from agent_roles_dagster.orchestration.checks import ERRORS, MAPPING, MAY_BE_STAGED, STAGED
from agent_roles_dagster.orchestration.checks.unreached import with_unreached
from agent_roles_dagster.orchestration.partitions import of_one_day, sync_day_partitions
from agent_roles_dagster.orchestration.refusals import Refusal
from agent_roles_dagster.orchestration.reports import Event
from agent_roles_dagster.orchestration.resources import AgentRolesResource
from agent_roles_dagster.orchestration.retries import retried_if_lost
from agent_roles_dagster.orchestration.steps import apply_and_report, read_day, stage_and_report
from agent_roles_dagster.postgres.sql_files import sql_path

GROUP = "agent_roles"
OWNERS = ["team:access-reviews"]
# Raise it when the same dump gives other rows. Dagster then shows a day as unsynced, unless its
# newest report is by another day's run.
CODE_VERSION = "1"


_PACKAGE = Path(__file__).parents[1]
_STEPS = _PACKAGE / "orchestration/steps.py"
_TRANSFORM = _PACKAGE / "staging/transform.py"


def _code(*files: Path) -> dict[str, Any]:
    """Metadata with which the interface links an asset to its code, where it runs."""
    return {
        "dagster/code_references": dg.CodeReferencesMetadataValue(
            code_references=[
                dg.LocalFileCodeReference(file_path=str(file), line_number=1, label=file.name)
                for file in files
            ]
        )
    }


# The sensor reports that a day landed, or landed again. The automation of raw_roles follows that.
landed_dump = dg.AssetSpec(
    "landed_dump",
    partitions_def=sync_day_partitions,
    group_name=GROUP,
    owners=OWNERS,
    kinds={"json", "file"},
    description="The day's folder as the source wrote it. The sensor reports each new content.",
)


@dg.asset(
    deps=[landed_dump],
    code_version=CODE_VERSION,
    automation_condition=ON_LANDING,
    partitions_def=sync_day_partitions,
    group_name=GROUP,
    owners=OWNERS,
    kinds={"json", "file"},
    description="The day's dump as it landed: its files are found, verified and sealed by a"
    " digest. Nothing is copied.",
    metadata={**columns.RAW_ROLES, **_code(_STEPS, _PACKAGE / "landing/seal.py")},
)
@with_unreached(STAGED, ERRORS, MAPPING)
@of_one_day
@retried_if_lost
def raw_roles(
    context: dg.AssetExecutionContext, agent_roles: AgentRolesResource
) -> Iterator[dg.MaterializeResult[None] | Refusal]:
    """Fails with the outcome "unreadable" if the dump is damaged or incomplete."""
    yield from read_day(context, agent_roles)


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
            description="The pairs that the day assigns, and those that it removes compared with"
            " the previous day.",
            metadata={**columns.STG_AGENT_ROLES, **_code(_STEPS, _TRANSFORM)},
        ),
        dg.AssetSpec(
            "agent_role_pipeline_errors",
            deps=[raw_roles],
            code_version=CODE_VERSION,
            automation_condition=WITH_UPSTREAM,
            owners=OWNERS,
            kinds={"pyspark", "postgres"},
            description="The invalid rows, each with every rule that it breaks.",
            metadata={**columns.AGENT_ROLE_PIPELINE_ERRORS, **_code(_STEPS, _TRANSFORM)},
        ),
    ],
)
@with_unreached(STAGED, ERRORS, MAPPING)
@of_one_day
@retried_if_lost
def stage_agent_roles(
    context: dg.AssetExecutionContext,
    config: StageConfig,
    agent_roles: AgentRolesResource,
    pyspark: LazyPySparkResource,
) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult | Refusal]:
    """Fails if the day is refused. The outcome in the failure's metadata says why."""
    settings = agent_roles.settings()
    reason, approver = config.accepted(context.job_name, context.partition_key)
    yield from stage_and_report(
        context,
        agent_roles,
        lambda: started(pyspark, settings),
        sealed=_sealed_digest(context),
        reason=reason,
        approver=approver,
        is_applied_next=_is_selected(context, MAPPING),
    )


@dg.asset(
    deps=["stg_agent_roles", "agent_role_pipeline_errors"],
    code_version=CODE_VERSION,
    automation_condition=WITH_UPSTREAM,
    partitions_def=sync_day_partitions,
    group_name=GROUP,
    owners=OWNERS,
    kinds={"postgres", "sql"},
    description="Who holds which role: the latest assignment of each pair over the staged days.",
    metadata={
        **columns.AGENT_ROLE_MAPPING,
        **_code(_STEPS, sql_path("mapping/012_upsert_agent_roles")),
    },
)
@with_unreached(MAPPING)
@of_one_day
@retried_if_lost
def agent_role_mapping(
    context: dg.AssetExecutionContext, agent_roles: AgentRolesResource
) -> Iterator[dg.MaterializeResult[None] | Event]:
    """Applies the staged day in one transaction."""
    yield from apply_and_report(context, agent_roles)


def _is_selected(context: dg.AssetExecutionContext, asset: dg.AssetKey) -> bool:
    """Whether the run materialises the asset, too. A run without a selection materialises all."""
    selection = context.run.asset_selection
    return selection is None or asset in selection


def _sealed_digest(context: dg.AssetExecutionContext) -> str | None:
    """The digest with which raw_roles sealed the day; None if it never did."""
    result = context.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=raw_roles.key, asset_partitions=[context.partition_key]),
        limit=1,
    )
    if not result.records or (event := result.records[0].asset_materialization) is None:
        return None
    # Somebody may have reported the day as materialised without a digest.
    digest = event.metadata.get("digest")
    return None if digest is None else str(digest.value)
