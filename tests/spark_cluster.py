"""A real standalone Spark cluster on this machine, from what pyspark ships, and faults in it."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyspark

from agent_roles_dagster.java import java_home
from tests.processes import kill

# Read by every Python that starts with its folder on PYTHONPATH, so by Spark's workers.
_FAULTS = """
import os, time
from agent_roles_dagster.arrow_postgres import ArrowConnection
from pyspark import TaskContext

_commit, _ingest = ArrowConnection.commit, ArrowConnection.ingest
fault = os.environ["AGENT_ROLES_TEST_FAULT"]

def attempt(context):
    with open(os.environ["AGENT_ROLES_TEST_FAULT_LOG"], "a") as log:
        print(context.partitionId(), context.attemptNumber(), file=log)
    return context.attemptNumber()

def ingest(self, *args, **kwargs):
    context = TaskContext.get()
    rows = _ingest(self, *args, **kwargs)
    if attempt(context) == 0 and fault == "slow" and context.partitionId() == 0:
        time.sleep(20)
    return rows

def commit(self):
    context = TaskContext.get()
    _commit(self)
    if context is not None and context.attemptNumber() == 0 and fault == "die":
        os._exit(1)

ArrowConnection.commit = commit
ArrowConnection.ingest = ingest
"""


def faults(folder: Path, fault: str) -> dict[str, str]:
    """Environment in which a task's first attempt is faulty.

    Args:
        fault: "die": it dies right after it committed its rows; "slow": one of them takes its
            time after it wrote its rows. The attempts are logged: partition and attempt.
    """
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_FAULTS)
    return {
        "PYTHONPATH": os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH")))),
        "AGENT_ROLES_TEST_FAULT": fault,
        "AGENT_ROLES_TEST_FAULT_LOG": str(folder / "log"),
    }


@contextmanager
def standalone_cluster(folder: Path, env: dict[str, str]) -> Iterator[str]:
    """A master and two workers of a core each, at two addresses; yields the master's URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = Path(pyspark.__file__).parent
    environment = {
        **os.environ,
        **env,
        "JAVA_HOME": str(java_home(folder)),
        "SPARK_HOME": str(home),
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_NO_DAEMONIZE": "1",
    }

    def start(kind: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (folder / "cluster.log").open("ab") as log:
            return subprocess.Popen(
                [home / "bin" / "spark-class", f"org.apache.spark.deploy.{kind}", *arguments],
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    url = f"spark://127.0.0.1:{port}"
    processes = [
        start("master.Master", "--host", "127.0.0.1", "--port", str(port), "--webui-port", "0")
    ]
    for number in (2, 3):
        processes.append(
            start(
                "worker.Worker",
                "--host",
                f"127.0.0.{number}",
                "--webui-port",
                "0",
                "-c",
                "1",
                "-m",
                "1g",
                "-d",
                str(folder / f"worker{number}"),
                url,
            )
        )
    try:
        yield url
    finally:
        for process in processes:
            kill(process)
