"""The landing folder's file system, and how its files are opened."""

import errno
import fcntl
import os
import re
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from fsspec.core import split_protocol, url_to_fs
from fsspec.implementations.local import LocalFileSystem

from agent_roles_dagster.outcomes import Unreadable

NOT_REGULAR = "it is no regular file"


@dataclass(frozen=True)
class DumpFile:
    """One file of a day's dump.

    Attributes:
        name: its name in the day's folder.
        size: its bytes, as they are stored.
        landing: the landing folder, as it is set.
        path: the file's path in the landing folder's file system. It is not part of a URL, where
            some of the characters of a name have a meaning.
    """

    name: str
    size: int
    landing: str
    path: str

    def open(self) -> BinaryIO:
        """The file, for reading.

        Raises:
            Unreadable: on a local disk, it is no regular file, or leads out of the landing folder.
        """
        fs, root = file_system(self.landing)
        if isinstance(fs, LocalFileSystem):
            return _open_regular(root, self.path)
        stream: BinaryIO = fs.open(self.path, "rb")
        return stream


def file_system(landing: str) -> tuple[Any, str]:
    """fsspec's file system of the landing folder, and the folder's path there."""
    if split_protocol(landing)[0] in (None, *LocalFileSystem.protocol):
        # For `url_to_fs`, a `::` in a path separates two file systems.
        fs = LocalFileSystem()
        return fs, fs._strip_protocol(landing)
    fs, root = url_to_fs(landing)
    return fs, root


def resolve_inside(root: str, path: str) -> str:
    """The path with its links resolved. A link that leads out of the landing folder is refused."""
    real, home = os.path.realpath(path), os.path.realpath(root)
    if os.path.commonpath((real, home)) != home:
        raise Unreadable("it is a link that leads out of the landing folder")
    return real


def _open_regular(root: str, path: str) -> BinaryIO:
    """Open a local file. A pipe is refused at once, without waiting for its other end."""
    real = resolve_inside(root, path)
    try:
        descriptor = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError as error:
        # A circle of links, or a socket.
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise Unreadable(NOT_REGULAR) from None
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Unreadable(NOT_REGULAR)
        # A folder of the path may have become a link in the meantime.
        resolve_inside(root, _path_of(descriptor) or real)
    except Unreadable:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def _path_of(descriptor: int) -> str | None:
    """The path of an open file; None if the operating system doesn't say."""
    if sys.platform == "linux":
        return os.readlink(f"/proc/self/fd/{descriptor}")
    if sys.platform == "darwin":
        return os.fsdecode(fcntl.fcntl(descriptor, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0"))
    return None


def shown(landing: str) -> str:
    """The landing folder for people to read, without the user and password of a URL."""
    return re.sub(r"//[^/]*@", "//", landing)


def is_folder(fs: Any, entry: Mapping[str, Any]) -> bool:
    """Whether it is a folder, or a link to one. Any other link is a file, even a broken one."""
    if entry["type"] in ("file", "directory"):
        return bool(entry["type"] == "directory")
    return bool(fs.isdir(entry["name"]))


def entry_name(entry: Mapping[str, Any]) -> str:
    """The name of a file or folder in a listing."""
    return str(entry["name"]).rstrip("/").rsplit("/", 1)[-1]
