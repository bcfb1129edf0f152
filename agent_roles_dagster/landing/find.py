"""Which files are a day's dump. None is read here but the manifest."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from agent_roles_dagster.display import plain
from agent_roles_dagster.landing.content import hashed
from agent_roles_dagster.landing.days import landed_days
from agent_roles_dagster.landing.dump import Dump, is_dump_file, naming, shown_path
from agent_roles_dagster.landing.files import (
    DumpFile,
    file_system,
    giving,
    is_folder,
    name_of,
    require_inside,
    shown,
)
from agent_roles_dagster.landing.manifest import MANIFEST, parse_manifest, read_manifest
from agent_roles_dagster.landing.seal import check_digest
from agent_roles_dagster.outcomes import Unreadable

# Each takes about a kilobyte of this process, and is a line in the record of the day.
MOST_FILES = 200_000


def landed_sentence(landing: str) -> str:
    """Which days have landed, or why none can have."""
    fs, root = file_system(landing)
    with giving(shown(landing)):
        try:
            if not is_folder(fs, fs.info(root)):
                return f"{shown(landing)}, which AGENT_ROLES_LANDING names, is no folder"
        except FileNotFoundError:
            return f"{shown(landing)}, which AGENT_ROLES_LANDING names, is not there"
    days = landed_days(landing)
    last = ", ".join(days[-10:]) if days else "none"
    before = f"{len(days) - 10} earlier ones, " if len(days) > 10 else ""
    return f"Landed so far under {shown(landing)}: {before}{last}"


def entries_of(fs: Any, folder: str) -> list[dict[str, Any]] | None:
    """What is in the day's folder, as fsspec lists it now; None if it is more than `MOST_FILES`.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    # Names first, which on a disk take a tenth of the memory.
    if len(fs.ls(folder, detail=False, refresh=True)) > MOST_FILES:
        return None
    found: list[dict[str, Any]] = fs.ls(folder, detail=True)
    return found


def find_dump(landing: str, sync_day: str) -> Dump:
    """The files of the day's dump and what its manifest says; none is read but the manifest.

    Raises:
        Unreadable: no file landed, or too many, a file has no bytes, is no regular file or leads
            out of the landing folder, its name is not UTF-8, the manifest is broken, or it names
            files that are not there, or others than dump files that are not what it says. Dump
            files that it does not name are part of the dump, too.
        NotRead: the folder or the manifest can't be read.
    """
    fs, root = file_system(landing)
    folder = f"{root}/{sync_day}"
    if isinstance(fs, LocalFileSystem):
        try:
            require_inside(root, folder)
        except Unreadable as error:
            raise Unreadable(f"{sync_day}: {error}") from None
    with giving(sync_day):
        try:
            found = entries_of(fs, folder)
        except FileNotFoundError:
            found = []
    if found is None:
        raise Unreadable(
            f"{sync_day}: more than {MOST_FILES:,} files have landed; land the day in fewer"
        )
    entries = {name_of(entry): entry for entry in found}
    dumped = [entry for name, entry in sorted(entries.items()) if is_dump_file(name)]
    if not dumped:
        others = ", ".join(plain(name) for name in sorted(entries)[:3])
        only = f", only {others}{' and others' if len(entries) > 3 else ''}" if others else ""
        raise Unreadable(
            f"{sync_day}: no dump file (*.json, *.jsonl, *.ndjson, *.gz) has landed{only}"
        )
    files = tuple(_file(landing, sync_day, entry) for entry in dumped)
    if empty := next((f for f in files if f.size == 0), None):
        raise Unreadable(f"{shown_path(sync_day, empty.name)}: the file is empty")
    manifest: dict[str, Any] = {}
    if MANIFEST in entries:
        where = shown_path(sync_day, MANIFEST)
        with giving(where), naming(where):
            content = read_manifest(landing, entries[MANIFEST])
        manifest = parse_manifest(where, content)
    listed = None
    if "files" in manifest:
        listed = {entry["name"]: entry for entry in manifest["files"]}
        if missing := sorted(listed.keys() - entries.keys()):
            raise Unreadable(
                f"{shown_path(sync_day, missing[0])}: named in {MANIFEST}, but not there"
            )
        for name in sorted(listed.keys() - {f.name for f in files}):
            _check_other(sync_day, _file(landing, sync_day, entries[name]), listed.pop(name))
    with giving(sync_day):
        modified = max(_modified(fs, entry) for entry in dumped)
    return Dump(sync_day, files, manifest.get("observed_at"), modified, listed)


def _file(landing: str, sync_day: str, entry: Mapping[str, Any]) -> DumpFile:
    """The file that a listing of the day's folder has; refuses what can be none."""
    name = name_of(entry)
    where = shown_path(sync_day, name)
    if not _is_utf8(name):
        raise Unreadable(f"{where}: its name is not UTF-8")
    if entry["type"] == "directory":
        raise Unreadable(f"{where}: it is no regular file")
    file = DumpFile(name, entry["size"], landing, entry["name"])
    if entry["type"] != "file":  # A link may lead to one.
        with giving(where), naming(where):
            file.open().close()
    return file


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_other(sync_day: str, file: DumpFile, entry: Mapping[str, Any]) -> None:
    """Compare a file that is no dump file with what the manifest says of it."""
    where = shown_path(sync_day, file.name)
    if "records" in entry:
        raise Unreadable(
            f"{where}: {MANIFEST} says how many records it has, but by its name it is no dump file"
            " (*.json, *.jsonl, *.ndjson, *.gz), so none are read from it"
        )
    digest = hashlib.sha256()
    with naming(where):
        for _ in hashed(file, digest):
            pass
    check_digest(where, entry, digest.hexdigest())


def _modified(fs: Any, entry: Mapping[str, Any]) -> datetime:
    moment: datetime = fs.modified(entry["name"])
    return moment.astimezone(UTC).replace(tzinfo=None)
