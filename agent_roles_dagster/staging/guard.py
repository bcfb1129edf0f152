"""When a day is held: a missing page of a dump must never look like removals."""

from decimal import Decimal

from agent_roles_dagster.settings import Guard


def why_held(
    limits: Guard, *, records: int, assigned: int, previous: int, removals: int
) -> str | None:
    """The reason to hold the day, or None.

    Args:
        records: records in the dump, valid or not.
        assigned: distinct pairs that the day assigns.
        previous: pairs that the previous staged day assigned.
        removals: how many of these the day does not assign.
    """
    if records == 0 and previous > 0:
        return f"it has no records at all, and the previous day had {previous:,} assignments"
    if assigned == 0 and previous >= limits.min_previous:
        return f"it has no assignment left, and the previous day had {previous:,}"
    # A decimal is exact: 29 is not more than 29 % of 100.
    most = Decimal(str(limits.max_removed_share)) * previous
    if removals >= limits.min_removals and removals > most:
        return (
            f"it would remove {removals:,} of the previous day's {previous:,} assignments"
            f" ({removals / previous:.1%}; held from {limits.min_removals:,} and more than"
            f" {limits.max_removed_share:.0%} on)"
        )
    return None


def unusual(limits: Guard, *, newly: int, previous: int, removals: int) -> list[str]:
    """What a person should look at, though the day may be staged. Empty on a usual day.

    Args:
        newly: pairs that the day assigns and the previous staged day did not.
        previous: pairs that the previous staged day assigned.
        removals: how many of these the day does not assign.
    """
    found = []
    if newly >= limits.min_grants and newly > Decimal(str(limits.max_granted_share)) * previous:
        found.append(
            f"it newly assigns {newly:,} pairs, where the previous day had {previous:,} assignments"
            f" (warned from {limits.min_grants:,} and more than {limits.max_granted_share:.0%} on)"
        )
    # The guard holds no day for so few removals, so only this warns of them.
    if previous < limits.min_removals and removals * 2 > previous:
        found.append(
            f"{removals:,} of the previous day's {previous:,} assignments, more than half, are gone"
        )
    return found
