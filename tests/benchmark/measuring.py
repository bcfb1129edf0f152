"""Wall time, CPU time and peak memory of a command and of the server it uses; what it wrote."""

import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil
import psycopg

from tests.processes import kill

_PAUSE = 0.2


@dataclass(frozen=True)
class Measured:
    """Seconds, bytes and rows; `memory` is the peak of each kind of process, by its name."""

    wall: float
    cpu: float
    server_cpu: float
    memory: Mapping[str, int]
    rows: int
    wal: int


class Failed(RuntimeError):
    """The command failed, or took too long; with the end of what it printed."""


def measure(
    command: Sequence[str], env: Mapping[str, str], server: str, timeout: float
) -> Measured:
    """Run the command to its end and measure it.

    Args:
        server: URL of the database it works on; its whole server counts as the server.
        timeout: seconds.

    Raises:
        Failed: no measure of it.
    """
    with psycopg.connect(server, autocommit=True) as connection:
        postmaster = _postmaster(connection)
        before = _written(connection)
        watch = _Watch(postmaster)
        started = time.monotonic()
        process = subprocess.Popen(
            command,
            env=dict(env),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        watch.start(process.pid)
        try:
            output, _ = process.communicate(timeout=timeout)
            wall = time.monotonic() - started
        except subprocess.TimeoutExpired:
            kill(process)
            raise Failed(f"not done after {timeout:.0f} s") from None
        finally:
            watch.stop()
        if process.returncode:
            raise Failed(f"{command} failed:\n{output.decode(errors='replace')[-4000:]}")
        after = _written(connection)
    return Measured(
        wall,
        sum(watch.cpu[False].values()),
        sum(watch.cpu[True].values()) - watch.cpu_before,
        dict(watch.memory),
        after[0] - before[0],
        after[1] - before[1],
    )


def _postmaster(connection: psycopg.Connection) -> psutil.Process:
    backend = psutil.Process(connection.info.backend_pid)
    return backend.parent() or backend


def _written(connection: psycopg.Connection) -> tuple[int, int]:
    # Backends report their counters when they end, or after a second without work.
    time.sleep(1.5)
    row = connection.execute(
        # Of tables that are dropped since, too.
        "SELECT tup_inserted + tup_updated + tup_deleted,"
        " (pg_current_wal_lsn() - '0/0')::bigint"
        " FROM pg_stat_database WHERE datname = current_database()"
    ).fetchone()
    assert row is not None
    return row[0] or 0, row[1]


class _Watch:
    """Samples the process trees; CPU of a process is its last sample's, so a little is missed."""

    def __init__(self, postmaster: psutil.Process) -> None:
        self._postmaster = postmaster
        self.cpu: dict[bool, dict[int, float]] = {True: {}, False: {}}
        self.memory: defaultdict[str, int] = defaultdict(int)
        self._sample_tree(postmaster, is_server=True)
        self.cpu_before = sum(self.cpu[True].values())
        self.memory.clear()
        self._stopped = threading.Event()

    def start(self, pid: int) -> None:
        def sample() -> None:
            while not self._stopped.wait(_PAUSE):
                totals: defaultdict[str, int] = defaultdict(int)
                for root, is_server in ((pid, False), (self._postmaster.pid, True)):
                    with suppress(psutil.NoSuchProcess):  # It has just ended.
                        tree = psutil.Process(root)
                        for name, size in self._sample_tree(tree, is_server=is_server):
                            totals[name] += size
                for name, size in totals.items():
                    self.memory[name] = max(self.memory[name], size)

        self._thread = threading.Thread(target=sample, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _sample_tree(self, root: psutil.Process, *, is_server: bool) -> list[tuple[str, int]]:
        sizes = []
        for process in [root, *root.children(recursive=True)]:
            try:
                times = process.cpu_times()
                self.cpu[is_server][process.pid] = times.user + times.system
                memory = process.memory_info()
                # The server's shared buffers would count once for each of its processes.
                size = memory.rss - (memory.shared if is_server else 0)
                sizes.append((self._kind(process, root, is_server), size))
            except psutil.Error:
                continue
        return sizes

    def _kind(self, process: psutil.Process, root: psutil.Process, is_server: bool) -> str:
        if is_server:
            return "postgres"
        if process.name() == "java":
            return "java"
        return "driver" if process.pid == root.pid else "workers"
