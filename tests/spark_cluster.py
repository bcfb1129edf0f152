"""Real Spark clusters on this machine, from what pyspark ships, and faults in them."""

import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path

import pyspark
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.docs import block
from tests.java import java_for_tests
from tests.processes import killed_at_the_end

_HOME = Path(pyspark.__file__).parent

# Read by every Python that starts with its folder on PYTHONPATH, so by Spark's workers.
_FAULTS = """
import os, time
from agent_roles_dagster.postgres.arrow import ArrowConnection
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
    return {
        **_at_start_of_python(folder, _FAULTS),
        "AGENT_ROLES_TEST_FAULT": fault,
        "AGENT_ROLES_TEST_FAULT_LOG": str(folder / "log"),
    }


# As above. This package is not there, unless a job brings it, and of others only some are.
_BARE = """
import os, sys
from importlib.machinery import PathFinder

class Bare(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name in {refused} else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Bare
own = os.path.join("agent_roles_dagster", "__init__.py")
sys.path[:] = [place for place in sys.path if not os.path.isfile(os.path.join(place, own))]
"""


def bare_workers(folder: Path, *packages: str) -> dict[str, str]:
    """Environment in which workers have what docs/clusters.md says, these packages, and no more."""
    listed = block("sh", "pip install 'pandas")
    waiting = [Requirement(text) for text in ("pyspark", *shlex.split(listed)[2:], *packages)]
    there: set[str] = set()
    while waiting:
        one = waiting.pop()
        there.add(canonicalize_name(one.name))
        needed = map(Requirement, metadata.requires(one.name) or ())
        waiting += [
            each
            for each in needed
            if canonicalize_name(each.name) not in there
            and (
                each.marker is None
                or any(each.marker.evaluate({"extra": extra}) for extra in ("", *one.extras))
            )
        ]
    refused = {
        name
        for name, owners in metadata.packages_distributions().items()
        if not there.intersection(map(canonicalize_name, owners)) and name != "agent_roles_dagster"
    }
    assert "dagster" in refused
    return _at_start_of_python(folder, _BARE.format(refused=refused))


def _at_start_of_python(folder: Path, code: str) -> dict[str, str]:
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(code)
    places = filter(None, (str(folder), os.environ.get("PYTHONPATH")))
    return {"PYTHONPATH": os.pathsep.join(places)}


@contextmanager
def standalone_cluster(folder: Path, env: dict[str, str]) -> Iterator[str]:
    """A master and two workers of a core each, at two addresses; yields the master's URL."""
    with standalone_workers(folder, env) as (url, _):
        yield url


@contextmanager
def standalone_workers(
    folder: Path, env: dict[str, str]
) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """The same; yields the workers' processes, too.

    A worker's executors are in its process group.
    """
    port = free_port()
    url = f"spark://127.0.0.1:{port}"
    spark_class = [str(_HOME / "bin" / "spark-class")]

    def start(kind: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [*spark_class, f"org.apache.spark.deploy.{kind}", "--webui-port", "0", *arguments]
        return _start(folder, env, command)

    master = start("master.Master", "--host", "127.0.0.1", "--port", str(port))
    workers = [
        start(
            *("worker.Worker", "--host", host, "-c", "1", "-m", "1g"),
            *("-d", str(folder / host), url),
        )
        for host in ("127.0.0.2", "127.0.0.3")
    ]
    with killed_at_the_end(master, *workers):
        yield url, workers


@contextmanager
def connect_server(folder: Path, env: dict[str, str], master: str = "local[2]") -> Iterator[str]:
    """A Spark Connect server that answers, with two cores of this machine; yields its URL."""
    port = free_port()
    settings = {
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.connect.grpc.binding.port": port,
        "spark.ui.enabled": "false",
    }
    server = _start(
        folder,
        {**env, "SPARK_LOCAL_IP": "127.0.0.1"},
        [
            *(str(_HOME / "bin" / "spark-submit"), "--master", master),
            *(part for name, value in settings.items() for part in ("--conf", f"{name}={value}")),
            *("--class", "org.apache.spark.sql.connect.service.SparkConnectServer"),
            "spark-internal",
        ],
    )
    with killed_at_the_end(server):
        while server.poll() is None:
            with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.1)
        assert server.poll() is None, (folder / "cluster.log").read_text()[-3000:]
        yield f"sc://127.0.0.1:{port}"


def free_port() -> int:
    """A port at which nobody listens just now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _start(folder: Path, env: dict[str, str], command: list[str]) -> subprocess.Popen[bytes]:
    """Start a part of Spark, which stays in the foreground and a process group of its own."""
    with (folder / "cluster.log").open("ab") as log:
        return subprocess.Popen(
            command,
            cwd=folder,
            env={
                **os.environ,
                **env,
                "JAVA_HOME": java_for_tests(),
                "SPARK_HOME": str(_HOME),
                "SPARK_LOG_DIR": str(folder),
                "PYSPARK_PYTHON": sys.executable,
                # Short-lived JVMs that compile less start faster.
                "JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
            },
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
