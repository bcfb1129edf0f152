"""The landing folder: which sync days landed, which files are a day's dump, and their seal.

What is in the files is `dump`'s affair; here they are bytes.
"""

import codecs
import errno
import fcntl
import hashlib
import json
import os
import re
import stat
import sys
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, BinaryIO

from fsspec.core import split_protocol, url_to_fs
from fsspec.implementations.local import LocalFileSystem

from agent_roles_dagster.display import plain
from agent_roles_dagster.sync_days import EXPECTED, InvalidSyncDay, day_number, is_sync_day

MANIFEST = "_manifest.json"
# Each takes about a kilobyte of this process, and is a line in the record of the day.
MOST_FILES = 200_000
# Twice what lists that many files; it is held in memory as a whole.
LONGEST_MANIFEST = 64 << 20
_SUFFIXES = tuple(f".{kind}{gz}" for kind in ("json", "jsonl", "ndjson") for gz in ("", ".gz"))
_CHUNK = 1 << 20
# JSON is ten times as long unzipped, seldom fifty times; a bomb is a thousand times as long.
_MOST_INFLATED = 200
_BYTES_NOT_LOOKED_AT = 64 << 20
BLANKS = b" \t\r\n"
_BOM = b"\xef\xbb\xbf"
_UTF8 = codecs.getincrementaldecoder("utf-8")
# What `datetime` does not know of ISO 8601: the day of the year, and a second that was put in.
_ORDINAL = re.compile(r"(\d{4})(-?)(\d{3})(?=[T ])", re.ASCII)
_LEAP_SECOND = re.compile(r"(?<=[T ])(\d\d)(:?)(\d\d)\2(?:60)(?:[.,]\d+)?(?=Z|[+-])", re.ASCII)


class Unreadable(Exception):
    """The day is not a snapshot. Its text names the file and says why."""


class NotRead(Exception):
    """The disk or the store where the dump landed does not give it, which may be whole.

    Its text names what was asked for and the kind of the error.
    """


@contextmanager
def giving(where: str = "") -> Iterator[None]:
    """For what asks the disk or the store, and nothing else.

    Args:
        where: begins the error's text; if not given, whoever catches it adds that.

    Raises:
        Unreadable: as it comes, and instead of FileNotFoundError.
        ImportError, NotImplementedError: as they come: this kind of store needs a package, or
            can't do what is asked of it.
        NotRead: instead of any other error, since each kind of store has its own.
    """
    begin = f"{where}: " if where else ""
    try:
        yield
    except FileNotFoundError:
        raise Unreadable(f"{begin}it is not there, or not any more") from None
    except (Unreadable, ImportError, NotImplementedError):
        raise
    except Exception as error:
        # Not with the error's own text, which is the library's and may quote anything.
        raise NotRead(f"{begin}can't be read ({type(error).__name__})") from None


@dataclass(frozen=True)
class DumpFile:
    """One file of a day's dump: its name in the day's folder, its bytes, and where it is.

    The place is in two parts, since a name may hold what means something in a URL.
    """

    name: str
    size: int
    landing: str
    path: str

    def open(self) -> BinaryIO:
        """The file, for reading.

        Raises:
            Unreadable: it is on a local disk, and no regular file, or not in the landing folder.
        """
        fs, root = file_system(self.landing)
        if isinstance(fs, LocalFileSystem):
            return _open_regular(root, self.path)
        stream: BinaryIO = fs.open(self.path, "rb")
        return stream


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


def file_system(landing: str) -> tuple[Any, str]:
    """fsspec's file system of the landing folder, and the folder's path there."""
    if split_protocol(landing)[0] in (None, *LocalFileSystem.protocol):
        # `url_to_fs` would take `::` in a path for a chain of file systems.
        fs = LocalFileSystem()
        return fs, fs._strip_protocol(landing)
    fs, root = url_to_fs(landing)
    return fs, root


def _require_inside(root: str, path: str) -> str:
    """The path with its links resolved; refuses one that leads out of the landing folder."""
    real, home = os.path.realpath(path), os.path.realpath(root)
    if os.path.commonpath((real, home)) != home:
        raise Unreadable("it is a link that leads out of the landing folder")
    return real


def _open_regular(root: str, path: str) -> BinaryIO:
    """Open a local file without waiting for anybody, as a pipe would have it."""
    real = _require_inside(root, path)
    try:
        descriptor = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError as error:
        # A circle of links, or a socket.
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise Unreadable("it is no regular file") from None
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Unreadable("it is no regular file")
        # A folder on the way may have become a link since.
        _require_inside(root, _path_of(descriptor) or real)
    except Unreadable:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def _path_of(descriptor: int) -> str | None:
    """Where an open file is; None where the system doesn't tell."""
    if sys.platform == "linux":
        return os.readlink(f"/proc/self/fd/{descriptor}")
    if sys.platform == "darwin":
        return os.fsdecode(fcntl.fcntl(descriptor, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0"))
    return None


def shown(landing: str) -> str:
    """The landing folder for the user's eyes: a URL's user and password are left out."""
    return re.sub(r"//[^/]*@", "//", landing)


def landed_days(landing: str) -> list[str]:
    """The sync days that have a folder under `landing`, in their order."""
    fs, root = file_system(landing)
    with giving(shown(landing)):
        try:
            entries = fs.ls(root, detail=True, refresh=True)
        except FileNotFoundError:
            return []
    names = (_name(entry) for entry in entries if _is_folder(fs, entry))
    return sorted(filter(is_sync_day, names), key=day_number)


def require_landed(landing: str, sync_day: str) -> None:
    """Refuse a name that is no sync day's, or a day that has no folder.

    Raises:
        InvalidSyncDay: with what is expected and which days are there.
        NotRead: nobody can tell.
    """
    try:
        day_number(sync_day)
    except InvalidSyncDay as error:
        raise InvalidSyncDay(f"{error}. {landed_sentence(landing)}") from error
    fs, root = file_system(landing)
    with giving(sync_day):
        try:
            # Not by isdir, which says no where a disk gives an error.
            is_there = _is_folder(fs, fs.info(f"{root}/{sync_day}"))
        except (FileNotFoundError, NotADirectoryError):
            is_there = False
    if not is_there:
        raise InvalidSyncDay(
            f"{sync_day!r} has not landed: there is no such folder; {EXPECTED}."
            f" {landed_sentence(landing)}"
        )


def landed_sentence(landing: str) -> str:
    """Which days have landed, or why none can have."""
    fs, root = file_system(landing)
    with giving(shown(landing)):
        try:
            if not _is_folder(fs, fs.info(root)):
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
            _require_inside(root, folder)
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
    entries = {_name(entry): entry for entry in found}
    dumped = [entry for name, entry in sorted(entries.items()) if is_dump_file(name)]
    if not dumped:
        others = ", ".join(plain(name) for name in sorted(entries)[:3])
        only = f", only {others}{' and others' if len(entries) > 3 else ''}" if others else ""
        raise Unreadable(
            f"{sync_day}: no dump file (*.json, *.jsonl, *.ndjson, *.gz) has landed{only}"
        )
    files = tuple(_file(landing, sync_day, entry) for entry in dumped)
    if empty := next((f for f in files if f.size == 0), None):
        raise Unreadable(f"{_where(sync_day, empty.name)}: the file is empty")
    manifest: dict[str, Any] = {}
    if MANIFEST in entries:
        where = _where(sync_day, MANIFEST)
        with giving(where), _named(where):
            content = read_manifest(landing, entries[MANIFEST])
        manifest = _manifest(where, content)
    listed = None
    if "files" in manifest:
        listed = {entry["name"]: entry for entry in manifest["files"]}
        if missing := sorted(listed.keys() - entries.keys()):
            raise Unreadable(f"{_where(sync_day, missing[0])}: named in {MANIFEST}, but not there")
        for name in sorted(listed.keys() - {f.name for f in files}):
            _check_other(sync_day, _file(landing, sync_day, entries[name]), listed.pop(name))
    with giving(sync_day):
        modified = max(_modified(fs, entry) for entry in dumped)
    return Dump(sync_day, files, manifest.get("observed_at"), modified, listed)


def read_manifest(landing: str, entry: Mapping[str, Any]) -> bytes:
    """What is in the manifest that a listing of the day's folder has.

    Raises:
        Unreadable: it is no regular file, or too long.
        Exception: it can't be read.
    """
    if entry["type"] == "directory":
        raise Unreadable("it is no regular file")
    with DumpFile(MANIFEST, entry["size"], landing, entry["name"]).open() as stream:
        content = stream.read(LONGEST_MANIFEST + 1)
    if len(content) > LONGEST_MANIFEST:
        raise Unreadable(f"it is more than {LONGEST_MANIFEST >> 20} MiB")
    return content


def _file(landing: str, sync_day: str, entry: Mapping[str, Any]) -> DumpFile:
    """The file that a listing of the day's folder has; refuses what can be none."""
    name = _name(entry)
    where = _where(sync_day, name)
    if not _is_utf8(name):
        raise Unreadable(f"{where}: its name is not UTF-8")
    if entry["type"] == "directory":
        raise Unreadable(f"{where}: it is no regular file")
    file = DumpFile(name, entry["size"], landing, entry["name"])
    if entry["type"] != "file":  # A link may lead to one.
        with giving(where), _named(where):
            file.open().close()
    return file


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _where(sync_day: str, name: str) -> str:
    """A file for the user's eyes."""
    return f"{sync_day}/{plain(name)}"


@contextmanager
def _named(where: str) -> Iterator[None]:
    """Says of which file an error speaks that does not."""
    try:
        yield
    except (NotRead, Unreadable) as error:
        raise type(error)(f"{where}: {error}") from None


def is_dump_file(name: str) -> bool:
    """Whether a file of this name, in a day's folder, is part of the dump."""
    return name.endswith(_SUFFIXES) and not name.startswith((".", "_"))


def seal(dump: Dump, threads: int = 4) -> str:
    """Read every file once and return the dump's content digest (64 hexadecimal digits).

    Memory does not grow with the files: they are read in pieces.

    Raises:
        Unreadable: a file is blank, not UTF-8, a broken or overlong gzip, or not what the manifest
            says.
        NotRead: a file can't be read.
    """
    with ThreadPoolExecutor(threads) as pool:
        digests = dict(
            zip(
                (file.name for file in dump.files),
                pool.map(lambda file: _file_digest(dump.sync_day, file), dump.files),
                strict=True,
            )
        )
    check_digests(dump, digests)
    return content_digest(digests)


def check_digests(dump: Dump, digests: Mapping[str, str]) -> None:
    """Compare the files' SHA-256, by name, with the manifest's.

    Raises:
        Unreadable: one differs.
    """
    for name, entry in (dump.listed or {}).items():
        _check_digest(_where(dump.sync_day, name), entry, digests[name])


def _check_digest(where: str, entry: Mapping[str, Any], digest: str) -> None:
    expected = entry.get("sha256")
    if expected is not None and expected.lower() != digest:
        raise Unreadable(f"{where}: its SHA-256 is {digest}, but {MANIFEST} says {plain(expected)}")


def _check_other(sync_day: str, file: DumpFile, entry: Mapping[str, Any]) -> None:
    """Compare a file that is no dump file with what the manifest says of it."""
    where = _where(sync_day, file.name)
    if "records" in entry:
        raise Unreadable(
            f"{where}: {MANIFEST} says how many records it has, but by its name it is no dump file"
            " (*.json, *.jsonl, *.ndjson, *.gz), so none are read from it"
        )
    digest = hashlib.sha256()
    with _named(where):
        for _ in hashed(file, digest):
            pass
    _check_digest(where, entry, digest.hexdigest())


def content_digest(digests: Mapping[str, str]) -> str:
    """One digest for a dump, from its files' SHA-256 by name."""
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


def _file_digest(sync_day: str, file: DumpFile) -> str:
    digest = hashlib.sha256()
    with _named(_where(sync_day, file.name)):
        for _ in content(file, digest):
            pass
    return digest.hexdigest()


def content(file: DumpFile, digest: Any) -> Iterator[bytes]:
    """The dump file's text in pieces, unzipped, without a byte order mark.

    Args:
        digest: is fed the file's bytes as they landed.

    Raises:
        Unreadable: it is blank, not UTF-8, holds a NUL, is a broken or overlong gzip, or not there.
        NotRead: it can't be read.
    """
    decoder = _UTF8()
    head, is_blank, is_begun = b"", True, False
    try:
        for piece in inflate(hashed(file, digest), file.name):
            if decoder.getstate()[0] or not piece.isascii():
                decoder.decode(piece)
            if b"\0" in piece:
                raise Unreadable(
                    "it holds a NUL byte, which no JSON has; a crash while it is copied leaves such"
                )
            if not is_begun:
                head += piece
                if len(head) < len(_BOM):
                    continue
                piece, is_begun = head.removeprefix(_BOM), True
            is_blank = is_blank and not piece.strip(BLANKS)
            yield piece
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise Unreadable(f"the file is not UTF-8 ({error.reason})") from error
    if not is_begun:
        is_blank = not head.strip(BLANKS)
        yield head
    if is_blank:
        raise Unreadable("the file is blank")


def hashed(file: DumpFile, digest: Any) -> Iterator[bytes]:
    """The file's bytes in pieces, each fed to the digest first.

    Raises:
        Unreadable: it is not there, or not any more.
        NotRead: it can't be read.
    """
    with giving():
        stream = file.open()
    with stream:
        while True:
            with giving():
                chunk = stream.read(_CHUNK)
            if not chunk:
                return
            digest.update(chunk)
            yield chunk


def inflate(chunks: Iterator[bytes], name: str) -> Iterator[bytes]:
    """The file's content in pieces: unzipped if its name ends in .gz, else as it is.

    Raises:
        Unreadable: it is no gzip, damaged or cut short, or unzipped it is too many times as long.
    """
    if not name.endswith(".gz"):
        yield from chunks
        return
    zipped = unzipped = 0

    def counted() -> Iterator[bytes]:
        nonlocal zipped
        for chunk in chunks:
            zipped += len(chunk)
            yield chunk

    try:
        for piece in _unzipped(counted()):
            unzipped += len(piece)
            if unzipped > max(zipped * _MOST_INFLATED, _BYTES_NOT_LOOKED_AT):
                raise Unreadable(
                    f"unzipped it is more than {_MOST_INFLATED} times as long, as no dump is; if"
                    " this one is, land it unzipped"
                )
            yield piece
    except (zlib.error, EOFError) as error:
        raise Unreadable(f"a broken gzip file ({error})") from error


def _unzipped(chunks: Iterator[bytes]) -> Iterator[bytes]:
    member = zlib.decompressobj(wbits=31)
    started = False
    for chunk in chunks:
        while chunk:
            if member.eof:
                # Several members may stand one after the other, and zeros after the last.
                chunk = chunk.lstrip(b"\0")
                if not chunk:
                    break
                member, started = zlib.decompressobj(wbits=31), False
            piece = member.decompress(chunk, _CHUNK)
            started = True
            if piece:
                yield piece
            chunk = member.unused_data if member.eof else member.unconsumed_tail
    while started and not member.eof:
        piece = member.decompress(member.unconsumed_tail, _CHUNK)
        if not piece:
            raise EOFError("cut short")
        yield piece
    if not started:
        raise EOFError("cut short")


def _manifest(where: str, content: bytes) -> dict[str, Any]:
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
    """An ISO 8601 time, in RFC 3339's lower case, too; a leap second is the second after it."""
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


def _modified(fs: Any, entry: Mapping[str, Any]) -> datetime:
    moment: datetime = fs.modified(entry["name"])
    return moment.astimezone(UTC).replace(tzinfo=None)


def _is_folder(fs: Any, entry: Mapping[str, Any]) -> bool:
    """Whether it is a folder, or a link to one; any other link is a file, even to nothing."""
    if entry["type"] in ("file", "directory"):
        return bool(entry["type"] == "directory")
    return bool(fs.isdir(entry["name"]))


def _name(entry: Mapping[str, Any]) -> str:
    return str(entry["name"]).rstrip("/").rsplit("/", 1)[-1]
