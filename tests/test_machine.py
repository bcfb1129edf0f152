"""The cores and the memory that a run counts on are those of its container."""

from pathlib import Path

import pytest

from agent_roles_dagster import machine


@pytest.mark.parametrize(
    ("limit", "expected"), [("150000 100000", 2), ("50000 100000", 1), ("max 100000", 4)]
)
def test_a_containers_cores_are_rounded_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, expected: int
) -> None:
    monkeypatch.setattr(machine.sys, "platform", "linux")
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: range(4), raising=False)
    (tmp_path / "cpu.max").write_text(f"{limit}\n")
    monkeypatch.setattr(machine, "_CORES_LIMIT", tmp_path / "cpu.max")
    assert machine.cores() == expected


def test_a_containers_memory_counts_if_it_is_less_than_the_machines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = (tmp_path / "memory.max", tmp_path / "memory.limit_in_bytes")
    monkeypatch.setattr(machine, "_MEMORY_LIMITS", limits)
    whole = machine.memory()
    assert whole > 1 << 28
    for limit, expected in (("max", whole), (str(whole * 2), whole), ("1000", 1000)):
        for file in limits:
            file.write_text(f"{limit}\n")
            assert machine.memory() == expected
            file.unlink()
