"""One connection to a server in this process that asks for no password, and no other connection.

A client of a Spark Connect server can have it execute Python code. So this module opens one
connection, and then closes the server's port. The port is open for about a millisecond. PySpark
uses the connection through a Unix socket that only this account may use.
"""

import ctypes
import logging
import os
import shutil
import socket
import stat
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_log = logging.getLogger(__name__)
_LOOPBACK = "127.0.0.1"
# Seconds to wait for the server. It takes a millisecond, unless the machine is busy.
_PATIENCE = 60
_LONGEST_PATH = 100  # bytes, of a Unix socket
_DESCRIPTORS = "/dev/fd"  # A process's open files, on Linux and macOS.
_SO_ATTACH_FILTER = 26  # A Linux option that Python has no name for.


class Intruder(RuntimeError):
    """Another process has connected to the server."""


@contextmanager
def only_connection(start: Callable[[], int], place: Path) -> Iterator[str]:
    """Start a server, and open the only connection to it.

    Args:
        start: starts the server, and returns its port on the loopback interface.
        place: a folder that only this account may enter. Before it is removed, `remove_door` is
            called.

    Yields:
        The target for gRPC: a Unix socket in a folder that only this account may enter.

    Raises:
        Intruder: another process has connected. It was cut off.
    """
    with ExitStack() as opened:
        path = place / "door"
        if len(os.fsencode(path)) > _LONGEST_PATH:
            short = tempfile.gettempdir() if len(tempfile.gettempdir()) < 60 else "/tmp"
            elsewhere = tempfile.TemporaryDirectory(prefix="roles-", dir=short)
            path = Path(opened.enter_context(elsewhere), "door")
            (place / "door").symlink_to(path.parent)
        door = opened.enter_context(closing(socket.socket(socket.AF_UNIX)))
        door.bind(str(path))
        door.listen(1)
        ours = opened.enter_context(closing(socket.socket()))
        # Our port is known before the server starts, so the kernel can drop all others.
        ours.bind((_LOOPBACK, 0))
        _connect(ours, start())
        threading.Thread(target=_relay, args=(door, ours), daemon=True).start()
        yield f"unix:{path}"


def remove_door(place: Path) -> None:
    """Remove what `only_connection` made outside of its place."""
    with suppress(OSError):
        shutil.rmtree((place / "door").readlink(), ignore_errors=True)


def _connect(ours: socket.socket, port: int) -> None:
    """Connect to the port, close it for others, and cut off those that came before."""
    our_port = ours.getsockname()[1]
    listening = [each for each in _own_sockets() if each.is_listening and each.port == port]
    for each in listening:
        _let_in_only(each.descriptor, our_port)
    ours.connect((_LOOPBACK, port))
    if not listening:
        _log.warning(
            "This operating system does not let the port of Sail's server be closed: while a day"
            " is read, other accounts of this machine can connect to %s:%s",
            _LOOPBACK,
            port,
        )
        return
    deadline = time.monotonic() + _PATIENCE
    while not any(each.port == port and each.peer_port == our_port for each in _own_sockets()):
        if time.monotonic() > deadline:
            raise TimeoutError("Sail's server does not answer")
    for each in listening:
        with socket.socket() as closed:
            os.dup2(closed.fileno(), each.descriptor, inheritable=False)
    strangers = [
        each
        for each in _own_sockets()
        if each.port == port and each.peer_port not in (None, our_port)
    ]
    for each in strangers:
        with socket.socket(fileno=os.dup(each.descriptor)) as stranger:
            stranger.shutdown(socket.SHUT_RDWR)
    if strangers:
        raise Intruder


def _let_in_only(descriptor: int, port: int) -> None:
    """Have the kernel drop what other ports send to a listening socket.

    Only Linux can do this, and some of its kernels allow it to root only.
    """
    if sys.platform != "linux":
        return
    # A program for the Berkeley Packet Filter: load the source port, compare, keep or drop.
    steps = ((0x28, 0, 0, 0), (0x15, 0, 1, port), (0x06, 0, 0, 0xFFFFFFFF), (0x06, 0, 0, 0))
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    pointer = struct.pack("HL", len(steps), ctypes.addressof(program))
    with socket.socket(fileno=os.dup(descriptor)) as listener, suppress(PermissionError):
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, pointer)


def _relay(door: socket.socket, ours: socket.socket) -> None:
    """Pass data between the server and the first client of the Unix socket."""
    with suppress(OSError), closing(door.accept()[0]) as inside:
        back = threading.Thread(target=_carry, args=(ours, inside), daemon=True)
        back.start()
        _carry(inside, ours)
        back.join()


def _carry(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while part := source.recv(1 << 16):
            sink.sendall(part)
        sink.shutdown(socket.SHUT_WR)


@dataclass(frozen=True)
class _Socket:
    """One of this process's TCP sockets; `peer_port` is None if it is not connected."""

    descriptor: int
    is_listening: bool
    port: int
    peer_port: int | None


def _own_sockets() -> list[_Socket]:
    """This process's TCP sockets; none if the operating system does not list its descriptors."""
    found = []
    with suppress(OSError):
        for name in os.listdir(_DESCRIPTORS):
            with suppress(OSError):  # It was closed in the meantime.
                if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                    with socket.socket(fileno=os.dup(int(name))) as opened:
                        if opened.family in (socket.AF_INET, socket.AF_INET6):
                            found.append(_described(int(name), opened))
    return found


def _described(descriptor: int, opened: socket.socket) -> _Socket:
    peer_port = None
    with suppress(OSError):
        peer_port = opened.getpeername()[1]
    is_listening = bool(opened.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    return _Socket(descriptor, is_listening, opened.getsockname()[1], peer_port)
