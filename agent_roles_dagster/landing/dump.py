"""A day's dump: its files, and what its manifest says."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agent_roles_dagster.display import plain
from agent_roles_dagster.landing.files import DumpFile
from agent_roles_dagster.outcomes import NotRead, Unreadable

_SUFFIXES = tuple(f".{kind}{gz}" for kind in ("json", "jsonl", "ndjson") for gz in ("", ".gz"))


@dataclass(frozen=True)
class Dump:
    """What landed for a day, as far as it shows without reading the files.

    Attributes:
        sync_day: the day.
        files: the dump's files, by name.
        observed_at: when the source was read, from the manifest; naive UTC, None if not given.
        modified_at: the files' newest modification time; naive UTC.
        listed: the manifest's `files` by name, as far as they are dump files; None if it has none.
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


def shown_path(sync_day: str, name: str) -> str:
    """A file for the user's eyes."""
    return f"{sync_day}/{plain(name)}"


@contextmanager
def naming(where: str) -> Iterator[None]:
    """Says of which file an error speaks that does not."""
    try:
        yield
    except (NotRead, Unreadable) as error:
        raise type(error)(f"{where}: {error}") from None


def is_dump_file(name: str) -> bool:
    """Whether a file of this name, in a day's folder, is part of the dump."""
    return name.endswith(_SUFFIXES) and not name.startswith((".", "_"))
