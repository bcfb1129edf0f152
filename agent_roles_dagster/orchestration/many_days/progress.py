"""How far a run of many days is, what it loaded, and what it did not."""

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from agent_roles_dagster.orchestration import terminal

# Seconds between two lines of the run's log.
EVERY = 10.0
_NAMED = 5


class Progress:
    """What was loaded and what was not, and how far the run is."""

    def __init__(self, log: Any, days: Sequence[str], unchanged: int) -> None:
        self.loaded: list[str] = []
        self.refused: dict[str, tuple[str, str]] = {}
        self.warned: Counter[str] = Counter()
        self._log = log
        self._days = days
        self._unchanged = unchanged
        self._began = time.monotonic()
        self._logged = self._began - EVERY
        self._bar = terminal.bar(len(days))

    def day_done(self, day: str, said: str) -> None:
        """Show the day that was just done: in a terminal's bar, and now and then in the log."""
        now = time.monotonic()
        done = len(self.loaded) + len(self.refused)
        left = len(self._days) - done
        each = (now - self._began) / done
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
        kept = f" {self._unchanged:,} more were staged as they landed." if self._unchanged else ""
        said = [
            f"Loaded {len(self.loaded):,} of {len(self._days):,} days{_span(self.loaded)}.{kept}"
        ]
        said += [f"{day} ({outcome}): {text}" for day, (outcome, text) in self.refused.items()]
        if left := self._not_reached():
            said.append(f"Not reached: {len(left):,} days{_span(left)}.")
        said += [f"{check} warns on {days:,} of them." for check, days in self.warned.items()]
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
        done = {*self.loaded, *self.refused}
        return [day for day in self._days if day not in done]


def _about(seconds: float) -> str:
    """A duration as a person says it."""
    for size, unit in ((3600, "hours"), (60, "minutes")):
        if seconds >= 1.5 * size:
            return f"about {seconds / size:.0f} {unit}"
    return f"about {seconds:.0f} seconds"


def _span(days: Sequence[str]) -> str:
    """Some days by name, many by the first and the last."""
    if not days:
        return ""
    return f": {', '.join(days)}" if len(days) <= _NAMED else f": {days[0]} to {days[-1]}"
