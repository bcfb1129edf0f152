"""The staged days around a day, with which it is compared."""

from dataclasses import dataclass
from typing import Any

from agent_roles_dagster.outcomes import Pruned
from agent_roles_dagster.postgres.sql_files import Connection, rows_of_file
from agent_roles_dagster.staging.snapshots import SeenAs
from agent_roles_dagster.staging.transform import Seen
from agent_roles_dagster.sync_days import InvalidSyncDay, day_number


@dataclass(frozen=True)
class Neighbours:
    previous: dict[str, Any] | None
    old: dict[str, Any] | None
    next: dict[str, Any] | None

    def require_kept(self, sync_day: str) -> None:
        """Refuse to compare with a snapshot that was pruned, or whose table somebody dropped.

        The day's own earlier version may be gone: the day is staged anew then.
        """
        for day in (self.previous, self.old, self.next):
            if day is not None and day["pruned_at"] is not None:
                raise Pruned(
                    f"{sync_day} can't be staged: the snapshot of {day['sync_day']}, which it is"
                    f" compared with, was pruned on {day['pruned_at']:%Y-%m-%d} (setting"
                    " AGENT_ROLES_KEEP_DAYS). Nothing was changed in any table. To load old days"
                    " again, load all days into an empty database"
                )
        for day in (self.previous, self.next):
            # No row of it would be seen, so none of its pairs would be seen as removed.
            if day is not None and not day["is_there"]:
                raise Pruned(
                    f"{sync_day} can't be staged: the snapshot of {day['sync_day']}, which it is"
                    " compared with, is gone, though no run dropped it. Nothing was changed in any"
                    f" table. Materialise {day['sync_day']} again, then {sync_day}"
                )

    def snapshots(self) -> dict[str, SeenAs]:
        """The days to compare with, and what their rows mean: assigned, removed, neither."""
        days = (
            (self.previous, (Seen.IN_PREVIOUS, Seen.NOWHERE, Seen.NOWHERE)),
            (self.old, (Seen.OLD_ASSIGNED, Seen.OLD_REMOVED, Seen.OLD_OTHER)),
            (self.next, (Seen.NEXT_ASSIGNED, Seen.NEXT_REMOVED, Seen.NOWHERE)),
        )
        return {day["sync_day"]: seen_as for day, seen_as in days if day is not None}

    def changes(self) -> dict[int, tuple[Seen, Seen]]:
        """The days, by number, whose changes may be others now, and what these are called."""
        days = (
            (self.old, (Seen.KNOWN_ASSIGNED, Seen.KNOWN_REMOVED)),
            (self.next, (Seen.NEXT_KNOWN_ASSIGNED, Seen.NEXT_KNOWN_REMOVED)),
        )
        return {day["day_no"]: seen_as for day, seen_as in days if day is not None}

    def is_first(self) -> bool:
        """Whether the day has neither an earlier version nor a pair of a day before it."""
        return self.old is None and (self.previous is None or not self.previous["assigned"])

    def expected(self) -> int | None:
        """About how many pairs are going to be loaded; None if nobody knows."""
        is_new = self.old is None and self.previous is not None
        return self.previous["assigned"] if is_new and self.previous else None

    def rows(self) -> int:
        """How many rows these days have staged."""
        days = (self.previous, self.old, self.next)
        return sum(day["assigned"] + day["removed"] for day in days if day is not None)


def find_neighbours(connection: Connection, sync_day: str) -> Neighbours:
    """The staged days that the day is compared with.

    Raises:
        InvalidSyncDay: a staged day has the same number under another name.
    """
    number = day_number(sync_day)
    found = rows_of_file(connection, "load/neighbours", sync_day=sync_day, day_no=str(number))
    days = {day.pop("role"): day for day in found}
    if same := days.get("same number"):
        raise InvalidSyncDay(
            f"{sync_day!r} and {same['sync_day']!r} have the same number, so neither comes first,"
            f" and {same['sync_day']!r} is staged. Nothing was changed in any table. If both are"
            f" one day, land its dump as {same['sync_day']!r}; if not, under a number of its own"
        )
    return Neighbours(days.get("previous"), days.get("old"), days.get("next"))
