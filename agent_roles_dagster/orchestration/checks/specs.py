"""The asset checks by name: what each one expects, and whether it blocks the run.

https://docs.dagster.io/guides/test/asset-checks
"""

from itertools import chain

import dagster as dg

from agent_roles_dagster.orchestration.partitions import sync_day_partitions

STAGED, ERRORS, MAPPING = map(
    dg.AssetKey, ("stg_agent_roles", "agent_role_pipeline_errors", "agent_role_mapping")
)
MAX_INVALID_SHARE = 0.20
SUSPECT = "no_removals_beside_invalid_records"
USUAL = "changes_are_usual"

# Check's name, column of sql/checks/staging.sql that counts offenders, what it means.
STAGING_RULES = (
    ("agent_id_is_not_null", "null_agent_ids", "Every staged row has an agent_id."),
    ("role_id_is_not_null", "null_role_ids", "Every staged row has a role_id."),
    ("status_is_not_null", "null_statuses", "Every staged row has a status."),
    ("status_is_known", "other_statuses", "Every status is assigned or removed."),
    ("no_pair_twice", "twice", "No pair of agent and role is staged twice for the day."),
)


def _spec(asset: str, name: str, description: str, *, blocking: bool = False) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(
        name,
        asset=asset,
        description=description,
        blocking=blocking,
        partitions_def=sync_day_partitions,
    )


# Found by the steps that read and stage the day, not by one of its own.
MAY_BE_STAGED = _spec(
    "stg_agent_roles",
    "day_may_be_staged",
    "The day is a snapshot, and what it would change is plausible. Where not, it is not staged, and"
    " the result says why and what to do.",
)

ON_STAGED = (
    *(
        _spec("stg_agent_roles", name, description, blocking=True)
        for name, _, description in STAGING_RULES
    ),
    _spec(
        "stg_agent_roles",
        "conservation",
        "Raw rows = distinct valid pairs + duplicates + invalid rows, and the tables have as"
        " many rows as the day's record says.",
        blocking=True,
    ),
    _spec(
        "stg_agent_roles",
        SUSPECT,
        "No role lost agents on a day when records of that role were invalid: that may be"
        " damage in the dump, not removals.",
    ),
    _spec(
        "stg_agent_roles",
        USUAL,
        "The day does not newly assign far more pairs than the day before had, and where that"
        " had few, not more than half of them are gone. A warning; a day is held beyond other"
        " limits.",
    ),
)
# A day for which one of these fails is not applied.
BLOCKING = {spec.name for spec in ON_STAGED if spec.blocking}
ON_ERRORS = (
    _spec(
        "agent_role_pipeline_errors",
        "no_invalid_rows",
        f"No row was refused. A warning if some were, an error above {MAX_INVALID_SHARE:.0%}.",
    ),
)
# Of the whole mapping, so the same for any day.
OF_WHOLE_MAPPING = (
    _spec(
        "agent_role_mapping",
        "assigned_pairs_are_the_newest_days",
        "The pairs that the mapping says are assigned are exactly those of the newest staged"
        " day. Where they are not, somebody else changed it; the result says how to mend that.",
    ),
    _spec(
        "agent_role_mapping",
        "times_fit_status",
        "Every assignment has a beginning, and an end exactly if it is removed. Where not,"
        " somebody else changed the mapping; the result says how to mend that.",
    ),
)
ON_MAPPING = (
    *OF_WHOLE_MAPPING,
    _spec(
        "agent_role_mapping",
        "observed_at_rises",
        "The day's source was read later than that of the staged day before, and earlier than"
        " that of the staged day after.",
    ),
)
BY_STEP = ((MAY_BE_STAGED,), ON_STAGED, ON_ERRORS, ON_MAPPING)


def finding(result: dg.AssetCheckResult | dg.AssetCheckEvaluation) -> str:
    """A sentence about a check that failed: what it expects, and what it found."""
    assert result.asset_key
    assert result.check_name
    kind = "warning" if result.severity == dg.AssetCheckSeverity.WARN else "error"
    numbers = ", ".join(
        f"{name}: {value.value}"
        for name, value in result.metadata.items()
        if isinstance(value, dg.IntMetadataValue)
    )
    found = (result.description or numbers or "see the check").removesuffix(".")
    key = dg.AssetCheckKey(result.asset_key, result.check_name)
    expected = next((spec.description for spec in chain(*BY_STEP) if spec.key == key), "")
    return (
        f"the check {result.check_name} of {result.asset_key.to_user_string()} failed ({kind})."
        f" What it expects: {expected} Found: {found}."
    )
