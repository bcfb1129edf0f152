"""The manifest: when the source was read, and which files there must be."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from agent_roles_dagster.landing.files import NOT_REGULAR, DumpFile
from agent_roles_dagster.outcomes import Unreadable

MANIFEST = "_manifest.json"
# Bytes at most, as it is held in memory as a whole. Half of this lists the most files of a day.
LONGEST_MANIFEST = 64 << 20
# Two forms of ISO 8601 that `datetime` does not know: the day of the year, and a leap second.
_ORDINAL = re.compile(r"(\d{4})(-?)(\d{3})(?=[T ])", re.ASCII)
_LEAP_SECOND = re.compile(r"(?<=[T ])(\d\d)(:?)(\d\d)\2(?:60)(?:[.,]\d+)?(?=Z|[+-])", re.ASCII)


def read_manifest(landing: str, entry: Mapping[str, Any]) -> bytes:
    """The content of the manifest.

    Args:
        entry: the manifest in a listing of the day's folder.

    Raises:
        Unreadable: it is no regular file, or too long.
        Exception: it can't be read.
    """
    if entry["type"] == "directory":
        raise Unreadable(NOT_REGULAR)
    with DumpFile(MANIFEST, entry["size"], landing, entry["name"]).open() as stream:
        content = stream.read(LONGEST_MANIFEST + 1)
    if len(content) > LONGEST_MANIFEST:
        raise Unreadable(f"it is more than {LONGEST_MANIFEST >> 20} MiB")
    return content


def parse_manifest(where: str, content: bytes) -> dict[str, Any]:
    """What the manifest says. `observed_at` becomes a naive UTC time.

    Raises:
        Unreadable: the manifest is broken. The text begins with `where`.
    """

    def refuse(why: str) -> Unreadable:
        return Unreadable(f"{where}: {why}")

    try:
        manifest = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise refuse(f"the manifest is broken ({error})") from error
    if not isinstance(manifest, dict):
        raise refuse("the manifest is broken (it is no object)")
    if "observed_at" in manifest:
        manifest["observed_at"] = _utc(manifest["observed_at"], refuse)
    files = manifest.get("files", [])
    if not isinstance(files, list) or not all(_is_file_entry(entry) for entry in files):
        raise refuse('"files" must be a list of {"name", "sha256", "records"}')
    if len({entry["name"] for entry in files}) < len(files):
        raise refuse('"files" names a file twice')
    return manifest


def _is_file_entry(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("name"), str)
        and isinstance(entry.get("sha256", ""), str)
        and type(entry.get("records", 0)) is int
    )


def _utc(text: Any, refuse: Any) -> datetime:
    try:
        moment = _moment(text)
        if moment.tzinfo is None:
            raise refuse('"observed_at" has no offset from UTC')
        return moment.astimezone(UTC).replace(tzinfo=None)
    except (AttributeError, ValueError):
        raise refuse('"observed_at" is no ISO 8601 time, such as 2026-11-23T06:00:00Z') from None
    except OverflowError as error:
        raise refuse('"observed_at" is out of range') from error


def _moment(text: str) -> datetime:
    """An ISO 8601 time, also in lower case. A leap second counts as the second after it."""
    text = text.upper()
    if ordinal := _ORDINAL.match(text):
        day = date(int(ordinal[1]), 1, 1) + timedelta(days=int(ordinal[3]) - 1)
        if day.year != int(ordinal[1]):
            raise ValueError("the year has no such day")
        text = day.isoformat() + text[ordinal.end() :]
    moment = datetime.fromisoformat(_LEAP_SECOND.sub(r"\1\2\3\g<2>59", text))
    if _LEAP_SECOND.search(text):
        moment += timedelta(seconds=1)
        if moment.astimezone(UTC).time() != time():
            raise ValueError("no leap second ends there")
    return moment
