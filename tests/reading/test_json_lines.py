"""JSON Lines: where a line ends, a broken line, and a file that breaks off."""

from pathlib import Path

import pytest

from agent_roles_dagster.reading.raw_rows import (
    BROKEN_LINE,
)
from tests.reading.reader import RECORD, TOO_DEEP, read
from tests.reading.texts import short


@pytest.mark.parametrize(
    "content",
    ["<html>\n<h1>502</h1>\n</html>\n", "nonsense", "\n502 Bad Gateway\n\n", "{'id': 1}\n"],
)
def test_lines_of_which_none_is_json_are_no_dump(tmp_path: Path, content: str) -> None:
    found = read(tmp_path, content, "a.jsonl")
    assert found.unreadable == "day1/a.jsonl: no line of it is JSON"


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.json.jsonl"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("last", ["", "\n", "\r\n\r\n"])
@pytest.mark.parametrize("size", [1, 3, 1 << 20])
def test_each_line_that_is_not_blank_is_a_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, ending: str, last: str, size: int
) -> None:
    monkeypatch.setattr("agent_roles_dagster.landing.content._CHUNK", size)
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
