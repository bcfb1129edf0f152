"""A day's dump: its files, and what its manifest says."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agent_roles_dagster.landing.files import DumpFile


@dataclass(frozen=True)
class Dump:
    """A day's dump, before its files are read.

    Attributes:
        sync_day: the day.
        files: the dump's files, by name.
        observed_at: when the source was read, from the manifest; naive UTC, None if not given.
        modified_at: the files' newest modification time; naive UTC.
        listed: the dump files in the manifest's `files`, by name; None if it has no `files`.
    """

    sync_day: str
    files: tuple[DumpFile, ...]
    observed_at: datetime | None
    modified_at: datetime
    listed: Mapping[str, Mapping[str, Any]] | None

    @property
    def size(self) -> int:
        """Bytes of all files, as they are stored."""
        return sum(file.size for file in self.files)
