"""Sail: a Spark Connect server in this process, without a JVM. It runs as long as its session.

https://docs.lakesail.com/sail/latest/
"""

import fcntl
import os
import shutil
import signal
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

from agent_roles_dagster.engines.door import Intruder, only_connection, remove_door
from agent_roles_dagster.engines.errors import SailError
from agent_roles_dagster.engines.tasks import let_tasks_run, stop_tasks
from agent_roles_dagster.machine import cores
from agent_roles_dagster.settings import Settings

os.environ.setdefault("RUST_LOG", "error")  # Read when the library is loaded.

from pysail.spark import SparkConnectServer

_LOOPBACK = "127.0.0.1"
# Seconds for the server to stop.
_SECONDS_TO_STOP = 5
_BATCH_ROWS = 65_536


@contextmanager
def sail_session(config: Mapping[str, str], settings: Settings) -> Iterator[SparkSession]:
    """A session with a server of its own in this process. Both end with the context.

    Raises:
        SailError: Sail does not support the installed PySpark, another process has connected, or
            the day does not fit into memory and disk.
    """
    with _spill_folder(settings.home) as spill:
        with _environment(settings, spill):
            server = SparkConnectServer(_LOOPBACK, 0)

        def start() -> int:
            server.start(background=True)
            port: int = server.listening_address[1]
            return port

        let_tasks_run()
        try:
            with only_connection(start, spill) as target:
                try:
                    session = _connected(target, config)
                    # Starting the server has replaced the handler of SIGINT.
                    _restore_handlers()
                    yield session
                except BaseException:
                    stop_tasks()
                    raise
                finally:
                    # While still connected. Otherwise PySpark would wait for answers for ever.
                    _close_session()
        except BaseException as error:
            if (advice := _advice(error, settings, spill)) is not None:
                raise SailError(advice) from error
            raise
        finally:
            _stop(server)


def _advice(error: BaseException, settings: Settings, spill: Path) -> str | None:
    """What to say about a known error; None for any other."""
    text = str(error) if isinstance(error, PySparkException) else ""
    text = text.replace(str(spill / "door"), "")  # No file of rows, and gRPC's errors name it.
    if isinstance(error, Intruder):
        return (
            "Another process of this machine has connected to Sail's server and was cut off. No"
            " row was read or written. Find out which, and materialise the day again"
        )
    if "unsupported PySpark version" in text:
        return (
            f"pyspark {pyspark.__version__} is not supported by pysail {version('pysail')}. Nothing"
            " was changed in any table. Install the versions that agent-roles-dagster asks for:"
            " pip install --upgrade agent-roles-dagster"
        )
    if "Resources exhausted" in text or str(spill) in text:
        return (
            f"The day does not fit into the {settings.engine_memory >> 20:,} MiB that Sail may use,"
            " nor into the free disk space beside it. Nothing was changed in any table. Raise"
            " AGENT_ROLES_MEMORY_SHARE, free disk space under AGENT_ROLES_HOME, or run the day on"
            " Apache Spark"
        )
    return None


def _connected(target: str, config: Mapping[str, str]) -> SparkSession:
    ConnectSession.builder.channelBuilder(_To(target)).create()
    # The resource finds the session that was just made. It does not use the address.
    resource = LazyPySparkResource(spark_config={**config, "spark.remote": f"sc://{_LOOPBACK}"})
    session: SparkSession = resource.spark_session
    session.range(1).collect()
    return session


class _To(DefaultChannelBuilder):
    """A channel to a target that no URL can name, such as a Unix socket."""

    def __init__(self, target: str) -> None:
        # By default, gRPC sends a Unix socket's path as authority. The server refuses that.
        super().__init__(f"sc://{_LOOPBACK}", [("grpc.default_authority", "localhost")])
        self._target = target

    def toChannel(self) -> grpc.Channel:  # noqa: N802 (PySpark's name)
        return self._insecure_channel(self._target)


def _restore_handlers() -> None:
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.getsignal(signal.SIGINT))


def _close_session() -> None:
    if (session := ConnectSession.getActiveSession()) is not None:
        session.release_session_on_close = False  # The server ends, too.
        session.stop()
    # Otherwise this process and its children could start no session of another kind.
    os.environ.pop("SPARK_CONNECT_MODE_ENABLED", None)


def _stop(server: SparkConnectServer) -> None:
    """Stop the server. A task that hangs is not waited for."""
    ending = threading.Thread(target=server.stop, daemon=True)
    ending.start()
    ending.join(_SECONDS_TO_STOP)


@contextmanager
def _environment(settings: Settings, spill: Path) -> Iterator[None]:
    """Sail's settings. It reads them from environment variables when a server is made."""
    own = {
        "SAIL_EXECUTION__DEFAULT_PARALLELISM": str(cores()),
        "SAIL_EXECUTION__BATCH_SIZE": str(_BATCH_ROWS),
        "SAIL_RUNTIME__MEMORY_POOL__TYPE": "fair",
        "SAIL_RUNTIME__MEMORY_POOL__FAIR__MAX_SIZE": str(settings.engine_memory),
        "SAIL_RUNTIME__TEMPORARY_FILES__PATHS": f'["{spill}"]',
        # Between two days, a run may wait for another run. Sail's own limit is 15 minutes.
        "SAIL_SPARK__SESSION_TIMEOUT_SECS": str(7 * 86_400),
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
    """A folder for what does not fit into memory, and for the door.

    Folders that killed runs left are removed.
    """
    parent = home / "spill"
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not os.access(parent, os.W_OK | os.X_OK):
        raise SailError(
            f"{parent} belongs to another account. Nothing was changed in any table. Give this"
            " account an AGENT_ROLES_HOME of its own"
        )
    folder = parent / uuid.uuid4().hex[:12]
    with ExitStack() as held:
        with _locked(parent):
            for old in parent.iterdir():
                # It is another run's, or was, and that run has removed it.
                with (
                    suppress(BlockingIOError, FileNotFoundError),
                    _locked(old, fcntl.LOCK_NB),
                ):
                    remove_door(old)
                    shutil.rmtree(old, ignore_errors=True)
            folder.mkdir(mode=0o700)
            held.enter_context(_locked(folder))
            held.callback(shutil.rmtree, folder, ignore_errors=True)
        yield folder


@contextmanager
def _locked(folder: Path, flags: int = 0) -> Iterator[None]:
    """Hold a lock on the folder. It is released when the process ends, also when it is killed.

    Raises:
        BlockingIOError: with LOCK_NB, another process holds it.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | flags)
        yield
    finally:
        os.close(descriptor)
