"""Sail: a Spark Connect server in this process, without a JVM, that runs for as long as a session.

Its port asks for no password, so it is closed as soon as our own connection stands.

https://docs.lakesail.com/sail/latest/
"""

import fcntl
import logging
import os
import re
import shutil
import signal
import socket
import stat
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

import grpc
import pyspark
from dagster_pyspark import LazyPySparkResource
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql.connect.client import DefaultChannelBuilder
from pyspark.sql.connect.session import SparkSession as ConnectSession

from agent_roles_dagster.settings import Settings
from agent_roles_dagster.tasks import let_tasks_run, stop_tasks

os.environ.setdefault("RUST_LOG", "error")  # Read when the library is loaded.

from pysail.spark import SparkConnectServer

_log = logging.getLogger(__name__)
# Seconds for what takes milliseconds, on a machine that is busy.
_PATIENCE = 60
# Seconds that what still runs gets to end, once the run has.
_LAST_WORDS = 5
_DESCRIPTORS = "/dev/fd"  # Linux's and macOS's list of a process's open files.
_BATCH_ROWS = 65_536
_NO_MEMORY = re.compile("Resources exhausted|No space left on device")


class SailError(RuntimeError):
    """Sail can't be used. Its text says why, and what to do."""


@contextmanager
def sail_session(config: Mapping[str, str], settings: Settings) -> Iterator[SparkSession]:
    """A session with a server of its own in this process, which ends with the context.

    Raises:
        SailError: the installed PySpark is not one that Sail knows, or somebody else has connected.
    """
    with _spill_folder(settings.home) as spill:
        with _environment(settings, spill):
            server = SparkConnectServer("127.0.0.1", 0)
        let_tasks_run()
        server.start(background=True)
        try:
            session = _connected(server, config)
            # The server takes SIGINT for itself.
            _restore_handlers()
            yield session
        except BaseException as error:
            stop_tasks()
            if isinstance(error, PySparkException) and _NO_MEMORY.search(str(error)):
                raise SailError(
                    f"The day does not fit into the {settings.engine_memory >> 20:,} MiB that Sail"
                    " may use, nor into the free disk space beside it. Nothing was changed in any"
                    " table. Raise AGENT_ROLES_MEMORY_SHARE, free disk space under"
                    " AGENT_ROLES_HOME, or run the day on Apache Spark"
                ) from None
            raise
        finally:
            _stop(server)


def _connected(server: SparkConnectServer, config: Mapping[str, str]) -> SparkSession:
    host, port = server.listening_address
    builder = ConnectSession.builder.channelBuilder(_OneConnection(f"sc://{host}:{port}"))
    try:
        builder.create()
        # The resource finds the session that was just made, without asking for an address.
        resource = LazyPySparkResource(spark_config={**config, "spark.remote": "sc://127.0.0.1"})
        session: SparkSession = resource.spark_session
        session.range(1).collect()
    except PySparkException as error:
        if "unsupported PySpark version" not in str(error):
            raise
        raise SailError(
            f"pyspark {pyspark.__version__} is not supported by pysail {version('pysail')}. Nothing"
            " was changed in any table. Install the versions that agent-roles-dagster asks for:"
            " pip install --upgrade agent-roles-dagster"
        ) from None
    return session


class _OneConnection(DefaultChannelBuilder):
    """Connects, and closes the server's port behind the connection."""

    def toChannel(self) -> grpc.Channel:  # noqa: N802 (PySpark's name)
        channel = super().toChannel()
        try:
            grpc.channel_ready_future(channel).result(timeout=_PATIENCE)
        except grpc.FutureTimeoutError:
            raise SailError("Sail's server does not answer. Nothing was changed.") from None
        _close_port(int(self.endpoint.rpartition(":")[2]))
        return channel


def _close_port(port: int) -> None:
    """Let nobody else connect to the server's port, and make sure that nobody did.

    Raises:
        SailError: somebody has.
    """
    ours = _own_sockets()
    if not any(each.is_listening and each.port == port for each in ours):
        _log.warning(
            "This operating system does not let the port of Sail's server be closed: while a day"
            " is read, other accounts of this machine can connect to 127.0.0.1:%s",
            port,
        )
        return
    for each in ours:
        if each.is_listening and each.port == port:
            with socket.socket() as closed:
                os.dup2(closed.fileno(), each.descriptor, inheritable=False)
    now = _own_sockets()
    from_us = {each.port for each in now if each.peer_port == port}
    if any(each.port == port and each.peer_port not in from_us for each in now):
        raise SailError(
            "Another process of this machine has connected to Sail's server, which was then ended."
            " Nothing was changed in any table. Find out which, and materialise the day again"
        )


class _Socket:
    def __init__(self, descriptor: int, opened: socket.socket) -> None:
        self.descriptor = descriptor
        self.is_listening = bool(opened.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
        self.port: int = opened.getsockname()[1]
        self.peer_port: int | None = None
        with suppress(OSError):  # It is not connected.
            self.peer_port = opened.getpeername()[1]


def _own_sockets() -> list[_Socket]:
    """This process's TCP sockets; none where the system does not list its descriptors."""
    found = []
    with suppress(OSError):
        for name in os.listdir(_DESCRIPTORS):
            with suppress(OSError):  # It is closed by now.
                if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                    with socket.socket(fileno=os.dup(int(name))) as opened:
                        if opened.family in (socket.AF_INET, socket.AF_INET6):
                            found.append(_Socket(int(name), opened))
    return found


def _restore_handlers() -> None:
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.getsignal(signal.SIGINT))


def _stop(server: SparkConnectServer) -> None:
    """End the server and the session, without waiting for ever for a task that hangs."""
    ending = threading.Thread(target=server.stop, daemon=True)
    ending.start()
    ending.join(_LAST_WORDS)
    if (session := ConnectSession.getActiveSession()) is not None:
        session.release_session_on_close = False  # There is nobody left to tell.
        session.stop()
    # PySpark would take it for the only kind of session that this process, and its children, want.
    os.environ.pop("SPARK_CONNECT_MODE_ENABLED", None)


@contextmanager
def _environment(settings: Settings, spill: Path) -> Iterator[None]:
    """Sail's settings, which it reads from environment variables when a server is made."""
    own = {
        "SAIL_EXECUTION__DEFAULT_PARALLELISM": str(settings.cores),
        "SAIL_EXECUTION__BATCH_SIZE": str(_BATCH_ROWS),
        "SAIL_RUNTIME__MEMORY_POOL__TYPE": "fair",
        "SAIL_RUNTIME__MEMORY_POOL__FAIR__MAX_SIZE": str(settings.engine_memory),
        "SAIL_RUNTIME__TEMPORARY_FILES__PATHS": f'["{spill}"]',
    }
    added = {name: value for name, value in own.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


@contextmanager
def _spill_folder(home: Path) -> Iterator[Path]:
    """A folder for what does not fit into memory; those that a killed run left are removed."""
    parent = home / "spill"
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder = parent / uuid.uuid4().hex[:12]
    with ExitStack() as held:
        with _locked(parent):
            for old in parent.iterdir():
                with suppress(BlockingIOError), _locked(old, fcntl.LOCK_NB):
                    shutil.rmtree(old, ignore_errors=True)
            folder.mkdir(mode=0o700)
            held.enter_context(_locked(folder))
            held.callback(shutil.rmtree, folder, ignore_errors=True)
        yield folder


@contextmanager
def _locked(folder: Path, flags: int = 0) -> Iterator[None]:
    """Hold the folder; a process that ends, in whatever way, lets it go.

    Raises:
        BlockingIOError: with LOCK_NB, another process holds it.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | flags)
        yield
    finally:
        os.close(descriptor)
