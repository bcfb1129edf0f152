"""A process killed at any moment leaves each table as before or as after, and can be run again.

`AGENT_ROLES_TEST_KILLS` says how often the command is killed (60 if not set); for several hundred:

    AGENT_ROLES_TEST_KILLS=300 pytest tests/test_crashes.py -s --timeout 7200
"""

import os
import random
import subprocess
import time
from collections import Counter
from pathlib import Path

import psycopg
import pytest

from agent_roles_dagster.embedded_postgres import running_server
from tests.conftest import Pipeline
from tests.processes import killed_at_the_end, start
from tests.worlds import TABLES, Tables, tables, write_day

KILLS = int(os.environ.get("AGENT_ROLES_TEST_KILLS", "60"))
DAYS = ("day1", "day2", "day3")
pytestmark = pytest.mark.timeout(600 + 40 * KILLS)
# day2 lands again and again, as one or the other of these.
VERSIONS = (2, 20)
PHASES = ("start-up and raw_roles", "before staging", "staging")
PHASES += ("checks and mapping", "after the mapping")


@pytest.fixture
def reference(pipeline: Pipeline) -> list[Tables]:
    """The tables with day2 in its one version and in its other, by undisturbed runs."""
    found = []
    for day in DAYS:
        write_day(pipeline.landing, day, seed=int(day[-1]))
    for version in VERSIONS:
        write_day(pipeline.landing, "day2", seed=version)
        for day in DAYS:
            assert pipeline.run(day).success
        found.append(tables(pipeline.database))
    return found


# In halves, so that pytest's two processes share them.
@pytest.mark.parametrize("half", ["first", "second"])
def test_a_command_killed_at_any_moment_leaves_each_table_as_before_or_as_after(
    reference: list[Tables], pipeline: Pipeline, tmp_path: Path, class_archive_home: Path, half: str
) -> None:
    chance = random.Random(os.environ.get("AGENT_ROLES_TEST_SEED", "kill") + half)
    env = {
        "AGENT_ROLES_LANDING": str(pipeline.landing),
        "AGENT_ROLES_DATABASE_URL": pipeline.database,
        "AGENT_ROLES_HOME": str(class_archive_home),
        "AGENT_ROLES_SPARK_MASTER": "local[1]",
        # A short-lived JVM that compiles less starts faster.
        "JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1",
    }
    phases: Counter[str] = Counter()
    started = time.monotonic()
    _complete(env, tmp_path)
    life = time.monotonic() - started
    target, log = 1, tmp_path / "log"
    while phases.total() < KILLS / 2:
        target = 1 - target
        write_day(pipeline.landing, "day2", seed=VERSIONS[target])
        left_behind = _load_tables(pipeline.database)
        process = start("day2", env, log)
        with killed_at_the_end(process):
            # Any moment of its life, or one soon after a phase began: the later ones are short.
            if chance.random() < 0.75:
                _sleep_while_alive(process, chance.uniform(0, 0.95 * life))
            else:
                aim = chance.choice(PHASES[1:])
                while process.poll() is None and PHASES.index(aim) > PHASES.index(
                    _phase(pipeline.database, log, left_behind)
                ):
                    time.sleep(0.05)
                _sleep_while_alive(process, chance.uniform(0, 0.05 * life))
            alive = process.poll() is None
            phase = _phase(pipeline.database, log, left_behind) if alive else "completed"
        found = tables(pipeline.database)
        for name in TABLES:
            assert found[name] in (reference[0][name], reference[1][name]), (phase, name)
        if not alive:
            assert process.returncode == 0
            assert found == reference[target]
        elif phases[phase] % 10 == 5:
            _complete(env, tmp_path)
            assert tables(pipeline.database) == reference[target]
        if alive:
            phases[phase] += 1
        log.unlink()
    print("killed:", dict(phases))
    _complete(env, tmp_path)
    assert tables(pipeline.database) == reference[target]
    assert len(phases) >= 3, "the kills reached too few phases"


def test_postgresql_killed_in_the_middle_loses_nothing(tmp_path: Path) -> None:
    home, landing = tmp_path / "home", tmp_path / "admin_roles"
    env = {
        "AGENT_ROLES_LANDING": str(landing),
        "AGENT_ROLES_HOME": str(home),
        "AGENT_ROLES_DATABASE_URL": "",
        "AGENT_ROLES_SPARK_MASTER": "local[1]",
    }
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_uid == os.geteuid() and parent.stat().st_mode & 0o077 == 0:
            parent.chmod(0o711)  # pytest's own folders, so that root's server can stay below them
        if parent.name.startswith("pytest-of"):
            break
    write_day(landing, "day1", seed=1)
    _complete(env, tmp_path, "day1")
    before = tables(running_server(home))
    write_day(landing, "day1", seed=11)
    process = start("day1", env, tmp_path / "log")
    with killed_at_the_end(process):
        while process.poll() is None and not _load_tables(running_server(home)):
            time.sleep(0.02)
        assert process.poll() is None
        _kill_server(running_server(home))
        assert process.wait(120) != 0
    assert tables(running_server(home)) == before
    _complete(env, tmp_path, "day1")
    assert tables(running_server(home)) != before


def _complete(env: dict[str, str], folder: Path, day: str = "day2") -> None:
    process = start(day, env, folder / "complete.log")
    with killed_at_the_end(process):
        process.wait(300)
    assert process.returncode == 0, (folder / "complete.log").read_text()[-3000:]


def _sleep_while_alive(process: subprocess.Popen[bytes], seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        time.sleep(0.01)


def _load_tables(database: str) -> set[str]:
    with psycopg.connect(database) as connection:
        query = "SELECT tablename FROM pg_tables WHERE tablename LIKE 'agent\\_roles\\_load\\_%'"
        return {name for (name,) in connection.execute(query.encode())}


def _phase(database: str, log: Path, left_behind: set[str]) -> str:
    """What the command is at, which found the load tables that a killed one had left behind."""
    said = log.read_text(errors="replace")
    if "mapping:" in said:
        return "after the mapping"
    if " raw rows = " in said:
        return "checks and mapping"
    if _load_tables(database) - left_behind:
        return "staging"
    return "before staging" if "bytes" in said else "start-up and raw_roles"


def _kill_server(url: str) -> None:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT pg_read_file('postmaster.pid')").fetchone()
    assert row is not None
    os.kill(int(row[0].split()[0]), 9)
