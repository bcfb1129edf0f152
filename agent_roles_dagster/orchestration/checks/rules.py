"""What the asset checks find in the tables, no matter who wrote to them.

The queries are in `sql/checks/`. `specs` says what each check expects.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from agent_roles_dagster.orchestration.checks.specs import (
    MAX_INVALID_SHARE,
    STAGING_RULES,
    SUSPECT,
    USUAL,
)
from agent_roles_dagster.postgres.sql_files import Connection, one, rows_of_file
from agent_roles_dagster.settings import Settings
from agent_roles_dagster.staging.guard import unusual

_SHOWN = 20
_REMOVALS = "other_removals"

# This mends a mapping that somebody else changed, once any staged day is applied again.
_FOLLOW_ALL = (
    "INSERT INTO agent_role_pending SELECT agent_id, role_id FROM agent_role_changes"
    " UNION SELECT agent_id, role_id FROM agent_role_mapping"
)


def of_staging(connection: Connection, day: str) -> list[dg.AssetCheckResult]:
    """What the checks on stg_agent_roles find for the day."""
    names = [*(name for name, _, _ in STAGING_RULES), "conservation", SUSPECT, USUAL]
    known = rows_of_file(connection, "reports/shown_day", sync_day=day)
    if not known or not known[0]["is_staged"]:
        return [_nothing(name, f"{day} is not staged") for name in names]
    if known[0]["pruned_at"]:
        return [_nothing(name, f"the snapshot of {day} was pruned") for name in names]
    facts = rows_of_file(connection, "checks/staging", sync_day=day)[0]
    offenders: Sequence[Mapping[str, Any]] = []
    if facts[_REMOVALS] or any(facts[column] for _, column, _ in STAGING_RULES):
        offenders = rows_of_file(connection, "checks/staging_offenders", sync_day=day)
    suspects = rows_of_file(connection, "checks/suspect_removals", sync_day=day)
    return [
        *(
            _rule(name, facts[column], facts["all_rows"], _broken(offenders, column))
            for name, column, _ in STAGING_RULES
        ),
        _conservation(facts, _broken(offenders, _REMOVALS)),
        dg.AssetCheckResult(
            check_name=SUSPECT,
            asset_key="stg_agent_roles",
            passed=not suspects,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={
                "roles": len(suspects),
                "removals": sum(row["removals"] for row in suspects),
                **({"sample": _table(suspects)} if suspects else {}),
            },
        ),
        _usual(known[0]),
    ]


def _usual(known: Mapping[str, Any]) -> dg.AssetCheckResult:
    previous = known["previous_assigned"]
    newly = known["assigned"] - previous + known["removed"]
    found: list[str] = []
    if known["previous_day"]:
        found = unusual(
            Settings.from_env().guard, newly=newly, previous=previous, removals=known["removed"]
        )
    return dg.AssetCheckResult(
        check_name=USUAL,
        asset_key="stg_agent_roles",
        passed=not found,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{known['sync_day']}: {'; '.join(found)}." if found else None,
        metadata={
            "previous day": known["previous_day"] or "none",
            "assigned on the previous day": previous,
            "newly assigned": newly,
            "removed": known["removed"],
        },
    )


def _nothing(name: str, why: str) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=name,
        asset_key="stg_agent_roles",
        passed=True,
        description=f"There is nothing to check: {why}.",
    )


def _broken(offenders: Sequence[Mapping[str, Any]], column: str) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in row.items() if key != "broken"}
        for row in offenders
        if row["broken"] == column
    ]


def _rule(
    name: str, number: int, rows: int, sample: Sequence[Mapping[str, Any]]
) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=name,
        asset_key="stg_agent_roles",
        passed=number == 0,
        metadata={
            "rows": rows,
            "offenders": number,
            **({"sample": _table(sample)} if sample else {}),
        },
    )


def _conservation(
    facts: Mapping[str, Any], sample: Sequence[Mapping[str, Any]]
) -> dg.AssetCheckResult:
    sides = {
        "raw rows = valid pairs + duplicates + invalid rows": (
            facts["raw_rows"],
            facts["valid_pairs"] + facts["duplicates"] + facts["invalid_rows"],
        ),
        "assigned pairs recorded = staged": (facts["assigned_recorded"], facts["assigned_stored"]),
        "removed pairs recorded = staged": (facts["removed_recorded"], facts["removed_stored"]),
        "sum of the pairs' hashes recorded = staged": (
            facts["fingerprint_recorded"],
            facts["fingerprint_stored"],
        ),
        "removed pairs that are only recorded or only staged": (facts[_REMOVALS], 0),
        "invalid rows recorded = in the errors table": (
            facts["error_rows"],
            facts["errors_stored"],
        ),
    }
    shown = {
        name: f"{left:,} = {right:,}" if left == right else f"{left:,} is not {right:,}"
        for name, (left, right) in sides.items()
    }
    failed = [f"{name}: {shown[name]}" for name, (left, right) in sides.items() if left != right]
    return dg.AssetCheckResult(
        check_name="conservation",
        asset_key="stg_agent_roles",
        passed=not failed,
        description=f"{'; '.join(failed)}." if failed else None,
        metadata={**shown, **({"sample": _table(sample)} if sample else {})},
    )


def of_errors(connection: Connection, day: str) -> list[dg.AssetCheckResult]:
    """What the check on agent_role_pipeline_errors finds for the day."""
    rules = rows_of_file(connection, "checks/errors", sync_day=day)
    errors = one(
        connection,
        "SELECT count(*) AS n FROM agent_role_pipeline_errors WHERE sync_day = %s",
        (day,),
    )
    raw_rows = one(
        connection,
        "SELECT error_raw_rows FROM agent_role_sync_days WHERE sync_day = %s",
        (day,),
    )
    # If no raw rows are on record, somebody else wrote the invalid rows: a share of 100 %.
    share = errors / raw_rows if raw_rows else float(errors > 0)
    too_many = share > MAX_INVALID_SHARE
    return [
        dg.AssetCheckResult(
            check_name="no_invalid_rows",
            asset_key="agent_role_pipeline_errors",
            passed=errors == 0,
            severity=dg.AssetCheckSeverity.ERROR if too_many else dg.AssetCheckSeverity.WARN,
            metadata={
                "invalid rows": errors,
                "share of raw rows": share,
                **({"by rule": _table(rules)} if rules else {}),
            },
        )
    ]


def of_mapping(connection: Connection) -> list[dg.AssetCheckResult]:
    """What the checks on the whole of agent_role_mapping find. It is the same for each day."""
    facts = rows_of_file(connection, "checks/mapping")[0]
    found = {}
    if not facts["is_same"] or facts["inconsistent"]:
        found = {row["kind"]: row for row in rows_of_file(connection, "checks/mapping_offenders")}
    results = []
    for name, kinds in (
        ("assigned_pairs_are_the_newest_days", ("not staged", "not mapped")),
        ("times_fit_status", ("times",)),
    ):
        here = [found[kind] for kind in kinds if kind in found]
        results.append(
            dg.AssetCheckResult(
                check_name=name,
                asset_key="agent_role_mapping",
                passed=not here,
                metadata={
                    "offenders": sum(row["pairs"] for row in here),
                    **{f"{row['kind']}: sample": "; ".join(row["sample"]) for row in here},
                    **({"to mend it, run this and materialise again": _FOLLOW_ALL} if here else {}),
                },
            )
        )
    return results


def of_times(connection: Connection, day: str) -> list[dg.AssetCheckResult]:
    """Whether the day's source was read between those of the days beside it."""
    not_rising = rows_of_file(connection, "checks/observed_at", sync_day=day)
    return [
        dg.AssetCheckResult(
            check_name="observed_at_rises",
            asset_key="agent_role_mapping",
            passed=not not_rising,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={
                "days": len(not_rising),
                **({"sample": _table(not_rising)} if not_rising else {}),
            },
        )
    ]


def _table(rows: Sequence[Mapping[str, Any]]) -> dg.TableMetadataValue:
    """The first rows, as a table that the UI draws."""
    return dg.MetadataValue.table(
        [
            dg.TableRecord({key: "" if value is None else str(value) for key, value in row.items()})
            for row in rows[:_SHOWN]
        ],
        schema=dg.TableSchema([dg.TableColumn(key) for key in rows[0]]),
    )
