"""Names of sync days: which are valid, and their order. No file or table is read here."""

import re
from datetime import date

from agent_roles_dagster.outcomes import InvalidSyncDay

EXPECTED = (
    "a sync day is named day<N> (day1, day2, ..., no leading zero, 18 digits at most) or YYYY-MM-DD"
)
# With 18 digits at most, the number fits BIGINT.
_NUMBERED = re.compile(r"day([1-9][0-9]{0,17})")
_DATED = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def day_number(sync_day: str) -> int:
    """The number that a sync day's digits spell: day12 is 12, 2026-11-23 is 20261123.

    Days are ordered by number, never by name. The number fits BIGINT.

    Raises:
        InvalidSyncDay: the name is neither day<N> nor a calendar date.
    """
    if numbered := _NUMBERED.fullmatch(sync_day):
        return int(numbered[1])
    if _DATED.fullmatch(sync_day):
        try:
            date.fromisoformat(sync_day)
        except ValueError as error:
            raise InvalidSyncDay(f"{sync_day!r} is no calendar date: {EXPECTED}") from error
        return int(sync_day.replace("-", ""))
    raise InvalidSyncDay(f"{sync_day!r} is not a sync day's name: {EXPECTED}")


def is_sync_day(name: str) -> bool:
    """Whether the name is valid for a sync day."""
    try:
        day_number(name)
    except InvalidSyncDay:
        return False
    return True
