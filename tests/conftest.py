"""Fixtures: a real PostgreSQL server, a database for each test, and the job run in this process."""

import atexit
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import dagster as dg
import fsspec
import psycopg
import pytest
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value
from moto.server import ThreadedMotoServer
from s3fs import S3FileSystem

from agent_roles_dagster.definitions import defs
from agent_roles_dagster.orchestration.partitions import sync_day_partitions
from agent_roles_dagster.postgres.embedded.server import running_server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let every process begin with its share of the long tests, the longest first.

    The long tests have a timeout of their own. `--dist worksteal` gives each process an equal part
    of the list. A process that is done takes over half of what another one still has.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    marks = [(item, item.get_closest_marker("timeout")) for item in items]
    long = [(mark.args[0], item) for item, mark in marks if mark]
    longest_first = [item for _, item in sorted(long, key=lambda each: each[0], reverse=True)]
    short = iter([item for item, mark in marks if not mark])
    ordered: list[pytest.Item] = []
    end = 0
    for worker in range(workers):
        ordered += longest_first[worker::workers]
        end += (len(items) - end) // (workers - worker)  # As xdist divides the list.
        ordered += islice(short, max(0, end - len(ordered)))
    items[:] = [*ordered, *short]


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """URL of a server's maintenance database: the one given, else an embedded one of the tests'."""
    if given := os.environ.get("AGENT_ROLES_TEST_SERVER_URL"):
        yield given
        return
    home = Path(tempfile.mkdtemp(prefix="agent-roles-tests-"))
    home.chmod(0o755)
    # Registered before the server's own, so that it runs after the server has stopped.
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    yield running_server(home)


def with_database(server: str, name: str) -> str:
    """URL of another database of the server."""
    parts = psycopg.conninfo.conninfo_to_dict(server)
    return f"postgresql://{parts.get('user', '')}@/{name}?host={parts.get('host', '')}"


@contextmanager
def empty_database(server: str) -> Iterator[str]:
    """URL of a new database, which is dropped at the end."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    yield with_database(server, name)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def database(server: str) -> Iterator[str]:
    """URL of an empty database."""
    with empty_database(server) as url:
        yield url


@dataclass
class Pipeline:
    """The real job over one landing folder and one database."""

    landing: Path
    database: str
    instance: dg.DagsterInstance
    results: list[dg.ExecuteInProcessResult] = field(default_factory=list)

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Point the settings at this pipeline."""
        monkeypatch.setenv("AGENT_ROLES_HOME", str(self.landing.parent / "home"))
        monkeypatch.setenv("AGENT_ROLES_LANDING", str(self.landing))
        monkeypatch.setenv("AGENT_ROLES_DATABASE_URL", self.database)

    def land(self, source: Path, sync_day: str) -> None:
        """Land a folder as the day's dump, replacing what the day held."""
        target = self.landing / sync_day
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)

    def write(self, sync_day: str, files: dict[str, str | bytes]) -> None:
        """Land files given by their content."""
        target = self.landing / sync_day
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for name, content in files.items():
            data = content if isinstance(content, bytes) else content.encode()
            (target / name).write_bytes(data)

    def run(
        self, sync_day: str, *, accept_removals: str | None = None, select: str = "*"
    ) -> dg.ExecuteInProcessResult:
        """Materialise the day; a failure is in the result, not raised."""
        config: dict[str, Any] = {}
        if accept_removals:
            config = {
                "ops": {"stage_agent_roles": {"config": {"accept_removals": accept_removals}}}
            }
        selection = dg.AssetSelection.from_coercible(select.split(","))
        job = defs.resolve_implicit_global_asset_job_def()
        keys = selection.resolve(defs.resolve_asset_graph())
        result = job.execute_in_process(
            instance=self.instance,
            partition_key=sync_day,
            run_config=config,
            asset_selection=list(keys),
            raise_on_error=False,
        )
        self.results.append(result)
        return result

    def failed_days(self, asset: str) -> set[str]:
        """The partitions that the interface shows as failed."""
        key = dg.AssetKey(asset)
        known = get_and_update_asset_status_cache_value(self.instance, key, sync_day_partitions)
        if known is None:  # It was never planned.
            return set()
        failed = known.deserialize_failed_partition_subsets(sync_day_partitions)
        return set(failed.get_partition_keys())

    def outcome(self, result: dg.ExecuteInProcessResult) -> str:
        """How a run ended: "staged", or what its failure says."""
        if result.success:
            return "staged"
        for event in result.all_events:
            data = event.event_specific_data
            failure = getattr(data, "user_failure_data", None)
            if failure is not None and "outcome" in failure.metadata:
                return str(failure.metadata["outcome"].value)
        return "failed"

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """The rows of a query on the database."""
        with psycopg.connect(self.database) as connection:
            return connection.execute(query.encode(), parameters or None).fetchall()

    def execute(self, statement: str) -> None:
        """Do to the tables what somebody else might."""
        with psycopg.connect(self.database) as connection:
            connection.execute(statement.encode())


@pytest.fixture
def pipeline(tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    """A pipeline with nothing landed and nothing staged."""
    landing = tmp_path / "admin_roles"
    landing.mkdir()
    with dg.DagsterInstance.ephemeral(
        settings={"python_logs": {"python_log_level": "INFO"}}
    ) as instance:
        pipeline = Pipeline(landing, database, instance)
        pipeline.use(monkeypatch)
        yield pipeline


@pytest.fixture
def object_store() -> Iterator[dict[str, str]]:
    """Environment with which S3 is a server of this machine's, that has an empty bucket "dumps"."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        env = {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "a-key",
            "AWS_SECRET_ACCESS_KEY": "a-secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        for name, value in env.items():
            patch.setenv(name, value)
        # Those of another server would be used again.
        S3FileSystem.clear_instance_cache()
        fsspec.filesystem("s3").mkdir("dumps")
        yield env
        # What is in it belongs to this process, not to the server.
        fsspec.filesystem("s3").rm("dumps", recursive=True)
    S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.fixture
def check_results() -> Callable[[dg.ExecuteInProcessResult], dict[str, Any]]:
    """The run's check evaluations for its own day, by the check's name."""
    return lambda result: {
        each.check_name: each
        for each in result.get_asset_check_evaluations()
        if each.partition == result.dagster_run.tags["dagster/partition"]
    }
