"""Reads a file in both ways: as a run does, and entry by entry."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent_roles_dagster.landing.files import DumpFile
from agent_roles_dagster.reading.file import read_file

RECORD = '{"id": 10, "agents": [1]}'
DEEP = "[" * 500 + "]" * 500
TOO_DEEP = "[" * 100_000 + "]" * 100_000


@dataclass
class Read:
    """What was read of a file: raw rows, then what its last row says."""

    rows: list[dict[str, Any]]
    summary: dict[str, Any] | None
    unreadable: str | None

    def said(self) -> list[tuple[str | None, ...]]:
        """(agent, role, status) of each row."""
        assert self.unreadable is None
        return [(row["agent"], row["role"], row["status"]) for row in self.rows]

    def problems(self) -> list[str]:
        assert self.unreadable is None
        return [row["problem"] for row in self.rows]


def read(folder: Path, content: str | bytes, name: str = "a.json") -> Read:
    """Read a file entry by entry, with each row's exact text; the fast way must say the same."""
    fast = read_fast(folder, content, name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("agent_roles_dagster.reading.records.parse_id", lambda text: None)
        exact = read_fast(folder, content, name)
    assert fast.unreadable == exact.unreadable
    if exact.unreadable is None:
        assert all(row["raw"] for row in exact.rows)
        assert _normalised(fast) == _normalised(exact)
        assert fast.summary == exact.summary
        kept = [row["raw"] for row in exact.rows]
        assert all(row["raw"] in kept for row in fast.rows if row["raw"])
    return exact


def read_fast(folder: Path, content: str | bytes, name: str = "a.json") -> Read:
    """Read a file as a run does."""
    data = content if isinstance(content, bytes) else content.encode()
    path = folder / name
    path.write_bytes(data)
    batches = read_file("day1", DumpFile(name, len(data), str(folder), str(path)))
    *rows, last = [row for batch in batches for row in batch.to_pylist()]
    assert all(row["kind"] == "row" for row in rows)
    if last["kind"] == "unreadable":
        assert last["problem"].startswith(f"day1/{name}: ")
        return Read(rows, None, last["problem"])
    assert last["kind"] == "file"
    summary = json.loads(last["problem"])
    assert summary["name"] == name
    assert summary["sha256"] == hashlib.sha256(data).hexdigest()
    assert summary["rows"] == len(rows)
    return Read(rows, summary, None)


def _normalised(found: Read) -> list[tuple[Any, ...]]:
    """The rows in some order, ids and status as the fast way has them wherever it may."""
    return sorted(
        (
            (
                _id(row["agent_id"], row["agent"]),
                _id(row["role_id"], row["role"]),
                None if row["status"] == '"assigned"' else row["status"],
                row["problem"],
            )
            for row in found.rows
        ),
        key=repr,
    )


def _id(number: int | None, text: str | None) -> int | str | None:
    if number is not None or text is None:
        return number
    plain = re.fullmatch(r'("?)(-?(?:0|[1-9][0-9]{0,18}))\1', text)
    return int(plain[2]) if plain else text


def one(folder: Path, record: str) -> dict[str, Any]:
    """The only row of a record that lies in an array."""
    (row,) = read(folder, f"[{record}]").rows
    return row
