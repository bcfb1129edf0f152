"""The benchmark's world and its table; it is run by hand, as it takes minutes and a server."""

import os
import subprocess
from pathlib import Path

import pytest

from agent_roles_dagster.landing.find import find_dump
from agent_roles_dagster.reading.file import read_file
from tests.benchmark import peers
from tests.benchmark.__main__ import OURS, _command, _table
from tests.benchmark.measuring import Measured
from tests.benchmark.world import World


def pairs_of(landing: Path, day: str) -> tuple[set[tuple[int, int]], int]:
    """The day's distinct plain pairs, and how many rows it has that are none."""
    pairs, others = set(), 0
    for file in find_dump(str(landing), day).files:
        for batch in read_file(day, file):
            for row in batch.to_pylist():
                if row["agent_id"] is not None:
                    pairs.add((row["agent_id"], row["role_id"]))
                elif row["kind"] == "row":
                    others += 1
    return pairs, others


@pytest.mark.parametrize("side", ["role", "agent"])
def test_a_world_has_the_pairs_the_churn_and_the_invalid_entries_that_it_says(
    tmp_path: Path, side: str
) -> None:
    World(pairs=2000, group=300, side=side, churn=0.1, invalid=0.01, files=3).write(tmp_path)
    before, invalid = pairs_of(tmp_path, "day1")
    assert (len(before), invalid) == (2000, 20)
    after, invalid = pairs_of(tmp_path, "day2")
    assert (len(after), invalid) == (2000, 20)
    assert len(before - after) == len(after - before) == 100


def test_another_checkouts_command_runs_its_code(tmp_path: Path) -> None:
    package = tmp_path / "agent_roles_dagster"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "definitions.py").write_text("raise RuntimeError('the other one')")
    env = {"PYTHONPATH": str(tmp_path), "PYTHONSAFEPATH": "1"}
    done = subprocess.run(
        _command(env, "day1"), env={**os.environ, **env}, capture_output=True, check=False
    )
    assert b"RuntimeError: the other one" in done.stderr


def test_the_floor_parses_every_entry(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    World(pairs=500, group=100, invalid=0.01, files=2).write(tmp_path)
    peers.floor_parse("day1", tmp_path, "")
    assert capsys.readouterr().out == "505\n"


def test_the_table_has_medians_and_their_ratio_to_the_commands_second_day() -> None:
    def took(*walls: float) -> list[Measured]:
        return [Measured(wall, 0, 0, {}, 0, 0) for wall in walls]

    table = _table(
        {
            (OURS, "day2"): took(10, 30, 20),
            ("floor-parse", "day2"): took(1, 1, 1),
            ("floor-copy", "day2"): took(4, 3, 90),
        }
    )
    assert "| floor-copy | day2 | 4.0 | 0.20 |" in table
    assert table.endswith("day2 is 4.00 times floor-parse + floor-copy.")
