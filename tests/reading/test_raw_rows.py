"""The row as received, as JSONB takes it."""

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_roles_dagster.reading.exact_json import check
from agent_roles_dagster.reading.raw_rows import (
    raw_record,
)
from tests.reading.reader import DEEP, TOO_DEEP
from tests.reading.texts import short


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
