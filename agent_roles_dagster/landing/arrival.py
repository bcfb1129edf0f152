"""Whether a day's dump has landed completely, and whether it differs from what was there before.

Names, sizes, times and the manifest say so. No dump file is opened.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agent_roles_dagster.landing.files import entry_name, file_system
from agent_roles_dagster.landing.find import list_folder
from agent_roles_dagster.landing.manifest import MANIFEST, read_manifest
from agent_roles_dagster.landing.names import is_dump_file
from agent_roles_dagster.outcomes import Unreadable

# How many days are looked into at once: new ones, the newest ones, and others in turn.
_NEW, _NEWEST, _OTHERS = 100, 20, 30
# What the file systems call the time at which a file last changed. For a local file, "created" is
# the change time of its inode. A copy that keeps the original's times does not set it back.
_TIMES = ("created", "mtime", "LastModified", "last_modified", "updated", "modified")
_ETAGS = ("ETag", "etag", "md5Hash", "content_md5")
# Seconds by which a time may be ahead. One further ahead comes from a broken clock.
_BROKEN_CLOCK = 86_400.0
_TOO_MANY = "too many files"

_Entry = Mapping[str, Any]


@dataclass(frozen=True)
class Arrival:
    """What a day's folder shows without its files being opened.

    Attributes:
        fingerprint: 32 hexadecimal digits of the files' names, sizes and etags. A file without an
            etag counts with its modification time. Files whose names begin with `.` or `_` do not
            count, but the manifest does. If there are more files than can be staged, a text says
            so instead.
        changed_at: when something in the folder last changed, in seconds since 1970.
        listed: whether the manifest lists files, all of them are there, and no dump file is newer
            than the manifest.
        files: how many dump files there are.
        size: of all of them, in bytes.
    """

    fingerprint: str
    changed_at: float
    listed: bool
    files: int = 0
    size: int = 0

    def is_complete(self, now: float, settle_seconds: float) -> bool:
        """Whether the manifest says so, or nothing has changed for that many seconds."""
        return self.listed or now - self.changed_at >= settle_seconds


def days_to_look_at(
    days: Sequence[str], registered: Iterable[str], last: str | None, turn: int
) -> tuple[list[str], list[str]]:
    """Which of the landed days to look into this time, the most urgent first.

    They are the first days that are not registered yet, the newest registered ones, and some other
    registered ones in turn. There are 150 at most, no matter how many days have landed. Each day
    is reached at some time, even if there is only time for the first few each time. Only a hundred
    new days that never become complete can prevent this.

    Args:
        days: the landed days, in their order.
        last: the last of the other days that was looked into; None at first.
        turn: a number that grows from time to time. It decides which of the newest days is first.

    Returns: all of these days, and the other days among them.
    """
    known = set(registered)
    new = [day for day in days if day not in known][:_NEW]
    old = [day for day in days if day in known]
    others = old[:-_NEWEST]
    start = others.index(last) + 1 if last in others else 0
    in_turn = others[start : start + _OTHERS]
    newest = old[-_NEWEST:]
    at = turn % max(1, len(newest))  # If time is short, each of them is first once.
    newest = [*newest[at:], *newest[:at]]
    return [*in_turn[:1], *newest[:1], *new, *newest[1:], *in_turn[1:]], in_turn


def look_at(landing: str, sync_day: str, known: str | None, now: float) -> Arrival | None:
    """What the day's folder shows; None if it is not there, or has the known fingerprint.

    Args:
        known: the fingerprint that the folder had when it was last complete.
        now: seconds since 1970.

    Raises:
        Exception: the folder is there, but can't be listed.
    """
    fs, root = file_system(landing)
    folder = f"{root}/{sync_day}"
    try:
        found = list_folder(fs, folder)
        if found is None:
            if known == _TOO_MANY:
                return None
            changed_at = max(_moments(fs.info(folder)), default=0.0)
            return Arrival(_TOO_MANY, changed_at, listed=False)
        entries = {entry_name(entry): entry for entry in found}
        fingerprint = _fingerprint(entries)
        if fingerprint == known:
            return None
        itself = fs.info(folder)
        names = set(_listed(landing, entries))
    except FileNotFoundError:  # The folder is being replaced.
        return None
    finally:
        # An object store's listings would be kept for as long as this process lives.
        fs.invalidate_cache(folder)
    moments = [moment for entry in (itself, *found) for moment in _moments(entry)]
    changed_at = max((each for each in moments if each < now + _BROKEN_CLOCK), default=now)
    sizes = [int(entry.get("size") or 0) for name, entry in entries.items() if is_dump_file(name)]
    is_listed = _are_there(names, entries, now)
    return Arrival(fingerprint, changed_at, is_listed, len(sizes), sum(sizes))


def _are_there(names: set[str], entries: Mapping[str, _Entry], now: float) -> bool:
    """Whether there are names, each has its file, and the manifest is the newest file."""
    changed = {name: max(_moments(entry), default=now) for name, entry in entries.items()}
    return bool(names and names <= entries.keys()) and all(
        changed[name] <= changed[MANIFEST] for name in names.union(filter(is_dump_file, entries))
    )


def _fingerprint(entries: Mapping[str, _Entry]) -> str:
    digest = hashlib.sha256()
    for name, entry in sorted(entries.items()):
        if name == MANIFEST or not name.startswith((".", "_")):
            etag = next((entry[key] for key in _ETAGS if entry.get(key)), None)
            modified = entry.get("mtime") or max(_moments(entry), default=0)
            line = f"{name!r} {entry.get('size')} {etag or modified}\n"
            digest.update(line.encode())
    return digest.hexdigest()[:32]


def _listed(landing: str, entries: Mapping[str, _Entry]) -> list[str]:
    """The files that the manifest lists; none if it lists none, or can't be read yet."""
    if MANIFEST not in entries:
        return []
    try:
        manifest = json.loads(read_manifest(landing, entries[MANIFEST]))
        return [str(entry["name"]) for entry in manifest["files"]]
    except (Unreadable, ValueError, KeyError, TypeError, RecursionError):
        return []


def _moments(entry: _Entry) -> list[float]:
    """The times that a listing has of a file, in seconds since 1970."""
    found = []
    for value in (entry[key] for key in _TIMES if entry.get(key)):
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value)
            except ValueError:
                continue
        found.append(value.timestamp() if isinstance(value, datetime) else float(value))
    return found
