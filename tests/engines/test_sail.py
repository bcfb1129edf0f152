"""Sail in the run's own process: its door, its bounds, its end, and the versions that it knows."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pyarrow as pa
import pyspark
import pytest
from pysail.spark import SparkConnectServer
from pyspark.errors import PySparkException

from agent_roles_dagster.engines import door, sail
from agent_roles_dagster.engines.errors import SailError
from agent_roles_dagster.engines.start import Engine, spark_resource, started
from agent_roles_dagster.engines.tasks import map_in_arrow
from agent_roles_dagster.settings import Settings
from tests.conftest import Pipeline
from tests.processes import killed_at_the_end, start, stop
from tests.worlds import tables, write_day

IDS = pa.schema([("id", pa.int64())])
CONNECT = "import socket, sys; there = socket.create_connection(('127.0.0.1', int(sys.argv[1])), 5)"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_env({"AGENT_ROLES_HOME": str(tmp_path)})


@pytest.fixture
def ports(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The ports at which servers listened when they had been started, as they are."""
    seen: list[int] = []
    began = SparkConnectServer.start

    def noted(server: SparkConnectServer, **options: bool) -> None:
        began(server, **options)
        seen.append(server.listening_address[1])

    monkeypatch.setattr(SparkConnectServer, "start", noted)
    return seen


def rows(engine: Engine) -> int:
    return engine.session.range(1000).count()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another account")
def test_another_account_is_refused_while_the_queries_go_on(
    settings: Settings, ports: list[int]
) -> None:
    with started(spark_resource(settings), settings) as engine:
        assert rows(engine) == 1000
        other = subprocess.run(
            ["/usr/bin/python3", "-c", CONNECT, str(ports[0])],
            user=pwd.getpwnam("nobody").pw_uid,
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
        assert "ConnectionRefusedError" in other.stderr
        assert rows(engine) == 1000


def test_a_connection_that_came_before_ours_ends_the_run(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = SparkConnectServer.start
    others = []

    def with_a_stranger(server: SparkConnectServer, **options: bool) -> None:
        began(server, **options)
        command = [sys.executable, "-c", CONNECT + "; print(flush=True); sys.stdin.read()"]
        port = str(server.listening_address[1])
        other = subprocess.Popen([*command, port], stdin=-1, stdout=-1)
        assert other.stdout is not None
        other.stdout.readline()
        others.append(other)

    monkeypatch.setattr(SparkConnectServer, "start", with_a_stranger)
    try:
        with (
            pytest.raises(SailError, match=r"Another process .* was cut off\. No row"),
            started(spark_resource(settings), settings),
        ):
            pytest.fail("it went on")
    finally:
        for other in others:
            other.communicate()


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only Linux lets root filter, surely"
)
def test_who_comes_while_the_port_is_open_is_not_let_in_even_if_he_leaves_at_once(
    settings: Settings, ports: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    let_in_only = door._let_in_only
    said = []

    def and_then_a_stranger_comes(descriptor: int, port: int) -> None:
        let_in_only(descriptor, port)
        with pytest.raises(TimeoutError) as refused:
            socket.create_connection(("127.0.0.1", ports[0]), timeout=1)
        said.append(refused.value)

    monkeypatch.setattr(door, "_let_in_only", and_then_a_stranger_comes)
    with started(spark_resource(settings), settings) as engine:
        assert rows(engine) == 1000
    assert len(said) == 1


def test_where_the_port_can_not_be_closed_a_line_says_so(
    settings: Settings,
    ports: list[int],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(door, "_DESCRIPTORS", "/not/there")
    with started(spark_resource(settings), settings) as engine:
        assert rows(engine) == 1000
    assert [record.getMessage() for record in caplog.records if record.name == door.__name__] == [
        "This operating system does not let the port of Sail's server be closed: while a day is"
        f" read, other accounts of this machine can connect to 127.0.0.1:{ports[0]}"
    ]


def test_the_server_ends_with_the_session(settings: Settings, ports: list[int]) -> None:
    for _ in range(3):
        threads = threading.active_count()
        with started(spark_resource(settings), settings) as engine:
            rows(engine)
        assert threading.active_count() <= threads + 2
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
    assert "SPARK_CONNECT_MODE_ENABLED" not in os.environ
    assert not [name for name in os.environ if name.startswith("SAIL_")]


def test_a_pyspark_that_sail_does_not_know_is_named(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pyspark, "__version__", "4.99.0")
    with (
        pytest.raises(SailError, match=r"pyspark 4\.99\.0 is not supported by pysail \d"),
        started(spark_resource(settings), settings) as engine,
    ):
        rows(engine)


def test_what_a_killed_run_spilled_is_removed_and_a_running_ones_is_not(settings: Settings) -> None:
    left = settings.home / "spill" / "of a killed run"
    left.mkdir(parents=True)
    (left / "rows").write_text("...")
    with started(spark_resource(settings), settings):
        (running,) = (settings.home / "spill").iterdir()
        assert running != left
        assert running.stat().st_mode & 0o777 == 0o700
        with sail._spill_folder(settings.home) as another:
            assert {running, another} == set((settings.home / "spill").iterdir())
    assert list((settings.home / "spill").iterdir()) == []


def test_a_run_that_ends_while_another_one_looks_for_what_is_left_is_not_in_its_way(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending = settings.home / "spill" / "of a run that ends"
    ending.mkdir(parents=True)
    iterdir = Path.iterdir

    def then_it_ends(folder: Path) -> Iterator[Path]:
        for found in list(iterdir(folder)):
            shutil.rmtree(found)
            yield found

    monkeypatch.setattr(Path, "iterdir", then_it_ends)
    with sail._spill_folder(settings.home) as folder:
        assert folder.is_dir()


@pytest.mark.parametrize("length", [1, 80])
def test_the_door_of_a_killed_run_is_removed_with_what_it_spilled(length: int) -> None:
    """Also where the folder's path is too long for a Unix socket, so that the door is elsewhere."""
    code = (
        "import sys, time; from agent_roles_dagster.engines import start;"
        "from agent_roles_dagster.settings import Settings;"
        "settings = Settings.from_env({'AGENT_ROLES_HOME': sys.argv[1]});"
        "running = start.started(start.spark_resource(settings), settings);"
        "running.__enter__(); print('runs', flush=True); time.sleep(600)"
    )
    with tempfile.TemporaryDirectory(dir="/tmp") as made:
        home = Path(made, "h" * length)
        command = [sys.executable, "-c", code, str(home)]
        env = {**os.environ, "TMPDIR": made}
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=env) as run:
            try:
                assert run.stdout is not None
                assert run.stdout.readline() == b"runs\n"
                assert len(list(Path(made).glob("roles-*"))) == (length > 60)
            finally:
                run.kill()
        with sail._spill_folder(home) as folder:
            assert list((home / "spill").iterdir()) == [folder]
        assert list(Path(made).iterdir()) == [home]


def test_a_batch_of_another_schema_fails_and_is_not_taken_for_nulls(settings: Settings) -> None:
    wrong = pa.RecordBatch.from_pydict({"id": ["1"]})
    with started(spark_resource(settings), settings) as engine:
        frame = map_in_arrow(engine.session.range(1), lambda _: iter([wrong]), IDS)
        with pytest.raises(PySparkException, match="WrongBatch"):
            frame.collect()


def _many_pairs(pipeline: Pipeline) -> None:
    for day in range(1, 3):
        lines = (
            f'{{"id": {role}, "agents": {list(range(day, day + 500))}}}\n' for role in range(400)
        )
        manifest = f'{{"observed_at": "2026-01-0{day}T06:00:00Z"}}'
        pipeline.write(f"day{day}", {"a.jsonl": "".join(lines), "_manifest.json": manifest})


@contextmanager
def _spilled(folder: Path) -> Iterator[list[int]]:
    """How many bytes are spilled, looked at every few milliseconds until the block ends."""
    seen: list[int] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.005):
            with suppress(FileNotFoundError):
                seen.append(sum(path.lstat().st_size for path in folder.glob("*/*/*")))

    watching = threading.Thread(target=watch)
    watching.start()
    yield seen
    ended.set()
    watching.join()


@pytest.mark.parametrize("size", [300_000, 20_000_000])
def test_with_a_tiny_pool_the_tables_are_equal_or_a_sentence_says_why_not(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    _many_pairs(pipeline)
    assert pipeline.run("day1").success
    before = tables(pipeline.database)
    monkeypatch.setenv("SAIL_RUNTIME__MEMORY_POOL__FAIR__MAX_SIZE", str(size))
    with _spilled(pipeline.landing.parent / "home" / "spill") as spilled:
        result = pipeline.run("day2")
    if size < 1_000_000:
        assert not result.success
        failure = result.failure_data_for_node("stage_agent_roles")
        assert failure is not None
        assert "The day does not fit into the" in str(failure.error)
        assert tables(pipeline.database) == before
        return
    assert result.success
    assert max(spilled) > 0, "some of it went to disk"
    small = tables(pipeline.database)
    monkeypatch.delenv("SAIL_RUNTIME__MEMORY_POOL__FAIR__MAX_SIZE")
    assert pipeline.run("day2").success
    assert tables(pipeline.database) == small
    assert len(small["staging"]) == 200_000 + 200_000 + 400


# What a run of day1 waits for, since this test holds it, while it reads and while it loads.
_HELD = {"reading": "agent_role_changes", "loading": "agent_roles_load_claims_"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("phase", _HELD)
def test_a_signal_ends_a_run_at_once_and_nothing_is_published(
    pipeline: Pipeline, tmp_path: Path, phase: str, number: signal.Signals
) -> None:
    write_day(pipeline.landing, "day1", seed=1)
    assert pipeline.run("day1").success
    before = tables(pipeline.database)
    write_day(pipeline.landing, "day1", seed=2)
    env = {
        "AGENT_ROLES_LANDING": str(pipeline.landing),
        "AGENT_ROLES_DATABASE_URL": pipeline.database,
        "AGENT_ROLES_HOME": str(tmp_path / "home"),
    }
    with psycopg.connect(pipeline.database) as holder:
        if phase == "reading":
            holder.execute(f"LOCK TABLE {_HELD[phase]} IN ACCESS EXCLUSIVE MODE".encode())
        process = start("day1", env, tmp_path / "log")
        with killed_at_the_end(process):
            _wait(process, lambda: _waiting(pipeline, holder, phase))
            process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)
            assert stop(process, patience=0) == [], (tmp_path / "log").read_text()[-3000:]
    # Not the number of a signal either: aborted, it would be 134 or -6.
    assert process.returncode == 1, (tmp_path / "log").read_text()[-3000:]
    assert tables(pipeline.database) == before
    assert list((tmp_path / "home" / "spill").iterdir()) == []


def _waiting(pipeline: Pipeline, holder: "psycopg.Connection[tuple[str]]", phase: str) -> bool:
    """Whether a task waits for what this test holds, which it takes hold of as soon as it can."""
    if phase == "loading" and holder.info.transaction_status == 0:
        query = "SELECT oid::REGCLASS::TEXT FROM pg_class WHERE relname LIKE %s AND relkind = 'r'"
        if not (found := pipeline.rows(query, f"{_HELD[phase]}%")):
            return False
        holder.execute(f"LOCK TABLE {found[0][0]} IN SHARE MODE".encode())
    return bool(pipeline.rows("SELECT pid FROM pg_locks WHERE NOT granted"))


def _wait(process: "subprocess.Popen[bytes]", until: Callable[[], bool]) -> None:
    while not until():
        assert process.poll() is None


def test_another_home_needs_no_more_than_its_spill_folder(settings: Settings) -> None:
    with started(spark_resource(settings), settings) as engine:
        rows(engine)
    assert [path.name for path in settings.home.iterdir()] == ["spill"]
    shutil.rmtree(settings.home / "spill")
