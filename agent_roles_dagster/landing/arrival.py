"""Whether a day's dump has landed as a whole, and whether it is another than before.

Told from names, sizes, times and the manifest: no dump file is opened.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agent_roles_dagster.landing.dump import is_dump_file
from agent_roles_dagster.landing.files import file_system
from agent_roles_dagster.landing.find import entries_of
from agent_roles_dagster.landing.manifest import MANIFEST, read_manifest
from agent_roles_dagster.outcomes import Unreadable

# How many days one look at the landing folder takes in, whatever has landed over the years.
_NEW, _NEWEST, _OTHERS = 100, 20, 30
# What the kinds of file systems call the moment in which a file last changed. A local file's
# "created" is the change time of its inode, which copying with the original's times doesn't set
# back.
_TIMES = ("created", "mtime", "LastModified", "last_modified", "updated", "modified")
_ETAGS = ("ETag", "etag", "md5Hash", "content_md5")
_BROKEN_CLOCK = 86_400.0


@dataclass(frozen=True)
class Arrival:
    """What a day's folder shows from outside.

    Attributes:
        fingerprint: of the files' names, sizes and etags, or modification times where there are no
            etags; 32 hexadecimal digits, or a text if there are more than can be staged. Files
            whose names begin with `.` or `_` do not count, but the manifest does.
        changed_at: when something in the folder last changed, in seconds since 1970.
        listed: whether the manifest lists files that are all there, and was written last, after
            the dump files that it does not list, too.
        files: how many dump files there are.
        size: of all of them, in bytes.
    """

    fingerprint: str
    changed_at: float
    listed: bool
    files: int = 0
    size: int = 0

    def is_complete(self, now: float, settle_seconds: float) -> bool:
        """Whether the manifest says so, or nothing has changed for the time given."""
        return self.listed or now - self.changed_at >= settle_seconds


def days_to_look_at(
    days: Sequence[str], registered: Iterable[str], last: str | None, turn: int
) -> tuple[list[str], list[str]]:
    """Which of the landed days to look into this time, the most pressing first.

    They are the first days that are not registered yet, the newest that are, and some of the others
    in turn: at most 150 folders are listed, however many days have landed. Each is looked into
    sooner or later, even if there is only ever time for the first few, unless a hundred days never
    become complete.

    Args:
        days: the landed days, in their order.
        last: the last of the others that was looked into, None at first.
        turn: a number that grows from look to look, for which of the newest comes first.

    Returns: all of them, and the others among them.
    """
    known = set(registered)
    new = [day for day in days if day not in known][:_NEW]
    old = [day for day in days if day in known]
    others = old[:-_NEWEST]
    start = others.index(last) + 1 if last in others else 0
    in_turn = others[start : start + _OTHERS]
    newest = old[-_NEWEST:]
    at = turn % max(1, len(newest))  # where time is short, it is not always short for the same ones
    newest = [*newest[at:], *newest[:at]]
    return [*in_turn[:1], *newest[:1], *new, *newest[1:], *in_turn[1:]], in_turn


def look_at(landing: str, sync_day: str, known: str | None, now: float) -> Arrival | None:
    """The day's folder from outside; None if it is as `known` has it, or is not there.

    Args:
        known: the fingerprint it had when it was last seen complete.
        now: seconds since 1970.

    Raises:
        Exception: it is there, but can't be looked into.
    """
    fs, root = file_system(landing)
    folder = f"{root}/{sync_day}"
    try:
        found = entries_of(fs, folder)
        if found is None:
            # As it is refused, its files need not be looked at.
            refused = Arrival("too many files", max(_moments(fs.info(folder)), default=0.0), False)
            return None if refused.fingerprint == known else refused
        entries = {_name(entry): entry for entry in found}
        seen = _fingerprint(entries)
        if seen == known:
            return None
        moments = [
            moment
            for entry in (fs.info(folder), *entries.values())
            for moment in _moments(entry)
            if moment < now + _BROKEN_CLOCK
        ]
        names = set(_listed(landing, entries))
    except FileNotFoundError:  # It is being replaced.
        return None
    finally:
        # An object store's listings would be kept for as long as this process lives.
        fs.invalidate_cache(folder)
    changed = {name: max(_moments(entry), default=now) for name, entry in entries.items()}
    listed = bool(names and names <= entries.keys()) and all(
        changed[name] <= changed[MANIFEST] for name in names.union(filter(is_dump_file, entries))
    )
    sizes = [int(entry.get("size") or 0) for name, entry in entries.items() if is_dump_file(name)]
    return Arrival(seen, max(moments, default=now), listed, len(sizes), sum(sizes))


def _fingerprint(entries: Mapping[str, Mapping[str, Any]]) -> str:
    digest = hashlib.sha256()
    for name, entry in sorted(entries.items()):
        if name == MANIFEST or not name.startswith((".", "_")):
            etag = next((entry[key] for key in _ETAGS if entry.get(key)), None)
            modified = entry.get("mtime") or max(_moments(entry), default=0)
            line = f"{name!r} {entry.get('size')} {etag or modified}\n"
            digest.update(line.encode())
    return digest.hexdigest()[:32]


def _listed(landing: str, entries: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The files that the manifest lists; none if it lists none, or can't be read (yet)."""
    if MANIFEST not in entries:
        return []
    try:
        manifest = json.loads(read_manifest(landing, entries[MANIFEST]))
        return [str(entry["name"]) for entry in manifest["files"]]
    except (Unreadable, ValueError, KeyError, TypeError, RecursionError):
        return []


def _moments(entry: Mapping[str, Any]) -> list[float]:
    """The times that a listing gives for a file, in seconds since 1970."""
    found = []
    for value in (entry[key] for key in _TIMES if entry.get(key)):
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value)
            except ValueError:
                continue
        found.append(value.timestamp() if isinstance(value, datetime) else float(value))
    return found


def _name(entry: Mapping[str, Any]) -> str:
    return str(entry["name"]).rstrip("/").rsplit("/", 1)[-1]
