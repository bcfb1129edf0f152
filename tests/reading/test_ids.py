"""Ids keep every digit. The fast path gives the same rows as the exact one."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.reading.reader import DEEP, one, read, read_fast
from tests.reading.texts import short


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
