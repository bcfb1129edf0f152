"""A file as a whole: it is read, or unreadable with the reason."""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_roles_dagster.landing.files import DumpFile
from agent_roles_dagster.reading.exact_json import NotJson, check
from agent_roles_dagster.reading.file import read_file
from tests import dump_strategies, model
from tests.reading.reader import RECORD, TOO_DEEP, read, read_fast
from tests.reading.texts import short


@pytest.mark.parametrize(
    "document",
    [
        f"[{RECORD}", f"[{RECORD},", f"[{RECORD}]]", f"[{RECORD}] [{RECORD}]",
        f"{RECORD}\n{RECORD}", f"[{RECORD},]", '[{"id": NaN}]',
        '[{"id": 1, "agents": [01]}]', "[{'id': 1}]", "[nul]",
        '[{"id": 1, "name": "\n"}]', '[{"id": 1, "name": "\\x"}]',
        '[{"id": 10, "agents": [1', '{"data": [{"id": 10, "agents": [1]}]', "<html></html>",
        "id,agents\n1,2\n", "\ufeff\ufeff[]",
        f'[{{"id": 1, "agents": [], "x": {TOO_DEEP}}}]', "[" * 100_000, TOO_DEEP,
    ],
    ids=short,
)  # fmt: skip
def test_a_document_that_is_no_json_or_cut_short_is_unreadable(
    tmp_path: Path, document: str
) -> None:
    found = read(tmp_path, document)
    assert found.unreadable is not None
    assert "not JSON, or cut short" in found.unreadable
    assert found.rows == []


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.json.gz", "a.ndjson.gz"])
@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "blank"),
        (b" \r\n\t", "blank"),
        (b"\xef\xbb\xbf", "blank"),
        (b"\xef\xbb\xbf\n \n", "blank"),
        (b"\xef\xbb", "not UTF-8"),
        (b"[]\xff", "not UTF-8"),
        (b'{"id": 1, "agents": ["\xed\xa0\x80"]}', "not UTF-8"),
        (b'{"id": 1, "agents": [2]}\n{"id": 2, "name": "\xe9"}', "not UTF-8"),
        ("[]".encode("utf-16"), "not UTF-8"),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 1 << 20])
def test_a_blank_file_and_one_that_is_not_utf8_are_unreadable(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    content: bytes,
    why: str,
    size: int,
) -> None:
    monkeypatch.setattr("agent_roles_dagster.landing.content._CHUNK", size)
    data = gzip.compress(content) if name.endswith(".gz") else content
    found = read(tmp_path, data, name)
    assert found.unreadable is not None
    assert why in found.unreadable


@pytest.mark.parametrize("name", ["a.json.gz", "a.jsonl.gz"])
@pytest.mark.parametrize("cut", [5, 20, -9, -1])
def test_a_gzip_that_is_cut_short_is_unreadable(tmp_path: Path, name: str, cut: int) -> None:
    found = read(tmp_path, gzip.compress(RECORD.encode())[:cut], name)
    assert found.unreadable is not None


def test_a_file_that_went_away_is_unreadable(tmp_path: Path) -> None:
    file = DumpFile("a.json", 5, str(tmp_path), str(tmp_path / "a.json"))
    ((row,),) = (batch.to_pylist() for batch in read_file("day1", file))
    assert row["kind"] == "unreadable"
    assert row["problem"] == "day1/a.json: it is not there, or not any more"


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.json.gz", "a.jsonl.gz"])
@pytest.mark.parametrize("content", ["{}\0", "{}\n\0", "\0" * 4096 + "{}", '{}\n{{"name": "\0"}}'])
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_a_nul_byte_anywhere_makes_the_file_unreadable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str, size: int
) -> None:
    monkeypatch.setattr("agent_roles_dagster.landing.content._CHUNK", size)
    data = content.format(RECORD).encode()
    found = read(tmp_path, gzip.compress(data) if name.endswith(".gz") else data, name)
    assert found.unreadable is not None
    assert "it holds a NUL byte" in found.unreadable


@pytest.mark.parametrize("blank", ["", " ", "\n", "\r\n\t "])
@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
@pytest.mark.parametrize(
    "record", [RECORD, '{"agent_id": 1, "role_id": 10}', '{"id": 1, "role_id": 10}']
)
def test_blanks_around_a_lone_record_mean_nothing(
    tmp_path: Path, blank: str, name: str, record: str
) -> None:
    assert read(tmp_path, blank + record + blank, name).said() == [("1", "10", None)]


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.json.gz"])
def test_what_would_not_fit_into_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("agent_roles_dagster.reading.file.LONGEST", 3 << 20)
    content = b"[" + b" " * (4 << 20) + RECORD.encode() + b"]"
    data = gzip.compress(content) if name.endswith("gz") else content
    found = read(tmp_path, data, name)
    assert found.rows == []
    assert found.unreadable is not None
    assert "of more than 3 MiB" in found.unreadable


def test_lines_are_no_document_whose_size_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent_roles_dagster.reading.file.LONGEST", 3 << 20)
    line = RECORD + " " * (1 << 20)
    assert len(read(tmp_path, "\n".join([line] * 5), "a.jsonl").said()) == 5


@given(dump_strategies.FEW_PAIRS.flatmap(dump_strategies.any_pages))
def test_whatever_lands_is_read_as_the_model_reads_it(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    for name, data in files.items():
        expected: list[model.Row] | None
        try:
            records = list(model.file_records(name, data))
            expected = [row for record in records for row in model.record_rows(name, record)]
        except model.NoSnapshot:
            expected = None
        found = read(folder, data, name)
        assert (found.unreadable is not None) == (expected is None), found.unreadable
        if expected is not None:
            assert found.summary is not None
            assert found.summary["records"] == len(records)
            assert Counter(map(_meaning, read_fast(folder, data, name).rows)) == Counter(
                (*row.ids(), bool(row.broken()), not row.broken() and row.status != "removed")
                for row in expected
            )


def _meaning(row: dict[str, Any]) -> tuple[int | None, int | None, bool, bool]:
    """A raw row's ids, whether it is refused, and whether it is one that says assigned."""
    ids = [
        row[f"{name}_id"] if row[name] is None else model.integer(_value(row[name]))
        for name in ("agent", "role")
    ]
    status = "assigned" if row["status"] is None else _value(row["status"])
    is_kept = row["problem"] is None and None not in ids and status in ("assigned", "removed")
    return ids[0], ids[1], not is_kept, is_kept and status == "assigned"


def _value(text: str) -> Any:
    # A text's escapes are resolved already.
    return text[1:-1] if text[:1] == '"' else json.loads(text, parse_float=str)


@given(st.binary(max_size=40), st.sampled_from(["a.json", "a.jsonl", "a.json.gz", "a.jsonl.gz"]))
def test_whatever_the_bytes_are_a_file_is_read_or_unreadable(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, name: str
) -> None:
    found = read(tmp_path_factory.getbasetemp(), data, name)
    if name == "a.json" and found.unreadable is None:
        try:
            check(data.removeprefix(b"\xef\xbb\xbf"))
        except NotJson:
            pytest.fail("no JSON, but read")
