"""The embedded server: starts by itself, keeps its data, ends with its last user, opens nothing."""

import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import pytest

from agent_roles_dagster.embedded_postgres import running_server, server_folder

USE = """
import sys, psycopg
from pathlib import Path
from agent_roles_dagster.embedded_postgres import running_server
with psycopg.connect(running_server(Path(sys.argv[1])), autocommit=True) as connection:
    print(connection.execute(sys.argv[2]).fetchone()[0], flush=True)
sys.stdin.read()
"""
PID = "SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)::int"


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that everybody may enter, as a home usually is."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder) / "home"


def _use(home: Path, query: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", USE, str(home), query],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _end(process: subprocess.Popen[str]) -> None:
    process.communicate(timeout=60)
    assert process.returncode == 0


def _is_alive(pid: int) -> bool:
    # A process that ended may wait as a zombie for an init that takes its time.
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def test_the_server_ends_with_its_last_user_and_keeps_its_data(home: Path) -> None:
    first = _use(home, PID)
    pid = int(_answer(first))
    others = [_use(home, PID) for _ in range(3)]
    assert {int(_answer(other)) for other in others} == {pid}, "all use the one server"
    _end(first)
    assert _is_alive(pid), "others still use it"
    for other in others:
        _end(other)
    assert not _is_alive(pid)
    maker = _use(home, "CREATE TABLE kept AS SELECT 42 AS n; SELECT 1")
    maker.communicate(timeout=60)
    again = _use(home, "SELECT n FROM kept")
    assert _answer(again) == "42"
    _end(again)


def test_a_user_killed_without_warning_does_not_keep_the_server_for_ever(home: Path) -> None:
    killed = _use(home, PID)
    pid = int(_answer(killed))
    killed.kill()
    killed.wait()
    assert _is_alive(pid)
    next_user = _use(home, PID)
    assert int(_answer(next_user)) == pid
    _end(next_user)
    assert not _is_alive(pid)


def test_a_killed_server_starts_again_even_if_its_process_id_is_somebody_elses(
    home: Path,
) -> None:
    user = _use(home, PID)
    pid = int(_answer(user))
    os.kill(pid, signal.SIGKILL)
    user.communicate(timeout=60)
    while _is_alive(pid):
        time.sleep(0.05)
    pid_file = server_folder(home) / "data" / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(os.getppid()), *lines[1:]]) + "\n")
    again = _use(home, PID)
    assert int(_answer(again)) != pid
    _end(again)


def test_an_unfinished_cluster_of_a_killed_first_start_is_made_again(home: Path) -> None:
    folder = server_folder(home)
    (folder / "data.new").mkdir(parents=True)
    (folder / "data.new" / "PG_VERSION").write_text("18\n")
    user = _use(home, "SELECT 7")
    assert _answer(user) == "7"
    _end(user)


def test_a_long_path_is_no_hindrance(home: Path) -> None:
    user = _use(home / ("x" * 60) / ("y" * 60), "SELECT 7")
    assert _answer(user) == "7"
    _end(user)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has a choice of accounts")
def test_a_home_that_others_cannot_enter_is_not_opened_for_roots_server() -> None:
    with tempfile.TemporaryDirectory() as closed:
        home = Path(closed) / "home"
        user = _use(home, "SELECT 7")
        assert _answer(user) == "7"
        _end(user)
        assert stat.S_IMODE(Path(closed).stat().st_mode) == 0o700
        assert not server_folder(home).is_relative_to(closed)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_somebody_who_is_not_root_has_a_server_of_their_own(home: Path) -> None:
    home.mkdir()
    os.chown(home, 65534, 65534)
    is_open = subprocess.run(["test", "-x", os.path.realpath(sys.executable)], user=65534)
    if is_open.returncode != 0:
        pytest.skip("this Python is closed to others")
    said = subprocess.run(
        [sys.executable, "-c", USE, str(home), "SELECT current_setting('data_directory')"],
        user=65534,
        group=65534,
        extra_groups=[],
        cwd="/",
        env={"PYTHONPATH": os.pathsep.join(sys.path), "PATH": os.environ["PATH"]},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.stdout.strip() == str(home / "postgres" / "data"), said.stderr


def test_asking_twice_in_a_process_gives_the_same_server(server: str) -> None:
    if "agent-roles-tests-" not in server:
        pytest.skip("the tests use a server that was given")
    folder = psycopg.conninfo.conninfo_to_dict(server)["host"]
    assert running_server(Path(str(folder)).parent.parent) == server
