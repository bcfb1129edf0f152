"""Notices that are about more than one run: an overdue day, and the days of a backfill."""

import re
from collections.abc import Iterable
from datetime import timedelta

from agent_roles_dagster.orchestration.notices.sentences import WARNING
from agent_roles_dagster.orchestration.notices.webhook import MOST, length
from agent_roles_dagster.sync_days import is_sync_day

# A notice names this many days that have the same trouble.
_NAMED = 40


def overdue(newest: str | None, waited: timedelta, fresh_hours: float) -> str | None:
    """The alert that no new day has landed for `waited`; None within the limit. 0 disables it."""
    if not fresh_hours or waited <= timedelta(hours=fresh_hours):
        return None
    hours = waited.total_seconds() / 3600
    than = f"; the newest is {newest}" if newest else ""
    return (
        f"{WARNING} No new day has landed for {hours:,.0f} hours{than}. The limit,"
        f" AGENT_ROLES_FRESH_HOURS, is {fresh_hours:g}. The tables are as the newest day left them."
        " See whether the source still writes its dumps, and whether the sensor landed_sync_days"
        " is on and does not fail."
    )


def gathered(lines: Iterable[str], last: str) -> str:
    """One notice from the lines of one or many runs, and the last line, which names the runs.

    Lines that differ only in the day become one. If the text is too long for one post, it says how
    many sentences are left out.
    """
    sentences = _sentences(lines)
    whole = "\n".join([*sentences, last])
    if length(whole) <= MOST:
        return whole
    room = MOST - length(f"and {len(sentences):,} sentences more.\n{last}")
    shown: list[str] = []
    for sentence in sentences:
        room -= length(f"{sentence}\n")
        if room < 0 and len(shown) > 1:
            break
        shown.append(sentence)
    left = len(sentences) - len(shown)
    return "\n".join([*shown, *[f"and {left:,} sentences more."] * (left > 0), last])


def fits_one_post(lines: Iterable[str], last: str) -> bool:
    """Whether `gathered` leaves no sentence out."""
    return length("\n".join([*_sentences(lines), last])) <= MOST


def _sentences(lines: Iterable[str]) -> list[str]:
    """The lines, the errors first. Lines that differ only in the day are one."""
    alike: dict[tuple[str, str], list[str]] = {}
    for line in lines:
        severity, _, rest = line.partition(" ")
        day, _, text = rest.partition(": ")
        days = alike.setdefault((severity, re.sub(rf"\b{re.escape(day)}\b", "<day>", text)), [])
        if day not in days:
            days.append(day)
    told = []
    for (severity, text), days in sorted(alike.items(), key=lambda each: each[0][0]):
        exact = text.replace("<day>", days[0]) if len(days) == 1 else text
        more = f" and {len(days) - _NAMED:,} more" if len(days) > _NAMED else ""
        told.append(f"{severity} {', '.join(days[:_NAMED])}{more}: {exact}")
    number = len({day for days in alike.values() for day in days if is_sync_day(day)})
    return [f"{number:,} days need a look.", *told] if number > 1 else told
