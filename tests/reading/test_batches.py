"""Raw rows come in batches of bounded size, and the texts that are kept have limits."""

import json
import tracemalloc
from pathlib import Path

import pytest

from agent_roles_dagster.landing.files import DumpFile
from agent_roles_dagster.reading import batches
from agent_roles_dagster.reading.file import read_file
from tests.reading.reader import RECORD, read, read_fast


def test_rows_are_read_in_batches_without_losing_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "_ROWS_PER_BATCH", 4)
    records = [{"id": n, "agents": [*range(n), *(["x"] * (n % 3))]} for n in range(12)]
    lines = "\n".join(map(json.dumps, records))
    expected = sum(len(record["agents"]) for record in records)  # type: ignore[arg-type]
    for content, name in ((lines, "a.jsonl"), (json.dumps(records), "a.json")):
        found = read(tmp_path, content, name)
        assert len(found.said()) == expected
        assert found.summary is not None
        assert found.summary["records"] == 12


def test_rows_that_share_a_long_record_come_in_batches_of_bounded_size(tmp_path: Path) -> None:
    description = "x" * 100_000
    entries = ", ".join(["null"] * 500)
    data = f'[{{"id": 1, "description": "{description}", "agents": [{entries}]}}]'.encode()
    path = tmp_path / "a.json"
    path.write_bytes(data)
    batches = list(read_file("day1", DumpFile("a.json", len(data), str(tmp_path), str(path))))
    assert sum(map(len, batches)) == 501
    assert max(batch.nbytes for batch in batches) < 20 << 20


def test_a_long_record_is_read_and_what_is_kept_of_a_refused_one_is_bounded(
    tmp_path: Path,
) -> None:
    long = "x" * (batches.LONGEST_REFUSED + 1)
    for agents in ("[2, 3]", '[{"id": 2, "status": "removed"}, {"id": 3, "status": "assigned"}]'):
        line = f'{{"id": 1, "name": "{long}", "agents": {agents}}}'
        assert len(read_fast(tmp_path, line, "a.jsonl").rows) == 2
    for line in (
        f'{{"name": "{long}"}}',
        long,
        f'{{"id": 1, "name": "{long}", "agents": [2, ""]}}',
    ):
        found = read(tmp_path, f"{RECORD}\n{line}\n", "a.jsonl")
        assert found.unreadable is not None
        assert "record 2 has an invalid row of more than 16 MiB" in found.unreadable


def test_a_long_record_beside_many_invalid_entries_does_not_fill_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "MOST_REFUSED", 10_000_000)
    description = "x" * 100_000
    entries = ", ".join(["null"] * 500)
    data = f'{{"id": 1, "description": "{description}", "agents": [{entries}]}}'
    found = read(tmp_path, data, "a.json")
    assert found.unreadable is not None
    assert "invalid rows up to record 1" in found.unreadable
    assert len(found.rows) < 100


def test_many_long_invalid_lines_are_handed_on_before_they_fill_the_memory(tmp_path: Path) -> None:
    line = "x" * 1_000_000
    path = tmp_path / "a.jsonl"
    path.write_text("[]\n" + f"{line}\n" * 200)
    file = DumpFile("a.jsonl", path.stat().st_size, str(tmp_path), str(path))
    tracemalloc.start()
    try:
        assert sum(map(len, read_file("day1", file))) == 202
        assert tracemalloc.get_traced_memory()[1] < 100_000_000
    finally:
        tracemalloc.stop()
