"""Worlds of any size: the dumps of two days, with a known churn and share of invalid entries."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class World:
    """What the dumps hold.

    Attributes:
        pairs: assignments on each of the two days.
        group: pairs of a record: agents of a role, or roles of an agent.
        side: "role" or "agent": whose records the dump has.
        churn: share of the pairs that change on day 2, half of them removed, half new.
        invalid: share of entries added that are no id.
        files: pages of each day.
    """

    pairs: int = 10_000_000
    group: int = 10_000
    side: str = "role"
    churn: float = 0.01
    invalid: float = 0.001
    files: int = 16

    def write(self, landing: Path) -> None:
        """Land day1 and day2 in the folder."""
        records = -(-self.pairs // self.group)
        for number in (1, 2):
            folder = landing / f"day{number}"
            folder.mkdir(parents=True)
            for page in range(self.files):
                with (folder / f"page-{page:05d}.json").open("w") as file:
                    file.write(f'{{"{self.side}s": [')
                    for place, record in enumerate(range(page, records, self.files)):
                        file.write(", " if place else "")
                        file.write(self._record(number, record))
                    file.write("]}")
            moment = f"2026-03-{number:02d}T06:00:00Z"
            (folder / "_manifest.json").write_text(f'{{"observed_at": "{moment}"}}')

    def _record(self, day: int, record: int) -> str:
        members = range(min(self.group, self.pairs - record * self.group))
        entries = self._entries(day, record, members)
        if self.side == "role":
            held = ", ".join(f'{{"id": {entry}}}' for entry in entries)
            return f'{{"id": {record + 1}, "name": "Role {record + 1}", "agents": [{held}]}}'
        return f'{{"id": {record + 1}, "role_ids": [{", ".join(entries)}]}}'

    def _entries(self, day: int, record: int, members: range) -> Iterator[str]:
        changes = round(2 / self.churn) if self.churn else 0
        broken = round(1 / self.invalid) if self.invalid else 0
        for member in members:
            pair = record * self.group + member
            # A pair that goes makes room for one that comes.
            is_new = day == 2 and changes and pair % changes == changes // 2
            yield str(1 + member + (self.group if is_new else 0))
            if broken and pair % broken == broken // 2:
                yield f'"unknown-{pair}"'
