"""The real command in processes of its own, as a person or the daemon starts it."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tests.java import java_for_tests

COMMAND = [sys.executable, "-m", "dagster", "asset", "materialize"]
COMMAND += ["-m", "agent_roles_dagster.definitions", "--select", "*", "--partition"]
LOAD_COMMAND = [sys.executable, "-m", "dagster", "job", "execute"]
LOAD_COMMAND += ["-m", "agent_roles_dagster.definitions", "-j", "load_landed_days"]


def start(sync_day: str, env: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start the command for a day in a process group of its own, without a DAGSTER_HOME."""
    return start_command([*COMMAND, sync_day], env, log)


def start_command(
    command: Sequence[str], env: Mapping[str, str], log: Path
) -> subprocess.Popen[bytes]:
    """The same for any command; with a DAGSTER_HOME if `env` has one."""
    here = tempfile.mkdtemp(dir=log.parent)
    clean = {key: value for key, value in os.environ.items() if key != "DAGSTER_HOME"}
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            cwd=here,
            env={**clean, "JAVA_HOME": java_for_tests(), **env},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL the whole process group: the command, its JVM, its Python workers."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def sessions(*processes: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """What lives of the processes' sessions: they, and whatever they started."""
    ours = {process.pid for process in processes}
    found = []
    for each in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            if os.getsid(each.pid) in ours and each.status() != psutil.STATUS_ZOMBIE:
                found.append(each)
    return found


def stop(*processes: subprocess.Popen[bytes], patience: float = 120) -> list[str]:
    """SIGTERM to each, as an operating system or a container's runtime stops them.

    Returns:
        The names of what lives on of their sessions.
    """
    for process in processes:
        process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + patience
    while (left := sessions(*processes)) and time.monotonic() < deadline:
        for process in processes:
            process.poll()
        time.sleep(0.1)
    return [each.name() for each in left if each.is_running()]


@contextmanager
def killed_at_the_end(*processes: subprocess.Popen[bytes]) -> Iterator[None]:
    """Leaves no process behind, whatever the test does."""
    try:
        yield
    finally:
        for process in processes:
            kill(process)
