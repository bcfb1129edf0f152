"""The staged days that a day is compared with."""

from dataclasses import dataclass
from typing import Any

from agent_roles_dagster.outcomes import Pruned, SameNumber
from agent_roles_dagster.postgres.sql_files import Connection, rows_of_file
from agent_roles_dagster.staging.snapshots import SeenAs
from agent_roles_dagster.staging.transform import Seen
from agent_roles_dagster.sync_days import day_number


@dataclass(frozen=True)
class Neighbours:
    """Rows of sql/load/neighbours.sql: previous day, the day's own earlier version, next day."""

    previous: dict[str, Any] | None
    old: dict[str, Any] | None
    next: dict[str, Any] | None

    def require_kept(self, sync_day: str) -> None:
        """Refuse to compare with a snapshot that was pruned, or whose table somebody dropped.

        If the table of the day's own earlier version is gone, the day is staged anew, even if the
        next day's is gone, too: otherwise each would wait for the other.
        """
        for day in (self.previous, self.old, self.next):
            if day is not None and day["pruned_at"] is not None:
                raise Pruned(
                    f"{sync_day} can't be staged: the snapshot of {day['sync_day']}, which it is"
                    f" compared with, was pruned on {day['pruned_at']:%Y-%m-%d} (setting"
                    " AGENT_ROLES_KEEP_DAYS). Nothing was changed in any table. To load old days"
                    " again, load all days into an empty database"
                )
        is_gone = self.old is not None and not self.old["is_there"]
        for day in (self.previous, None if is_gone else self.next):
            # Without its rows, none of its pairs would be found to be removed.
            if day is not None and not day["is_there"]:
                raise Pruned(
                    f"{sync_day} can't be staged: the snapshot of {day['sync_day']}, which it is"
                    " compared with, is gone, though no run dropped it. Nothing was changed in any"
                    f" table. Materialise {day['sync_day']} again, then {sync_day}"
                )

    def require_whole(self, sync_day: str, *, in_previous: int, in_next: int) -> None:
        """Refuse a comparison with a snapshot that has more or fewer pairs than when it was staged.

        A day that was staged before is run whatever the next day has. Otherwise no run could mend
        two days in a row, as each would wait for the other.

        Args:
            in_previous, in_next: how many assigned pairs these days' snapshots had.
        """
        following = self.next if self.old is None else None
        for day, found in ((self.previous, in_previous), (following, in_next)):
            if day is not None and found != day["assigned"]:
                raise Pruned(
                    f"{sync_day} can't be staged: the snapshot of {day['sync_day']}, which it is"
                    f" compared with, has {found:,} assigned pairs, and had {day['assigned']:,}"
                    " when it was staged: somebody changed it. Nothing was changed in any table."
                    f" Materialise {day['sync_day']} again, then {sync_day}"
                )

    def snapshots(self) -> dict[str, SeenAs]:
        """By sync day, what its staged rows mean: an assigned one, a removed one, any other."""
        days = (
            (self.previous, (Seen.IN_PREVIOUS, Seen.NOWHERE, Seen.NOWHERE)),
            (self.old, (Seen.OLD_ASSIGNED, Seen.OLD_REMOVED, Seen.OLD_OTHER)),
            (self.next, (Seen.NEXT_ASSIGNED, Seen.NEXT_REMOVED, Seen.NOWHERE)),
        )
        return {day["sync_day"]: seen_as for day, seen_as in days if day is not None}

    def changes(self) -> dict[int, tuple[Seen, Seen]]:
        """By day number, what its recorded changes mean: an assigned one, a removed one."""
        days = (
            (self.old, (Seen.KNOWN_ASSIGNED, Seen.KNOWN_REMOVED)),
            (self.next, (Seen.NEXT_KNOWN_ASSIGNED, Seen.NEXT_KNOWN_REMOVED)),
        )
        return {day["day_no"]: seen_as for day, seen_as in days if day is not None}

    def is_first(self) -> bool:
        """Whether there is no earlier version, and no pair on the previous day."""
        return self.old is None and (self.previous is None or not self.previous["assigned"])

    def expected(self) -> int | None:
        """About how many pairs will be loaded. None if that is not known."""
        is_new = self.old is None and self.previous is not None
        return self.previous["assigned"] if is_new and self.previous else None

    def rows(self) -> int:
        """How many staged rows these days have."""
        days = (self.previous, self.old, self.next)
        return sum(day["assigned"] + day["removed"] for day in days if day is not None)


def find_neighbours(connection: Connection, sync_day: str) -> Neighbours:
    """The staged days that the day is compared with.

    Raises:
        SameNumber: a staged day has the same number under another name.
    """
    number = day_number(sync_day)
    found = rows_of_file(connection, "load/neighbours", sync_day=sync_day, day_no=str(number))
    days = {day.pop("role"): day for day in found}
    if same := days.get("same number"):
        raise SameNumber(
            f"{sync_day!r} and {same['sync_day']!r} have the same number, so neither comes first,"
            f" and {same['sync_day']!r} is staged. Nothing was changed in any table. If both are"
            f" one day, land its dump as {same['sync_day']!r}; if not, under a number of its own"
        )
    return Neighbours(days.get("previous"), days.get("old"), days.get("next"))
