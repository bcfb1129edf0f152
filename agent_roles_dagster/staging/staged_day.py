"""What staging a day came to."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class StagedDay:
    """What staging a day came to.

    The counts are of rows or of distinct pairs. `content` has the files with their counts, and
    `seconds` has the time by phase. Most are columns of agent_role_sync_days, with these names.
    """

    sync_day: str
    previous_day: str | None
    previous_assigned: int
    next_assigned: int
    digest: str
    files: int
    content: list[dict[str, Any]]
    observed_at: datetime
    records: int
    raw_rows: int
    valid_pairs: int
    duplicates: int
    invalid_rows: int
    assigned: int
    removed: int
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def newly_assigned(self) -> int:
        """Pairs that the previous staged day did not assign."""
        return self.assigned - (self.previous_assigned - self.removed)
