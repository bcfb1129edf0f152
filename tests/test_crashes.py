"""A process killed at any moment leaves each table as before or as after, and can be run again.

`AGENT_ROLES_TEST_KILLS` says how often the command is killed (30 if not set); for several hundred:

    AGENT_ROLES_TEST_KILLS=300 pytest tests/test_crashes.py -rP
"""

import os
import random
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from agent_roles_dagster.postgres.connection import connect
from agent_roles_dagster.postgres.embedded.server import running_server
from tests.conftest import Pipeline, empty_database
from tests.processes import killed_at_the_end, start
from tests.worlds import TABLES, Tables, tables, with_bulk, write_day

KILLS = int(os.environ.get("AGENT_ROLES_TEST_KILLS", "30"))
NEW_DAYS = min(30, KILLS // 10)  # a month of them
DAYS = ("day1", "day2", "day3")
pytestmark = pytest.mark.timeout(600 + 40 * KILLS)
# day2 lands again and again, as one or the other of these.
VERSIONS = (2, 20)
PHASES = ("start-up and raw_roles", "before staging", "staging")
PHASES += ("checks and mapping", "after the mapping")
COMPLETED = "completed"


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


@pytest.fixture
def env(pipeline: Pipeline, tmp_path: Path) -> dict[str, str]:
    return {
        "AGENT_ROLES_LANDING": str(pipeline.landing),
        "AGENT_ROLES_DATABASE_URL": pipeline.database,
        "AGENT_ROLES_HOME": str(tmp_path / "home"),
    }


# In halves, so that pytest's two processes share them. In one, indexes are dropped and built.
@pytest.mark.parametrize("bulk", ["off", "on"])
def test_a_command_killed_at_any_moment_leaves_each_table_as_before_or_as_after(
    reference: list[Tables], pipeline: Pipeline, tmp_path: Path, env: dict[str, str], bulk: str
) -> None:
    chance = _chance(bulk)
    env["AGENT_ROLES_DATABASE_URL"] = with_bulk(pipeline.database, bulk)
    indexes = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"
    all_indexes = pipeline.rows(indexes)
    phases: Counter[str] = Counter()
    life = _complete(env, tmp_path)
    target, log = 1, tmp_path / "log"
    while phases.total() < (KILLS - NEW_DAYS) / 2:
        target = 1 - target
        write_day(pipeline.landing, "day2", seed=VERSIONS[target])
        with _watched(pipeline.database, reference):
            phase = _kill_somewhere("day2", pipeline, env, log, chance, life)
        found = tables(pipeline.database)
        for name in TABLES:
            assert found[name] in (reference[0][name], reference[1][name]), (phase, name)
        assert pipeline.rows(indexes) == all_indexes
        if phase == COMPLETED:
            assert found == reference[target]
            continue
        phases[phase] += 1
        if phases[phase] % 10 == 5:
            _complete(env, tmp_path)
            assert tables(pipeline.database) == reference[target]
    print("killed:", dict(phases))
    _complete(env, tmp_path)
    assert tables(pipeline.database) == reference[target]
    assert len(phases) >= 3, "the kills reached too few phases"


def test_a_command_killed_while_it_loads_a_new_day_can_be_run_again(
    server: str,
    pipeline: Pipeline,
    tmp_path: Path,
    env: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The days come in any order; beside the killed runs, undisturbed ones fill a database."""
    chance = _chance("new days")
    days = [f"day{number}" for number in range(1, NEW_DAYS + 2)]
    chance.shuffle(days)
    for number, day in enumerate(days):
        write_day(pipeline.landing, day, seed=number)
    life = _complete(env, tmp_path, days[0])
    phases: Counter[str] = Counter()
    with empty_database(server) as url:
        with connect(url):
            pass  # creates the schema
        undisturbed = replace(pipeline, database=url)
        for day in days:
            before = tables(undisturbed.database)
            undisturbed.use(monkeypatch)
            assert undisturbed.run(day).success
            after = tables(undisturbed.database)
            if day == days[0]:
                continue
            phase = _kill_somewhere(day, pipeline, env, tmp_path / "log", chance, life)
            phases[phase] += 1
            found = tables(pipeline.database)
            for name in TABLES:
                assert found[name] in (before[name], after[name]), (phase, name)
            pipeline.use(monkeypatch)
            assert pipeline.run(day).success
            assert tables(pipeline.database) == after
    print("killed with a new day:", dict(phases))


def test_postgresql_killed_in_the_middle_loses_nothing(pipeline: Pipeline, tmp_path: Path) -> None:
    home, landing = tmp_path / "home", pipeline.landing
    home.mkdir()
    env = {
        "AGENT_ROLES_LANDING": str(landing),
        "AGENT_ROLES_HOME": str(home),
        "AGENT_ROLES_DATABASE_URL": "",
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
        failed = process.wait(300) != 0
    # Or it tried again, with a server that it started anew.
    assert not failed or tables(running_server(home)) == before
    _complete(env, tmp_path, "day1")
    assert pipeline.run("day1").success
    assert tables(running_server(home)) == tables(pipeline.database) != before


@contextmanager
def _watched(database: str, known: Sequence[Tables]) -> Iterator[None]:
    """A reader meanwhile sees each table as one of these, as often as it looks."""
    is_over = threading.Event()

    def watch() -> int:
        looks = 0
        while not is_over.wait(0.05):
            found = tables(database)
            assert [name for name in TABLES if found[name] not in [k[name] for k in known]] == []
            looks += 1
        return looks

    with ThreadPoolExecutor(1) as pool:
        looks = pool.submit(watch)
        try:
            yield
        finally:
            is_over.set()
        assert looks.result() > 0


def _chance(name: str) -> random.Random:
    return random.Random(os.environ.get("AGENT_ROLES_TEST_SEED", "kill") + name)


def _kill_somewhere(
    day: str,
    pipeline: Pipeline,
    env: dict[str, str],
    log: Path,
    chance: random.Random,
    life: float,
) -> str:
    """Run the day, kill it, and say in which phase, or that it completed before.

    At any moment of its life (of so many seconds), or soon after a phase began: the later ones
    are short.
    """
    left_behind = _load_tables(pipeline.database)
    process = start(day, env, log)
    with killed_at_the_end(process):
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
        phase = _phase(pipeline.database, log, left_behind) if alive else COMPLETED
    assert alive or process.returncode == 0, log.read_text()[-3000:]
    log.unlink()
    return phase


def _complete(env: dict[str, str], folder: Path, day: str = "day2") -> float:
    """Run the day to its end; returns the seconds that took."""
    started = time.monotonic()
    process = start(day, env, folder / "complete.log")
    with killed_at_the_end(process):
        process.wait(300)
    assert process.returncode == 0, (folder / "complete.log").read_text()[-3000:]
    return time.monotonic() - started


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
