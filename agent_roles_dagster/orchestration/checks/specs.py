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


# The steps that read and stage the day give its result. It has no step of its own.
MAY_BE_STAGED = _spec(
    "stg_agent_roles",
    "day_may_be_staged",
    "The dump is readable, and its changes are plausible. If not, the day is not staged, and the"
    " result says why and what to do.",
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
        " many rows as the day's record says, of the same pairs with the same statuses.",
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
        "The day does not newly assign far more pairs than the previous day had. If that had few,"
        " the day does not remove more than half of them. This only warns; the guard, which holds"
        " days, has limits of its own.",
    ),
)
# If one of these fails, the day is not applied.
BLOCKING = {spec.name for spec in ON_STAGED if spec.blocking}
ON_ERRORS = (
    _spec(
        "agent_role_pipeline_errors",
        "no_invalid_rows",
        f"No raw row is invalid. A warning if some are, an error above {MAX_INVALID_SHARE:.0%}.",
    ),
)
# These are about the whole mapping, so their results are the same for each day.
OF_WHOLE_MAPPING = (
    _spec(
        "agent_role_mapping",
        "assigned_pairs_are_the_newest_days",
        "The pairs that the mapping says are assigned are exactly those of the newest staged"
        " day. If not, somebody else changed the mapping; the result says how to mend it.",
    ),
    _spec(
        "agent_role_mapping",
        "times_fit_status",
        "Every assignment has a beginning. It has an end exactly if it is removed. If not, somebody"
        " else changed the mapping; the result says how to mend it.",
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
    """A sentence about a failed check: what it expects, and what it found."""
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
