"""How far a run of many days is, what it loaded, and what it did not."""

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from agent_roles_dagster.orchestration import terminal

# Seconds between two lines of the run's log.
EVERY = 10.0
_NAMED = 5
# A run that leaves out refused days says of this many why.
_REFUSED = 20


class Progress:
    """What was loaded and what was not, and how far the run is.

    Args:
        days: the days to load, in their order.
        loaded: those of them that an earlier try of the run loaded.
        unchanged: how many more days were staged as they landed.
    """

    def __init__(
        self, log: Any, days: Sequence[str], loaded: Sequence[str], unchanged: int
    ) -> None:
        self.loaded = [*loaded]
        self.refused: dict[str, tuple[str, str]] = {}
        self.warned: Counter[str] = Counter()
        self.current: str | None = None
        self._log = log
        self._days = days
        self._loaded_before = len(loaded)
        self._unchanged = unchanged
        self._began = time.monotonic()
        self._logged = self._began - EVERY
        self._bar = terminal.bar(len(days))

    def day_done(self, day: str, said: str) -> None:
        """Show the day that was just done: in a terminal's bar, and now and then in the log."""
        now = time.monotonic()
        done = len(self.loaded) + len(self.refused)
        left = len(self._days) - done
        each = (now - self._began) / (done - self._loaded_before)
        until = f", {_about(each * left)} left" if left else ""
        line = f"day {done:,} of {len(self._days):,} ({day}): {said}; {each:.1f} s a day{until}"
        if self._bar:
            self._bar.set_description_str(line, refresh=False)
            self._bar.update(1)
        if not left or now - self._logged >= EVERY:
            self._logged = now
            self._log.info(line)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar:
            self._bar.close()

    def summary(self) -> str:
        """What was loaded, what was not, and why."""
        first = f"Loaded {len(self.loaded):,} of {_days(len(self._days))}"
        first += f"{self._named(self.loaded)}."
        if self._unchanged:
            was = "was" if self._unchanged == 1 else "were"
            first += f" {self._unchanged:,} more {was} staged as landed."
        said = [first]
        for check, number in self.warned.items():
            has = "has" if number == 1 else "have"
            said.append(f"Of the loaded days, {number:,} {has} the warning {check}.")
        refused = [f"{day} ({why}): {text}" for day, (why, text) in self.refused.items()]
        said += refused[:_REFUSED]
        if len(refused) > _REFUSED:
            more = _days(len(refused) - _REFUSED)
            said.append(f"And {more} more, whose check day_may_be_staged says why.")
        if self.current:
            said.append(f"Not finished: {self.current}.")
        if left := self._not_reached():
            said.append(f"Not reached: {_days(len(left))}{self._named(left)}.")
        return "\n".join(said)

    def metadata(self) -> dict[str, Any]:
        """The same for the run's page, every day by its name."""
        return {
            "loaded": len(self.loaded),
            "staged as they landed": self._unchanged,
            "refused": "\n".join(f"{day}: {why}" for day, (why, _) in self.refused.items()),
            "days loaded": ", ".join(self.loaded),
            "days not reached": ", ".join(self._not_reached()),
        }

    def _not_reached(self) -> list[str]:
        done = {*self.loaded, *self.refused, self.current}
        return [day for day in self._days if day not in done]

    def _named(self, days: Sequence[str]) -> str:
        """A few days by name, many by the first and the last if none is missing between them."""
        if not days:
            return ""
        if len(days) <= _NAMED:
            return f": {', '.join(days)}"
        first, last = self._days.index(days[0]), self._days.index(days[-1])
        if last - first + 1 == len(days):
            return f": {days[0]} to {days[-1]}"
        return f": {', '.join(days[:_NAMED])} and {len(days) - _NAMED:,} more"


def _about(seconds: float) -> str:
    """A duration as a person says it."""
    for size, unit in ((3600, "hours"), (60, "minutes")):
        if seconds >= 1.5 * size:
            return f"about {seconds / size:.0f} {unit}"
    number = max(1, round(seconds))
    return f"about {number} second{'s' * (number > 1)}"


def _days(number: int) -> str:
    return f"{number:,} day{'s' * (number != 1)}"
