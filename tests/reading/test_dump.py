"""What a dump's files say, as raw rows: documents, JSON Lines, and the sides of a record."""

import gzip
import hashlib
import json
import re
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_roles_dagster.landing import content as content_module
from agent_roles_dagster.landing.files import DumpFile
from agent_roles_dagster.reading import file as file_module
from agent_roles_dagster.reading import raw_rows as raw_rows_module
from agent_roles_dagster.reading.exact_json import NotJson, check
from agent_roles_dagster.reading.file import read_file
from agent_roles_dagster.reading.raw_rows import (
    BROKEN_LINE,
    NO_HOLDERS,
    NO_KNOWN_KEYS,
    NOT_AN_OBJECT,
    raw_record,
)
from tests import dump_strategies, model

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
        patch.setattr(raw_rows_module, "plain_integer", lambda text: None)
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


def short(text: object) -> str:
    return ascii(text)[:50]


# Documents


@pytest.mark.parametrize(
    "document",
    [
        "[{}]",
        "{}",
        '{{"roles": [{}]}}',
        '{{"agents": [{}]}}',
        '{{"data": [{}]}}',
        '{{"data": [{}], "page": 1, "links": {{"next": null}}}}',
        '{{"role": {}}}',
        '{{"agent": {}}}',
        '{{"role": {}, "links": {{}}}}',
        '{{"data": [{}], "role": 1, "roles": null}}',
        '{{"roles": [{}], "agents": null, "data": {{}}}}',
        '{{"r\\u006fles": [{}]}}',
        "\n[ {} ]\n",
        "\ufeff[{}]",
    ],
    ids=short,
)
@pytest.mark.parametrize("is_zipped", [False, True])
def test_a_document_is_an_array_a_lone_record_or_an_envelope(
    tmp_path: Path, document: str, is_zipped: bool
) -> None:
    data = document.format(RECORD).encode()
    if is_zipped:
        data = gzip.compress(data[:7]) + gzip.compress(data[7:])
    found = read(tmp_path, data, "a.json.gz" if is_zipped else "a.json")
    assert found.said() == [("1", "10", None)]
    assert found.summary is not None
    assert found.summary["records"] == 1


@pytest.mark.parametrize("document", ["[]", '{"roles": []}', '{"agents": []}', '{"data": []}'])
def test_a_document_may_have_no_records(tmp_path: Path, document: str) -> None:
    found = read(tmp_path, document)
    assert found.said() == []
    assert found.summary is not None
    assert found.summary["records"] == 0


@pytest.mark.parametrize(
    ("document", "said"),
    [
        # Beside an id, `roles` and `agents` are a record's.
        ('{"id": 1, "roles": [10]}', ("1", "10", None)),
        ('{"id": 10, "agents": [{"id": 1, "agents": [2]}]}', ("1", "10", None)),
        ('{"agent_id": 1, "roles": [{"id": 10, "agents": [2]}]}', ("1", "10", None)),
        ('{"role_id": 10, "agents": [1]}', ("1", "10", None)),
        ('{"agent_id": 1, "role_id": 10, "data": [{"id": 3}]}', ("1", "10", None)),
        ('{"id": 1, "role_id": 10, "data": []}', ("1", "10", None)),
        ('{"agent_ids": [1]}', ("1", None, None)),
        ('{"role_ids": [10], "data": []}', (None, "10", None)),
        ('{"id": 10}', (None, "10", None)),
        ('{"role_id": 10}', (None, "10", None)),
        ('{"agent_id": 1}', ("1", None, None)),
        ('{"id": 10, "role": "admin", "data": null}', (None, "10", None)),
        # An envelope's id is not a record's.
        ('{"id": 7, "data": [{"id": 10, "agents": [1]}]}', ("1", "10", None)),
    ],
)
def test_a_lone_record_is_told_from_an_envelope_by_its_keys(
    tmp_path: Path, document: str, said: tuple[str | None, ...]
) -> None:
    assert read(tmp_path, document).said() == [said]


@pytest.mark.parametrize("key", ["code", "error", "errors", "message"])
def test_an_error_message_with_the_requests_id_is_no_role(tmp_path: Path, key: str) -> None:
    found = read(tmp_path, f'{{"id": 7, "{key}": "no"}}')
    assert found.unreadable is not None


@pytest.mark.parametrize(
    "document",
    [
        "null", "true", "7", '"text"', "{}", '{"error": "unauthorized"}', '{"message": "no"}',
        '{"error": {"id": 1, "agents": [2]}}', '{"errors": [{"id": 1}]}', '{"roles": null}',
        '{"data": null}', '{"data": {"id": 1, "agents": [2]}}', '{"roles": {"id": 1}}',
        '{"role": null}', '{"role": [1]}', '{"agent": 7}', '{"roles": "none"}',
        '{"Roles": [{"id": 1, "agents": [2]}]}', '{"items": [{"id": 1, "agents": [2]}]}',
        f'{{"roles": [{RECORD}], "agents": [{RECORD}]}}', f'{{"roles": [{RECORD}], "data": []}}',
    ],
)  # fmt: skip
def test_json_that_is_no_dump_is_unreadable(tmp_path: Path, document: str) -> None:
    found = read(tmp_path, document)
    assert found.unreadable is not None
    assert "no dump" in found.unreadable
    assert found.rows == []


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
    monkeypatch.setattr(content_module, "_CHUNK", size)
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
    monkeypatch.setattr(content_module, "_CHUNK", size)
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


FAILURES = (
    '"error": "rate limit"', '"error": {"code": 1}', '"errors": [1]', '"error": true', '"error": 0',
    '"error": " "', '"success": false', '"code": 400', '"status_code": 5e2', '"statusCode": 429.5',
    '"code": ' + "9" * 5000, '"error": null, "error": "x"', '"\\u0065rror": 1',
)  # fmt: skip
NO_FAILURES = (
    '"error": null', '"error": false', '"errors": []', '"errors": [ ]', '"errors": {\n}',
    '"error": ""', '"success": true', '"success": null', '"success": "false"', '"success": 0',
    '"code": 399.9', '"code": "500"', '"status_code": null', '"statusCode": -500', '"code": true',
    '"status": 500', '"Error": "x"', '"in": {"error": "x"}',
)  # fmt: skip
LISTS = (
    f'"roles": [{RECORD}]', '"data": []', '"agents": []', f'"role": {RECORD}',
    '"id": 10, "agents": [1]', '"agent_id": 1, "role_id": 10',
)  # fmt: skip


@pytest.mark.parametrize("failure", FAILURES, ids=short)
@pytest.mark.parametrize("listed", LISTS)
def test_a_document_that_says_of_itself_that_it_failed_is_unreadable_whatever_it_carries(
    tmp_path: Path, failure: str, listed: str
) -> None:
    for document in (f"{{{failure}, {listed}}}", f"\n{{{listed}, {failure}}}\n"):
        # A file of one line is that document, too.
        for name in ("a.json", "a.jsonl"):
            found = read(tmp_path, document, name)
            assert found.unreadable is not None
            assert "no dump: it says of itself that it failed" in found.unreadable


@pytest.mark.parametrize("nothing", NO_FAILURES, ids=short)
@pytest.mark.parametrize("listed", LISTS)
def test_a_document_that_says_that_it_went_well_is_a_dump(
    tmp_path: Path, nothing: str, listed: str
) -> None:
    assert read(tmp_path, f"{{{nothing}, {listed}}}").unreadable is None


def test_a_line_among_others_that_says_that_it_failed_is_one_invalid_row(tmp_path: Path) -> None:
    found = read(tmp_path, f'{RECORD}\n{{"error": "timeout"}}\n', "a.jsonl")
    assert sorted(found.problems(), key=repr) == [None, NO_KNOWN_KEYS][::-1]


@pytest.mark.parametrize(
    "document",
    [
        f'{{"roles": [], "roles": [{RECORD}]}}', f'{{"data": [{RECORD}], "data": null}}',
        f'{{"data": [], "d\\u0061ta": [{RECORD}]}}', f'{{"role": {RECORD}, "role": {RECORD}}}',
        f'{{"id": 7, "data": [], "page": 1, "data": [{RECORD}]}}',
    ],
)  # fmt: skip
def test_an_envelope_that_gives_a_list_twice_is_unreadable(tmp_path: Path, document: str) -> None:
    found = read(tmp_path, document)
    assert found.unreadable is not None
    assert re.search(r"no dump: it gives '\w+' twice", found.unreadable)


@pytest.mark.parametrize(
    "content",
    ["<html>\n<h1>502</h1>\n</html>\n", "nonsense", "\n502 Bad Gateway\n\n", "{'id': 1}\n"],
)
def test_lines_of_which_none_is_json_are_no_dump(tmp_path: Path, content: str) -> None:
    found = read(tmp_path, content, "a.jsonl")
    assert found.unreadable == "day1/a.jsonl: no line of it is JSON"


# JSON Lines


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.json.jsonl"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("last", ["", "\n", "\r\n\r\n"])
@pytest.mark.parametrize("size", [1, 3, 1 << 20])
def test_each_line_that_is_not_blank_is_a_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, ending: str, last: str, size: int
) -> None:
    monkeypatch.setattr(content_module, "_CHUNK", size)
    empty = '{"id": 12, "agents": []}'
    lines = ["\ufeff" + RECORD, "", ' {"id": 11, "agents": ["x"]}\t', " \t", empty]
    found = read(tmp_path, ending.join(lines) + last, name)
    assert found.said() == [("1", "10", None), ('"x"', "11", None)]
    assert found.rows[1]["raw"]["record_no"] == 3
    assert found.summary is not None
    assert found.summary["records"] == 3


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x85", "\\n", "\\u000a", "\xa0"])
def test_only_a_line_feed_ends_a_line(tmp_path: Path, character: str) -> None:
    line = f'{{"id": 10, "name": "a{character}b", "agents": [null]}}'
    found = read(tmp_path, f"{line}\n{line}", "a.jsonl")
    assert found.said() == [("null", "10", None)] * 2
    assert [row["raw"]["record_no"] for row in found.rows] == [1, 2]


@pytest.mark.parametrize(
    "line",
    [
        "nonsense", '{"id": 10, "agents": [1', f"{RECORD} {RECORD}", f"{RECORD},", '{"id": NaN}',
        "NaN", '{"id": 10,}', "[1,]", "01", "\ufeff{}", "{'id': 1}",
        "\u2028", "\x1c", "\xa0", f"{RECORD}\r{RECORD}", '{"id": 1, "agents": [1e]}', '"\\ud8"',
        f'{{"id": 10, "x": {TOO_DEEP}}}', TOO_DEEP,
    ],
    ids=short,
)  # fmt: skip
def test_a_broken_line_is_one_invalid_row_and_the_others_go_on(tmp_path: Path, line: str) -> None:
    found = read(tmp_path, f"{RECORD}\n{line}\r\n{RECORD}\n", "a.jsonl")
    assert found.summary is not None
    assert found.summary["records"] == 3
    assert len(found.rows) == 3
    (broken,) = (row for row in found.rows if row["problem"])
    assert broken["problem"] == BROKEN_LINE
    assert broken["raw"] == {
        "file": "a.jsonl", "record_no": 2, "entry_no": None, "entry": None, "record": line,
    }  # fmt: skip


def test_a_line_at_the_limit_of_nesting_is_either_read_or_broken(tmp_path: Path) -> None:
    kinds = set()
    for depth in range(900, 1000):
        line = f'{{"id": 10, "agents": ["x", 7], "name": {"[" * depth + "]" * depth}}}'
        found = read(tmp_path, f'{{"id": 11, "agents": []}}\n{line}', "a.jsonl")
        assert found.problems() in ([None, None], [BROKEN_LINE]), depth
        assert found.summary is not None
        assert found.summary["records"] == 2, depth
        kinds.add(len(found.rows))
    assert kinds


LAST_LINE = (
    '{"id": 11, "agents": [{"id": -1.5e+3, "n": "\\u00e9\\ud800\\\\"}, true, null], "x": []}'
)


@pytest.mark.parametrize("cut", range(1, len(LAST_LINE)))
def test_a_last_line_that_breaks_off_makes_the_file_unreadable(tmp_path: Path, cut: int) -> None:
    found = read(tmp_path, f"{RECORD}\n{LAST_LINE[:cut]}", "a.jsonl")
    assert found.unreadable is not None
    assert "cut short: the last line breaks off" in found.unreadable


@pytest.mark.parametrize("cut", range(1, len(LAST_LINE)))
def test_a_line_that_breaks_off_and_was_ended_is_an_invalid_row(tmp_path: Path, cut: int) -> None:
    found = read(tmp_path, f"{RECORD}\n{LAST_LINE[:cut]}\n", "a.jsonl")
    assert BROKEN_LINE in found.problems()


@pytest.mark.parametrize(
    "line",
    ["not json", '{"id": }', '{"id": 1}}', '{"id": 1, "n": [1}', "{'id': 1", '{"n": "\\x', "[1.2."],
)
def test_a_last_line_that_is_no_json_however_it_goes_on_is_an_invalid_row(
    tmp_path: Path, line: str
) -> None:
    assert BROKEN_LINE in read(tmp_path, f"{RECORD}\n{line}", "a.jsonl").problems()


@pytest.mark.parametrize("end", ["", "\n", " \t", "\r\n \n", "\r"])
def test_a_whole_last_line_needs_no_line_feed(tmp_path: Path, end: str) -> None:
    found = read(tmp_path, f"{RECORD}\n{LAST_LINE}{end}", "a.jsonl")
    assert BROKEN_LINE not in found.problems()


@pytest.mark.parametrize("line", ["null", "7", '"text"', "[]", f"[{RECORD}]", "true", "-1.5e3"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_a_record_that_is_no_object_is_one_invalid_row(
    tmp_path: Path, line: str, name: str
) -> None:
    found = read(tmp_path, f"[{line}]" if name == "a.json" else line, name)
    assert found.said() == [(None, None, None)]
    assert found.problems() == [NOT_AN_OBJECT]
    assert found.rows[0]["raw"]["record"] == line


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.json.gz"])
def test_what_would_not_fit_into_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(file_module, "LONGEST", 3 << 20)
    content = b"[" + b" " * (4 << 20) + RECORD.encode() + b"]"
    data = gzip.compress(content) if name.endswith("gz") else content
    found = read(tmp_path, data, name)
    assert found.rows == []
    assert found.unreadable is not None
    assert "of more than 3 MiB" in found.unreadable


def test_lines_are_no_document_whose_size_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_module, "LONGEST", 3 << 20)
    line = RECORD + " " * (1 << 20)
    assert len(read(tmp_path, "\n".join([line] * 5), "a.jsonl").said()) == 5


def test_a_line_is_a_record_and_no_envelope(tmp_path: Path) -> None:
    found = read(tmp_path, f'{{"roles": [{RECORD}]}}\n{{"data": [{RECORD}]}}', "a.jsonl")
    # The first is an agent without an id, that has the role 10.
    assert found.said() == [(None, "10", None), (None, None, None)]
    assert found.problems() == [None, NO_KNOWN_KEYS]


# Sides


@pytest.mark.parametrize(
    ("record", "said"),
    [
        # An assignment comes first.
        ('{"agent_id": 1, "role_id": 10}', [("1", "10", None)]),
        ('{"agent_id": 1, "role_id": 10, "id": 99}', [("1", "10", None)]),
        ('{"agent_id": 1, "role_id": 10, "agents": [5], "role_ids": [6]}', [("1", "10", None)]),
        ('{"agent_id": 1, "role_id": 10, "status": "removed"}', [("1", "10", '"removed"')]),
        ('{"agent_id": 1, "role_id": 10, "status": null}', [("1", "10", "null")]),
        ('{"agent_id": null, "role_id": 10, "agents": [5]}', [("null", "10", None)]),
        ('{"agent_id": 1, "role_id": null, "id": 10}', [("1", "null", None)]),
        # Then a role, which lists its agents.
        ('{"id": 10, "agents": [1, 2]}', [("1", "10", None), ("2", "10", None)]),
        ('{"id": 10, "agent_ids": [1]}', [("1", "10", None)]),
        ('{"role_id": 10, "agents": [1]}', [("1", "10", None)]),
        ('{"id": 10, "role_id": 11, "agents": [1]}', [("1", "10", None)]),
        ('{"id": null, "role_id": 11, "agents": [1]}', [("1", "null", None)]),
        ('{"agents": [1], "agent_id": 5}', [("1", None, None)]),
        ('{"id": 10, "agents": [1], "role_ids": [7], "roles": [8]}', [("1", "10", None)]),
        ('{"id": 10, "agents": [{"id": 1}, {"agent_id": 2}, 3, "4"]}',
         [("1", "10", None), ("2", "10", None), ("3", "10", None), ('"4"', "10", None)]),
        ('{"id": 10, "agents": [{"id": 1, "agent_id": 2}]}', [("1", "10", None)]),
        ('{"id": 10, "agents": [{"id": null, "agent_id": 2}]}', [("null", "10", None)]),
        ('{"id": 10, "agents": [{"role_id": 2}]}', [(None, "10", None)]),
        ('{"id": 10, "agents": [{}]}', [(None, "10", None)]),
        ('{"id": 10, "agents": [{"id": 1, "status": "removed"}, {"id": 2}]}',
         [("1", "10", '"removed"'), ("2", "10", None)]),
        ('{"id": 10, "status": "removed", "agents": [1]}', [("1", "10", None)]),
        ('{"id": 10, "agents": [], "roles": [1]}', []),
        ('{"id": "x", "agents": []}', []),
        # Then an agent, which lists its roles or has one.
        ('{"id": 1, "role_ids": [10, 11]}', [("1", "10", None), ("1", "11", None)]),
        ('{"agent_id": 1, "role_ids": [10]}', [("1", "10", None)]),
        ('{"id": 1, "agent_id": 2, "role_ids": [10]}', [("1", "10", None)]),
        ('{"id": 1, "roles": [10]}', [("1", "10", None)]),
        ('{"id": 1, "role_ids": [10], "roles": [11], "role_id": 12}', [("1", "10", None)]),
        ('{"id": 1, "roles": [11], "role_id": 12}', [("1", "11", None)]),
        ('{"id": 1, "roles": null, "role_id": 12}', [("1", "12", None)]),
        ('{"id": 1, "roles": "all", "role_id": 12}', [("1", "12", None)]),
        ('{"id": 1, "roles": [{"role_id": 10, "id": 3}, {"id": 11}, {"role_id": null, "id": 4}]}',
         [("1", "10", None), ("1", "11", None), ("1", "null", None)]),
        ('{"id": 1, "roles": [{"role_id": 10, "status": "removed"}]}', [("1", "10", '"removed"')]),
        ('{"id": 1, "role_ids": []}', []),
        ('{"id": 1, "role_id": 10}', [("1", "10", None)]),
        ('{"id": 1, "role_id": 10, "status": "removed"}', [("1", "10", None)]),
        ('{"role_id": 10}', [(None, "10", None)]),
        ('{"id": null, "role_id": 10}', [("null", "10", None)]),
        # Keys are known by their meaning; one that decides nothing may be given twice.
        ('{"\\u0069d": 10, "ag\\u0065nts": [1]}', [("1", "10", None)]),
        ('{"id": 10, "agents": [{"id": 1, "n": 2, "n": 3}], "name": "a", "name": "b"}',
         [("1", "10", None)]),
        ('{"id": 10, "agents": [{"id": 1, "agent_id": 2, "agent_id": 3, "in": {"id": 4}}]}',
         [("1", "10", None)]),
        ('{"ID": 3, "id": 10, "Agents": [2], "agents": [1]}', [("1", "10", None)]),
    ],
)  # fmt: skip
def test_a_record_says_who_holds_which_role_by_its_keys(
    tmp_path: Path, record: str, said: list[tuple[str | None, ...]]
) -> None:
    found = read(tmp_path, f"[{record}]")
    assert found.said() == said
    assert set(found.problems()) <= {None}
    assert found.summary is not None
    assert found.summary["records"] == 1


@pytest.mark.parametrize(
    ("record", "ids", "problem"),
    [
        ('{"id": 10}', (None, "10"), NO_HOLDERS),
        ('{"id": 10, "name": "x", "status": "removed"}', (None, "10"), NO_HOLDERS),
        ('{"id": 10, "roles": null}', (None, "10"), NO_HOLDERS),
        ("{}", (None, None), NO_KNOWN_KEYS),
        ('{"name": "x"}', (None, None), NO_KNOWN_KEYS),
        ('{"agent_id": 1}', ("1", None), NO_KNOWN_KEYS),
        ('{"agent": {"id": 1}, "role": {"id": 10}}', (None, None), NO_KNOWN_KEYS),
        ('{"id": 10, "agents": null}', (None, "10"), "agents is null"),
        ('{"id": 10, "agents": 1}', (None, "10"), "agents is no list"),
        ('{"id": 10, "agents": "[1]"}', (None, "10"), "agents is no list"),
        ('{"id": 10, "agents": {"id": 1}}', (None, "10"), "agents is no list"),
        ('{"id": 10, "agent_ids": false}', (None, "10"), "agent_ids is no list"),
        ('{"id": 10, "agents": null, "agent_ids": [1]}', (None, "10"), "agents is null"),
        ('{"id": 1, "role_ids": null}', ("1", None), "role_ids is null"),
        ('{"id": 1, "role_ids": {}, "roles": [10]}', ("1", None), "role_ids is no list"),
        ('{"agents": null}', (None, None), "agents is null"),
    ],
)
def test_a_record_that_gives_no_pair_is_one_invalid_row_with_the_ids_it_has(
    tmp_path: Path, record: str, ids: tuple[str | None, ...], problem: str
) -> None:
    row = one(tmp_path, record)
    assert (row["agent"], row["role"], row["status"], row["problem"]) == (*ids, None, problem)
    assert row["raw"] == {
        "file": "a.json", "record_no": 1, "entry_no": None, "entry": None, "record": record,
    }  # fmt: skip


@pytest.mark.parametrize("key", ["id", "agent_id", "role_id", "agents", "agent_ids", "roles",
                                 "role_ids", "status"])  # fmt: skip
@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_a_record_that_gives_a_deciding_key_twice_is_one_invalid_row_without_ids(
    tmp_path: Path, key: str, name: str
) -> None:
    members = [
        '"id": 1',
        '"agents": [2]',
        f'"{key}": 5',
        f'"{key[:1]}\\u00{ord(key[1]):x}{key[2:]}": [5]',
    ]
    record = f"{{{', '.join(members)}}}"
    found = read(tmp_path, record, name)
    assert found.said() == [(None, None, None)]
    assert found.problems() == [f"the record gives {key} twice"]
    assert found.rows[0]["raw"]["record"] == record


@pytest.mark.parametrize(
    ("entry", "said", "problem"),
    [
        ('{"id": 1, "id": 1}', (None, "10", None), "agent_id is given twice"),
        ('{"id": 1, "\\u0069d": 2}', (None, "10", None), "agent_id is given twice"),
        ('{"agent_id": 1, "agent_id": 2}', (None, "10", None), "agent_id is given twice"),
        ('{"id": 1, "id": 2, "status": "x"}', (None, "10", '"x"'), "agent_id is given twice"),
        ('{"id": 1, "status": "removed", "status": "assigned"}', ("1", "10", None),
         "status is given twice"),
        ('{"id": 1, "id": 2, "status": 1, "status": 2}', (None, "10", None),
         "agent_id is given twice; status is given twice"),
    ],
)  # fmt: skip
def test_an_entry_that_gives_its_id_or_its_status_twice_is_an_invalid_row_of_its_own(
    tmp_path: Path, entry: str, said: tuple[str | None, ...], problem: str
) -> None:
    for before in (0, 1, 70):
        others = ", ".join([*['{"id": 7}'] * before, entry])
        found = read(tmp_path, f'[{{"id": 10, "agents": [{others}]}}]')
        assert found.said()[-1] == said
        assert found.problems()[-1] == problem
        assert found.said()[:-1] == [("7", "10", None)] * before
        assert found.rows[-1]["raw"]["entry"] == entry


# Values are handed on as JSON texts


@pytest.mark.parametrize(
    "text",
    [
        "9223372036854775808", "-9223372036854775809", "1.0", "1e3", "-0.0", "true", "null", "[]",
        "[7]", '"7"', '" 7 "', '"007"', '""', '"é"', "9" * 5000, "1e400", "1e200000", DEEP,
        '"\\ud800"', '"7\\ud800"', "{}",
    ],
    ids=short,
)  # fmt: skip
@pytest.mark.parametrize(
    ("record", "column"),
    [
        ('{{"agent_id": 1, "role_id": {}}}', "role"),
        ('{{"agent_id": {}, "role_id": 1}}', "agent"),
        ('{{"id": {}, "agents": [1]}}', "role"),
        ('{{"id": {}, "role_ids": [1]}}', "agent"),
        ('{{"id": 1, "agents": [{{"id": {}}}]}}', "agent"),
        ('{{"id": 1, "roles": [{{"role_id": {}}}]}}', "role"),
        ('{{"id": 1, "role_id": {}}}', "role"),
    ],
)
def test_an_id_is_handed_on_exactly(tmp_path: Path, text: str, record: str, column: str) -> None:
    assert one(tmp_path, record.format(text))[column] == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"\\u0034\\u0032"', '"42"'),
        ('"\\t7"', '"\t7"'),
        ('"7\\u0000"', '"7\x00"'),
        ('"\\ud83d\\ude00"', '"\U0001f600"'),
        ('"\\"7\\""', '""7""'),
    ],
)
def test_a_texts_escapes_are_resolved(tmp_path: Path, text: str, value: str) -> None:
    assert one(tmp_path, f'{{"id": {text}, "agents": [1]}}')["role"] == value
    assert one(tmp_path, f'{{"id": 1, "agents": [{text}]}}')["agent"] == value
    row = one(tmp_path, f'{{"agent_id": 1, "role_id": 2, "status": {text}}}')
    assert row["status"] == value


@pytest.mark.parametrize("number", [0, 1, -1, 2**53 + 1, 2**63 - 1, -(2**63)])
@pytest.mark.parametrize(
    "record",
    ['{{"id": 5, "agents": [{0}, {0}]}}', '{{"id": 5, "agents": [{{"id": {0}}}, {{"id": {0}}}]}}',
     '{{"id": 5, "agents": ["x", {0}, {{"id": {0}}}]}}'],
)  # fmt: skip
def test_integers_within_bigint_keep_every_digit(tmp_path: Path, number: int, record: str) -> None:
    found = read(tmp_path, f"[{record.format(number)}]")
    assert [agent for agent, _, _ in found.said() if agent != '"x"'] == [str(number)] * 2


def test_minus_zero_is_zero_in_either_way(tmp_path: Path) -> None:
    found = read(tmp_path, '[{"id": -0, "agents": [-0]}, {"agent_id": -0, "role_id": -0}]')
    assert [tuple(map(int, row[:2])) for row in found.said()] == [(0, 0)] * 2  # type: ignore[arg-type]


# The row as received


def test_an_entry_keeps_its_text_and_its_place(tmp_path: Path) -> None:
    entry = '{"id" : 1.50,  "n": "\\u0041", "x": [1 ,2]}'
    record = f'{{"id":  10, "agents": [7, {entry} , "x"], "name": "R\\u00f4le",  "agents_no": 1e2}}'
    found = read(tmp_path, f"[{RECORD}, {record}]")
    kept = [row["raw"] for row in found.rows if row["raw"]["record_no"] == 2]
    assert [(raw["record_no"], raw["entry_no"]) for raw in kept] == [(2, 1), (2, 2), (2, 3)]
    assert [raw["entry"] for raw in kept] == ["7", entry, '"x"']
    rest = '{"id": 10, "name": "R\\u00f4le", "agents_no": 1e2}'
    assert {raw["record"] for raw in kept} == {rest}
    assert {raw["file"] for raw in kept} == {"a.json"}


def test_rows_are_read_in_batches_without_losing_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw_rows_module, "_ROWS_PER_BATCH", 4)
    records = [{"id": n, "agents": [*range(n), *(["x"] * (n % 3))]} for n in range(12)]
    lines = "\n".join(map(json.dumps, records))
    expected = sum(len(record["agents"]) for record in records)  # type: ignore[arg-type]
    for content, name in ((lines, "a.jsonl"), (json.dumps(records), "a.json")):
        found = read(tmp_path, content, name)
        assert len(found.said()) == expected
        assert found.summary is not None
        assert found.summary["records"] == 12


@pytest.fixture(scope="module")
def jsonb(server: str) -> Iterator[Callable[[str], Any]]:
    """The function that takes a JSON text to JSONB and back."""
    with psycopg.connect(server, autocommit=True) as connection:

        def stored(text: str) -> Any:
            row = connection.execute("SELECT (%s::jsonb)::text", (text,)).fetchone()
            assert row is not None
            return json.loads(row[0], parse_float=Decimal)

        yield stored


@pytest.mark.parametrize(
    ("text", "is_exact"),
    [
        ('{"a": 1}', True), ('"\\ud83d\\ude00"', True), (DEEP, True), ('"\\\\u0000"', True),
        ('{"n": 1e3}', False), ('{"n": -0}', False), ('{"n": 1.50}', True),
        ('"\\u0000"', False), ('"\\ud800"', False),
        ('{"a": 1, "a": 2}', False), ('{"a": 1e200000}', False), ("9" * 200_000, False),
        ("nonsense", False), ('{"a": "\x00"}', False), ("\x00", False),
        ("\ufeff{}", False), ('"', False), ("\\", False), ("", False),
        ("0." + "1" * 15_000 + "e-9999", False), (TOO_DEEP, False),
    ],
    ids=short,
)  # fmt: skip
@pytest.mark.parametrize("key", ["entry", "record"])
def test_a_raw_record_is_json_to_the_letter_or_its_text_marked_as_such(
    jsonb: Callable[[str], Any], text: str, is_exact: bool, key: str
) -> None:
    parts = {"entry": "1", "record": "{}", key: text}
    stored = jsonb(raw_record("a.json", 3, parts["record"], 2, parts["entry"]))
    assert (stored["file"], stored["record_no"], stored["entry_no"]) == ("a.json", 3, 2)
    assert stored.keys() == {"file", "record_no", "entry_no", "entry", "record"} ^ (
        set() if is_exact else {key, f"{key}_text"}
    )
    if is_exact:
        assert stored[key] == json.loads(text)
    else:
        assert stored[f"{key}_text"] == text.replace("\0", "\\u0000")


def test_a_raw_record_of_a_whole_record_has_no_entry(jsonb: Callable[[str], Any]) -> None:
    stored = jsonb(raw_record("é.json", 1, "[1]"))
    assert stored == {"file": "é.json", "record_no": 1, "record": [1]}


_TEXTS = st.one_of(
    st.text(),
    st.text("\\u0dD8'\"{}[]:,1e-+. \x00é😀"),
    st.recursive(
        st.none() | st.integers() | st.floats() | st.text(st.characters()),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=5,
    ).map(json.dumps),
)


@given(_TEXTS, _TEXTS, st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1))
def test_every_raw_record_is_json_that_jsonb_takes(
    jsonb: Callable[[str], Any], entry: str, record: str, file: str
) -> None:
    stored = jsonb(raw_record(file, 1, record, 1, entry))
    for key, text in (("entry", entry), ("record", record)):
        if f"{key}_text" in stored:
            assert stored[f"{key}_text"] == text.replace("\0", "\\u0000")
        else:
            check(text.encode())
            assert stored[key] == json.loads(text, parse_float=Decimal)


# The reader and the model


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


# The fast way and the exact one

_IDS = st.one_of(
    st.integers(-3, 3),
    st.sampled_from([2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 10**30]),
    st.sampled_from([1.5, 1.0, True, None, "1", " 1 ", "x", "\ud800", [], {}]),
)
_ENTRIES = st.one_of(
    _IDS,
    st.dictionaries(
        st.sampled_from(["id", "agent_id", "role_id", "status", "name"]), _IDS, max_size=3
    ),
)
# Mostly lists of one kind, which the fast way takes.
_LISTS = st.one_of(
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4),
    st.lists(st.builds(lambda n: {"id": n, "name": "x"}, st.integers(-3, 3)), max_size=4),
    st.lists(st.builds(lambda n: {"role_id": n, "id": "x"}, st.integers(-3, 3)), max_size=4),
    st.lists(_ENTRIES, max_size=4),
    _IDS,
)
_RECORDS = st.dictionaries(
    st.sampled_from(["id", "agent_id", "role_id", "status", "name"]), _IDS, max_size=4
).flatmap(
    lambda record: st.dictionaries(
        st.sampled_from(["agents", "agent_ids", "roles", "role_ids"]), _LISTS, max_size=2
    ).map(lambda lists: {**record, **lists})
)


@given(st.lists(_RECORDS, max_size=6), st.booleans())
def test_plain_lists_are_read_fast_and_say_the_same(
    tmp_path_factory: pytest.TempPathFactory, records: list[Any], is_lines: bool
) -> None:
    folder = tmp_path_factory.mktemp("files", numbered=True)
    content = "\n".join(map(json.dumps, records)) or "[]" if is_lines else json.dumps(records)
    name = "a.jsonl" if is_lines else "a.json"
    read(folder, content, name)  # which compares the two ways


def test_what_may_be_refused_keeps_its_text(tmp_path: Path) -> None:
    """The fast way takes only integers within BIGINT, or their texts, that are assigned."""
    plain = ["1", '"1"', '"-1"', '{"id": 1}', '{"id": "1", "n": 1.5}',
             '{"id": 1, "status": "assigned"}', '{"id": 1, "in": {"id": 1}, "n": "id"}',
             '{"\\u0069d": 1}', '{"id": 1, "n": "\\u0061"}',
             '{"id": 1, "status": "\\u0061ssigned"}']  # fmt: skip
    valid = ['{"agent_id": 1}', '{"id": 1, "status": "removed"}']
    others = ["1.0", "9223372036854775808", '"9223372036854775808"', '" 1"', '"1_0"', '"+1"',
              '"01"', '"\u0661"', '{"id": 1, "status": null}', "true", "null", "1e2",
              '{"id": 1, "id": 1}', '{"id": 1, "\\u0069d": 1}', '{"id": 1, "\\u0069\\u0064": 1}',
              '{"id": 1, "status": "assigned", "st\\u0061tus": "assigned"}',
              '{"id": 1, "status": "assigned", "status": "assigned"}',
              '{"id": 1, "status": "removed", "status": "assigned"}']  # fmt: skip
    for place in (0, 1, 63, 64, 100):
        for entry in (*plain, *valid, *others):
            entries = ["7"] * place + [entry] + ['{"id": 8}'] * 70
            rows = read_fast(tmp_path, f'[{{"id": "10", "agents": [{", ".join(entries)}]}}]').rows
            assert len(rows) == len(entries)
            kept = [row["raw"]["entry_no"] for row in rows if row["raw"]]
            assert kept == ([place + 1] if entry in others else []), entry
            assert any(row["role"] for row in rows) == (entry not in plain), entry


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
    long = "x" * (raw_rows_module.LONGEST_REFUSED + 1)
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
    monkeypatch.setattr(raw_rows_module, "MOST_REFUSED", 10_000_000)
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


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_ids_nested_a_hundred_deep_are_lists_and_refused_as_such(tmp_path: Path, name: str) -> None:
    deep = "[" * 100 + "]" * 100
    found = read(tmp_path, f'{{"id": {deep}, "agents": [{deep}, 7]}}', name)
    assert found.unreadable is None
    assert found.said() == [(deep, deep, None), ("7", deep, None)]
