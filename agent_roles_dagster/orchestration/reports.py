"""What Dagster shows of a day. It follows from the tables alone, so it can be reported anew.

Each report has a data version, which follows from the tables, too. `stale_reports` compares it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import dagster as dg

from agent_roles_dagster.orchestration import checks
from agent_roles_dagster.orchestration.checks import ERRORS, MAPPING, MAY_BE_STAGED, STAGED
from agent_roles_dagster.orchestration.summary import (
    acceptance,
    changed_pairs,
    day_summary,
    errors_summary,
    mapping_preview,
    what_was_read,
)
from agent_roles_dagster.postgres.sql_files import Connection, rows_of_file

Event = dg.AssetMaterialization | dg.AssetCheckEvaluation


class Context(Protocol):
    """What a step needs to know about its run. The context of a Dagster asset has it."""

    @property
    def partition_key(self) -> str: ...
    @property
    def run_id(self) -> str: ...
    @property
    def instance(self) -> Any: ...
    @property
    def log(self) -> Any: ...


# These say something about the run, not the day. A new report of the day keeps them.
TIME_SPENT, CHANGED, DELETED = "time spent", "rows changed", "rows deleted"
OF_THE_RUN = {TIME_SPENT, CHANGED, DELETED}
# The version of the report of a day that is not staged, such as a day that was taken back.
NOT_STAGED = "not staged"


def of_staged(connection: Connection, day: str, *, is_applied_next: bool = False) -> dict[str, Any]:
    """Metadata of a staged day's stg_agent_roles.

    Args:
        is_applied_next: whether the same run applies the day, so that no preview is needed.
    """
    known = rows_of_file(connection, "reports/shown_day", sync_day=day)[0]
    # The interface keeps this order: the facts, their numbers, and how to look closer.
    shown: dict[str, Any] = {"summary": dg.MetadataValue.md(day_summary(connection, known))}
    if known["previous_day"] and (newly_assigned(known) or known["removed"]):
        shown["changed pairs"] = dg.MetadataValue.md(changed_pairs(connection, known))
    if known["accepted_reason"]:
        shown["accepted"] = dg.MetadataValue.md(acceptance(known))
    if not (known["is_applied"] or is_applied_next):
        shown["preview"] = dg.MetadataValue.md(mapping_preview(connection))
    shown |= {
        "assigned": known["assigned"],
        "newly assigned": newly_assigned(known),
        "removed": known["removed"],
        "removals held": 0,
        "invalid rows": known["invalid_rows"],
        "what was read": dg.MetadataValue.md(what_was_read(known)),
        "previous day": known["previous_day"] or "none",
        "observed at": f"{known['observed_at']:{TIME}} UTC",
    }
    if known["pruned_at"]:
        shown["snapshot pruned at"] = f"{known['pruned_at']:{TIME}} UTC"
    if known["previous_day"]:
        shown["changes in SQL"] = in_psql(
            "SELECT * FROM agent_role_changes_between('{before}', '{day}')",
            before=known["previous_day"],
            day=day,
        )
    return {
        **shown,
        "rows in SQL": in_psql("SELECT * FROM stg_agent_roles WHERE sync_day = '{day}'", day=day),
        "dagster/partition_row_count": (
            0 if known["pruned_at"] else known["assigned"] + known["removed"]
        ),
        **_lineage(STAGED),
    }


TIME = "%Y-%m-%d %H:%M:%S"


def newly_assigned(known: Mapping[str, Any]) -> int:
    """How many pairs the previous day did not assign."""
    return int(known["assigned"] - (known["previous_assigned"] - known["removed"]))


def of_errors(connection: Connection, day: str) -> dict[str, Any]:
    """Metadata of the day's agent_role_pipeline_errors."""
    known = rows_of_file(connection, "reports/shown_day", sync_day=day)[0]
    return {
        "summary": dg.MetadataValue.md(errors_summary(connection, known)),
        "invalid rows": known["error_rows"],
        "share of raw rows": f"{known['error_rows'] / max(known['error_raw_rows'], 1):.1%}",
        "rows in SQL": in_psql(
            # Not raw_record: it may have names and addresses, and few accounts may read it.
            "SELECT id, agent_id, role_id, error_message FROM agent_role_pipeline_errors"
            "\nWHERE sync_day = '{day}'",
            day=day,
        ),
        "dagster/partition_row_count": known["error_rows"],
        **_lineage(ERRORS),
    }


def of_mapping(connection: Connection, day: str) -> dict[str, Any]:
    """Metadata of the mapping after the day was applied."""
    known = rows_of_file(connection, "reports/shown_day", sync_day=day)[0]
    return {
        "summary": dg.MetadataValue.md(
            f"**{day}** is applied: the mapping follows its {known['assigned']:,} assigned and"
            f" {known['removed']:,} removed pairs, as far as no later day says otherwise."
        ),
        "changed rows in SQL": in_psql(
            "SELECT mapping.* FROM agent_role_mapping AS mapping"
            "\nJOIN agent_role_changes USING (agent_id, role_id)"
            "\nJOIN agent_role_sync_days USING (day_no)"
            "\nWHERE sync_day = '{day}'",
            day=day,
        ),
        "dagster/partition_row_count": known["assigned"] + known["removed"],
        **_lineage(MAPPING),
    }


# The columns from which each column is made. Times, serial numbers and the day's name have none.
_MADE_OF = {
    STAGED: {name: ("raw_roles", name) for name in ("agent_id", "role_id", "status")},
    ERRORS: {name: ("raw_roles", name) for name in ("agent_id", "role_id")},
    MAPPING: {name: ("stg_agent_roles", name) for name in ("agent_id", "role_id", "status")},
}


def _lineage(asset: dg.AssetKey) -> dict[str, Any]:
    made_of = {
        column: [dg.TableColumnDep(dg.AssetKey(upstream), name)]
        for column, (upstream, name) in _MADE_OF[asset].items()
    }
    return {"dagster/column_lineage": dg.TableColumnLineage(made_of)}


def of_not_staged(day: str) -> dict[str, Any]:
    return {
        "summary": dg.MetadataValue.md(
            f"**{day}** is not staged any more: it was taken back, or this is another database."
        ),
        "dagster/partition_row_count": 0,
    }


METADATA = {STAGED: of_staged, ERRORS: of_errors, MAPPING: of_mapping}


def may_be_staged(connection: Connection, day: str) -> dg.AssetCheckResult:
    """The result of the check day_may_be_staged for a staged day."""
    known = rows_of_file(connection, "reports/shown_day", sync_day=day)[0]
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


def found(
    connection: Connection,
    day: str,
    asset: dg.AssetKey,
    whole: Sequence[dg.AssetCheckResult] | None = None,
) -> list[dg.AssetCheckEvaluation]:
    """What the asset's checks find for the day, except for whether it may be staged.

    Args:
        whole: the results for the whole mapping, if they are known. They take a pass over it.
    """
    if asset == STAGED:
        results = checks.of_staging(connection, day)
    elif asset == ERRORS:
        results = checks.of_errors(connection, day)
    else:
        whole = checks.of_mapping(connection) if whole is None else whole
        results = [*whole, *checks.of_times(connection, day)]
    return [evaluation(day, result) for result in results]


def evaluation(day: str, result: dg.AssetCheckResult) -> dg.AssetCheckEvaluation:
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
    """The version of the day's report, as the tables are now."""
    for known in rows_of_file(connection, "reports/versions"):
        if known["sync_day"] == day:
            name = asset.to_user_string()
            return dg.DataVersion(known[f"{name}_if_applied" if is_applied_next else name])
    return dg.DataVersion(NOT_STAGED)


def in_psql(query: str, **days: str) -> dg.MarkdownMetadataValue:
    """A query for psql that shows the rows behind a result. A day's name needs no escapes."""
    return dg.MetadataValue.md(f"```sql\n{query.format(**days)};\n```")
