"""Finds a day's dump. No file is read but the manifest, and what it lists beside the dump files."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from agent_roles_dagster.display import plain
from agent_roles_dagster.landing.content import read_bytes
from agent_roles_dagster.landing.dump import Dump
from agent_roles_dagster.landing.errors import errors_about, storage_errors
from agent_roles_dagster.landing.files import (
    NOT_REGULAR,
    DumpFile,
    entry_name,
    file_system,
    resolve_inside,
)
from agent_roles_dagster.landing.manifest import MANIFEST, parse_manifest, read_manifest
from agent_roles_dagster.landing.names import PATTERNS, is_dump_file, shown_path
from agent_roles_dagster.landing.seal import check_digest
from agent_roles_dagster.outcomes import Unreadable

# Each file takes about a kilobyte of this process's memory, and a line in the day's record.
MOST_FILES = 200_000

_Entry = Mapping[str, Any]


def find_dump(landing: str, sync_day: str) -> Dump:
    """The files of the day's dump, and what its manifest says.

    Dump files that the manifest does not list are part of the dump, too.

    Raises:
        Unreadable: no file landed, or too many; a file has no bytes, is no regular file, leads out
            of the landing folder, or has a name that is not UTF-8; the manifest is broken, lists a
            file that is not there, or lists a file beside the dump files that does not match.
        NotRead: the folder or the manifest can't be read.
    """
    fs, root = file_system(landing)
    entries = _list_day(fs, root, sync_day)
    files = _dump_files(landing, sync_day, entries)
    manifest = _manifest(landing, sync_day, entries)
    listed = None
    if "files" in manifest:
        listed = {entry["name"]: entry for entry in manifest["files"]}
        if missing := sorted(listed.keys() - entries.keys()):
            raise Unreadable(
                f"{shown_path(sync_day, missing[0])}: named in {MANIFEST}, but not there"
            )
        for name in sorted(listed.keys() - {file.name for file in files}):
            _check_other(sync_day, _file(landing, sync_day, entries[name]), listed.pop(name))
    with storage_errors(sync_day):
        modified = max(_modified(fs, entries[file.name]) for file in files)
    return Dump(sync_day, files, manifest.get("observed_at"), modified, listed)


def list_folder(fs: Any, folder: str) -> list[dict[str, Any]] | None:
    """What is in the day's folder now, as fsspec lists it; None if it is more than `MOST_FILES`.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    # Names come first. On a disk, they take a tenth of the memory.
    if len(fs.ls(folder, detail=False, refresh=True)) > MOST_FILES:
        return None
    found: list[dict[str, Any]] = fs.ls(folder, detail=True)
    return found


def _list_day(fs: Any, root: str, sync_day: str) -> dict[str, _Entry]:
    """What is in the day's folder, by name."""
    folder = f"{root}/{sync_day}"
    if isinstance(fs, LocalFileSystem):
        with errors_about(sync_day):
            resolve_inside(root, folder)
    with storage_errors(sync_day):
        try:
            found = list_folder(fs, folder)
        except FileNotFoundError:
            found = []
    if found is None:
        raise Unreadable(
            f"{sync_day}: more than {MOST_FILES:,} files have landed; land the day in fewer"
        )
    return {entry_name(entry): entry for entry in found}


def _dump_files(landing: str, sync_day: str, entries: Mapping[str, _Entry]) -> tuple[DumpFile, ...]:
    """The dump files, in the order of their names. There is one at least, and none is empty."""
    names = sorted(filter(is_dump_file, entries))
    if not names:
        others = ", ".join(plain(name) for name in sorted(entries)[:3])
        only = f", only {others}{' and others' if len(entries) > 3 else ''}" if others else ""
        raise Unreadable(f"{sync_day}: no dump file ({PATTERNS}) has landed{only}")
    files = tuple(_file(landing, sync_day, entries[name]) for name in names)
    if empty := next((file for file in files if file.size == 0), None):
        raise Unreadable(f"{shown_path(sync_day, empty.name)}: the file is empty")
    return files


def _manifest(landing: str, sync_day: str, entries: Mapping[str, _Entry]) -> dict[str, Any]:
    """What the manifest says; nothing if there is none."""
    if MANIFEST not in entries:
        return {}
    where = shown_path(sync_day, MANIFEST)
    with storage_errors(where), errors_about(where):
        content = read_manifest(landing, entries[MANIFEST])
    return parse_manifest(where, content)


def _file(landing: str, sync_day: str, entry: _Entry) -> DumpFile:
    """The file of a listing. What can't be one is refused."""
    name = entry_name(entry)
    where = shown_path(sync_day, name)
    if not _is_utf8(name):
        raise Unreadable(f"{where}: its name is not UTF-8")
    if entry["type"] == "directory":
        raise Unreadable(f"{where}: {NOT_REGULAR}")
    file = DumpFile(name, entry["size"], landing, entry["name"])
    if entry["type"] != "file":  # It may be a link to a file. Opening it shows that.
        with storage_errors(where), errors_about(where):
            file.open().close()
    return file


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_other(sync_day: str, file: DumpFile, listed: Mapping[str, Any]) -> None:
    """Compare a file that is no dump file with what the manifest says about it."""
    where = shown_path(sync_day, file.name)
    if "records" in listed:
        raise Unreadable(
            f"{where}: {MANIFEST} says how many records it has, but by its name it is no dump file"
            f" ({PATTERNS}), so none are read from it"
        )
    digest = hashlib.sha256()
    with errors_about(where):
        for _ in read_bytes(file, digest):
            pass
    check_digest(where, listed, digest.hexdigest())


def _modified(fs: Any, entry: _Entry) -> datetime:
    moment: datetime = fs.modified(entry["name"])
    return moment.astimezone(UTC).replace(tzinfo=None)
