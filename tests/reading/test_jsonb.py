"""What JSONB can hold to the letter, compared with PostgreSQL itself."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import example, given

from agent_roles_dagster.reading.jsonb import jsonb_holds
from tests.reading.texts import JSON_VALUES, NO_JSON, damaged, short


@pytest.fixture(scope="module")
def jsonb(server: str) -> Iterator[Callable[[str], str | None]]:
    """The function that gives a JSON text back as JSONB has it, None where it refuses it."""
    with psycopg.connect(server, autocommit=True) as connection:

        def stored(text: str) -> str | None:
            try:
                row = connection.execute("SELECT (%s::jsonb)::text", (text,)).fetchone()
            except psycopg.Error:
                return None
            assert row is not None
            return str(row[0])

        yield stored


def _exact(text: str) -> Any:
    """The value of a JSON text, its numbers to the letter."""
    return json.loads(text, parse_int=lambda n: ("number", n), parse_float=lambda n: ("number", n))


HELD = (
    "{}", "[]", "null", "0", "0.0", "-0.10", "1.50", '"\\ud83d\\ude00"', '"\\\\u0000"',
    '"\\\\\\\\u0000"', '"\\\\ud800"', '"\uffff"', '"\x7f"', '"\u2028"', '{"a": {"a": 1}}', '""',
    '{"": 1}', "9" * 4000, "[" * 500 + "]" * 500, '{"a": [{"b": 1}, {"b": 1}]}', " 1 ",
)  # fmt: skip

NOT_HELD = (
    "-0", "-0.0", '{"a": [-0]}', "1e3", "1E+3", "-1.5e-9", '[{"a": 0e0}]',
    '"\\u0000"', '"a\\u0000b"', '"\\\\\\u0000"', '{"\\u0000": 1}', '"\\ud800"', '"\\udc00\\ud800"',
    '"\\ud800x"', '"\\ud800\\\\udc00"', '{"\\udfff": 1}', '{"a": 1, "a": 1}',
    '{"a": 1, "\\u0061": 2}',
    '[{"x": {"": 1, "": 2}}]', "1e200000", "-1e200000", "1e-200000", "9" * 200_000,
    "0." + "1" * 15_000 + "e-9999", "0." + "1" * 20_000, "[" * 100_000 + "]" * 100_000,
    "1e" + "9" * 5000, *(text for text in NO_JSON if len(text) < 1000),
)  # fmt: skip


@pytest.mark.parametrize("text", HELD, ids=short)
def test_jsonb_holds_ordinary_json(jsonb: Callable[[str], str | None], text: str) -> None:
    assert jsonb_holds(text)
    stored = jsonb(text)
    assert stored is not None
    assert _exact(stored) == _exact(text)


def test_jsonb_does_not_hold_these_to_the_letter() -> None:
    assert [short(text) for text in NOT_HELD if jsonb_holds(text)] == []


@example('{"a": "\\\\u0000"}')
@example('{"a": "\\\\\\u0000"}')
@given(JSON_VALUES.map(json.dumps))
def test_what_jsonb_is_said_to_hold_it_gives_back(
    jsonb: Callable[[str], str | None], text: str
) -> None:
    stored = jsonb(text)
    if jsonb_holds(text):
        assert stored is not None
        assert _exact(stored) == _exact(text)
    else:
        assert stored is None or _exact(stored) != _exact(text)


@given(damaged())
def test_a_damaged_text_is_held_only_if_jsonb_takes_it(
    jsonb: Callable[[str], str | None], text: str
) -> None:
    if jsonb_holds(text):
        assert jsonb(text) is not None
