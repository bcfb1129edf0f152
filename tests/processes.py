"""The real command in processes of its own, as a person or the daemon starts it."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

COMMAND = [sys.executable, "-m", "dagster", "asset", "materialize"]
COMMAND += ["-m", "agent_roles_dagster.definitions", "--select", "*", "--partition"]


def start(sync_day: str, env: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start the command for a day in a process group of its own, without a DAGSTER_HOME."""
    here = tempfile.mkdtemp(dir=log.parent)
    clean = {key: value for key, value in os.environ.items() if key != "DAGSTER_HOME"}
    with log.open("ab") as output:
        return subprocess.Popen(
            [*COMMAND, sync_day],
            cwd=here,
            env={**clean, **env},
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


@contextmanager
def killed_at_the_end(*processes: subprocess.Popen[bytes]) -> Iterator[None]:
    """Leaves no process behind, whatever the test does."""
    try:
        yield
    finally:
        for process in processes:
            kill(process)
