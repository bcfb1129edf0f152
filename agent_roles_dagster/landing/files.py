"""The landing folder's file system, and opening its files."""

import errno
import fcntl
import os
import re
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from fsspec.core import split_protocol, url_to_fs
from fsspec.implementations.local import LocalFileSystem

from agent_roles_dagster.outcomes import NotRead, Unreadable


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


def file_system(landing: str) -> tuple[Any, str]:
    """fsspec's file system of the landing folder, and the folder's path there."""
    if split_protocol(landing)[0] in (None, *LocalFileSystem.protocol):
        # `url_to_fs` would take `::` in a path for a chain of file systems.
        fs = LocalFileSystem()
        return fs, fs._strip_protocol(landing)
    fs, root = url_to_fs(landing)
    return fs, root


def require_inside(root: str, path: str) -> str:
    """The path with its links resolved; refuses one that leads out of the landing folder."""
    real, home = os.path.realpath(path), os.path.realpath(root)
    if os.path.commonpath((real, home)) != home:
        raise Unreadable("it is a link that leads out of the landing folder")
    return real


def _open_regular(root: str, path: str) -> BinaryIO:
    """Open a local file without waiting for anybody, as a pipe would have it."""
    real = require_inside(root, path)
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
        require_inside(root, _path_of(descriptor) or real)
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


def is_folder(fs: Any, entry: Mapping[str, Any]) -> bool:
    """Whether it is a folder, or a link to one; any other link is a file, even to nothing."""
    if entry["type"] in ("file", "directory"):
        return bool(entry["type"] == "directory")
    return bool(fs.isdir(entry["name"]))


def name_of(entry: Mapping[str, Any]) -> str:
    return str(entry["name"]).rstrip("/").rsplit("/", 1)[-1]
