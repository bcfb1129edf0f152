"""JSON taken apart to the letter, and what of it JSONB holds."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent_roles_dagster.reading import exact_json
from agent_roles_dagster.reading.exact_json import (
    NotJson,
    all_members,
    check,
    elements,
    jsonb_holds,
    members,
    without,
)

# Texts that are JSON and that a parser may stumble over.
ODD = (
    "-0", "1e400", "1E+2", "1e200000", "0.10", "9" * 5000, "-" + "9" * 5000, '"\\ud800"',
    '"\\udc00\\ud800"', '"\\ud83d\\ude00"', '"\\u0000"', '"\\u0041"', '"\u2028"', '"\x7f"',
    '"\U0001f600"', '"\uffff"', '"\\/"', '"\\\\"', '"\\""', '""', "true", "null", "{}", "[ ]",
    '{"a": 1, "a": 2}', "[" * 500 + "]" * 500, '{"":' * 400 + "1" + "}" * 400,
)  # fmt: skip

NO_JSON = (
    "", " ", "\ufeff[]", "NaN", "Infinity", "-Infinity", "nul", "True", "'a'", "01", "-01", "+1",
    "1.", ".5", "1e", "1e+", "-", "0x1", "1_0", '"', '"\n"', '"\x01"', '"\\x41"', '"\\u12g4"',
    '"\\u123"', "[", "]", "[1", "[1,]", "[,1]", "[1 2]", "[1]]", "[1] [2]", "[1]\x00", "\x00",
    "{", '{"a"}', '{"a":}', '{"a":1,}', "{a:1}", '{"a" 1}', '{"a":1}}', "{1:2}", "/**/[]",
    "[1]\x0c", "\xa0[]", "[" * 100_000, "[" * 100_000 + "]" * 100_000, '{"a":' * 100_000,
)  # fmt: skip

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters()),  # lone surrogates too
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


def short(text: Any) -> str:
    return ascii(text)[:40]


@pytest.mark.parametrize("text", ODD, ids=short)
def test_the_parts_keep_their_exact_text(text: str) -> None:
    exact = text.encode()
    check(exact)
    assert elements(b"[1 , %s\t,\n%s ]" % (exact, exact)) == [b"1", exact, exact]
    found = members(b' {"a" : %s , "b":2}\r\n' % exact)
    assert found == ({"a": exact, "b": b"2"}, frozenset())


@pytest.mark.parametrize("text", NO_JSON, ids=short)
@pytest.mark.parametrize("form", ["{}", "[{}]", '{{"a": {}}}', '{{"a": [0, {{"b": {}}}]}}'])
def test_what_is_no_json_is_refused_wherever_it_stands(text: str, form: str) -> None:
    broken = form.format(text).encode()
    if form == "[{}]" and not text.strip():
        return  # an empty list
    for take_apart in (check, elements, members):
        with pytest.raises(NotJson):
            take_apart(broken)


@pytest.mark.parametrize("form", ['{{"{}": 1}}', '[{{"{}": 1}}]'])
@pytest.mark.parametrize("key", ["\x01", "\\x", "\\u00zz", "\n", "\\"], ids=short)
def test_a_broken_key_is_no_json(form: str, key: str) -> None:
    text = form.format(key).encode()
    with pytest.raises(NotJson):
        elements(text) if form[0] == "[" else members(text)


@pytest.mark.parametrize("text", [b"{}", b"1", b"null", b'"[]"', b""])
def test_elements_are_those_of_an_array_only(text: bytes) -> None:
    with pytest.raises(NotJson):
        elements(text)


@pytest.mark.parametrize("text", [b"[]", b"1", b"null", b'"{}"', b""])
def test_members_are_those_of_an_object_only(text: bytes) -> None:
    with pytest.raises(NotJson):
        members(text)


def test_nothing_is_in_what_is_empty() -> None:
    assert elements(b" [ ] ") == []
    assert members(b" { } ") == ({}, frozenset())


@pytest.mark.parametrize("other", ["1", '"\\ud800"'], ids=["plain", "with a lone surrogate"])
def test_a_repeated_key_is_told_and_all_its_values_are_there(other: str) -> None:
    text = f'{{"a": 1, "\\u0061": 2, "b": {other}, "a": 3}}'.encode()
    assert members(text) == ({"a": b"3", "b": other.encode()}, {"a"})
    assert [(key, value) for key, value in all_members(text) if key == "a"] == [
        ("a", b"1"), ("a", b"2"), ("a", b"3"),
    ]  # fmt: skip


def test_a_key_is_known_by_its_meaning_and_may_be_anything() -> None:
    text = b'{"\\u0069d": 1, "": 2, "\\ud800": 3, "\\u0000": 4}'
    assert members(text)[0] == {"id": b"1", "": b"2", "\ud800": b"3", "\0": b"4"}


def test_a_refusal_names_the_place_and_quotes_nothing() -> None:
    with pytest.raises(NotJson, match="at character 15") as refused:
        elements(b'["private", 1, oops]')
    assert "private" not in str(refused.value)
    assert "oops" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ('{"id": 1, "agents": [1, 2], "n": 1.50}', '{"id": 1, "n": 1.50}'),
        ('{"agents": [1], "id": 1, "agents": null}', '{"id": 1}'),
        ('{"ag\\u0065nts": [1], "\\u0069d": 1}', '{"\\u0069d": 1}'),
        ('{"id": 1, "id": 2, "agents": []}', '{"id": 1, "id": 2}'),
        ('{"x": {"agents": [1]}, "agents": []}', '{"x": {"agents": [1]}}'),
        ('{"agents": []}', "{}"),
        ('{"id": 1}', '{"id": 1}'),
    ],
)
def test_without_a_key_all_else_stays_to_the_letter(text: str, rest: str) -> None:
    value = members(text.encode())[0].get("agents", b"[]")
    assert without(text.encode(), "agents", value) == rest.encode()


@given(st.lists(JSON_VALUES, max_size=5), st.booleans(), st.sampled_from(["", " ", "\r\n\t "]))
def test_an_arrays_elements_mean_what_they_meant(
    values: list[Any], is_ascii: bool, blank: str
) -> None:
    texts = [_dumped(value, is_ascii) for value in values]
    joined = "[" + f"{blank},{blank}".join(texts) + f"{blank}]{blank}"
    assert elements(joined.encode()) == [text.encode() for text in texts]


@given(st.dictionaries(st.text(st.characters()), JSON_VALUES, max_size=5))
def test_an_objects_members_mean_what_they_meant(value: dict[str, Any]) -> None:
    found, repeated = members(json.dumps(value).encode())
    assert {key: json.loads(text) for key, text in found.items()} == value
    assert not repeated


# Keys of which some are one key, spelt in two ways, and values with quotes and keys in them.
_PAIRS = st.lists(
    st.tuples(
        st.sampled_from(['"id"', '"\\u0069d"', '"i"', '"\\""', '"\\\\"', '""', '"é"', '"\\ud800"']),
        st.sampled_from(["1", '"id"', '""', '"\\""', '{"id": 1, "id": 2}', "[]", '["id", 7]']),
    ),
    max_size=5,
)


@given(_PAIRS, st.sampled_from(["", " ", "\r\n"]), st.booleans())
def test_each_repeated_key_of_an_object_is_noticed_and_no_other(
    pairs: list[tuple[str, str]], blank: str, is_long: bool
) -> None:
    joined = f",{blank}".join(f"{key}{blank}:{blank}{value}" for key, value in pairs)
    text = f"{{{blank}{joined}{blank}}}".encode()
    keys = [json.loads(key) for key, _ in pairs]
    expected = {json.loads(key): value.encode() for key, value in pairs}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact_json, "_LONG", 0 if is_long else 1 << 20)
        assert members(text) == (expected, {key for key in keys if keys.count(key) > 1})


def _dumped(value: Any, is_ascii: bool) -> str:
    """The value as JSON text; a lone surrogate stays an escape in any case."""
    text = json.dumps(value, ensure_ascii=is_ascii)
    return "".join(f"\\u{ord(c):04x}" if "\ud800" <= c <= "\udfff" else c for c in text)


# JSON texts with one or a few characters put in, taken out or exchanged.
_PIECES = (
    "{", "}", "[", "]", ",", ":", '"', "\\", "\\u00", "\\ud800", "0", "1", "-", "+", ".", "e",
    "true", "null", '"a"', '"a":1', "\x01", "é", "\ufeff",
)  # fmt: skip


@st.composite
def _damaged(draw: st.DrawFn) -> str:
    text = draw(
        st.sampled_from(
            ('[1,{"a":"b\\n","c":[1.5e3,-0,null]},true,"x\\u0041"]', '[[],{},"",0]', '[{"a":{}}]')
        )
    )
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        piece = draw(st.sampled_from(("", " ", *_PIECES)))
        text = text[:at] + piece + text[at + draw(st.integers(0, 2)) :]
    return text


@given(_damaged())
def test_what_is_json_does_not_depend_on_who_parses_it(text: str) -> None:
    def accepts(take_apart: Callable[[bytes], Any]) -> bool:
        try:
            take_apart(text.encode())
        except NotJson:
            return False
        return True

    first = text.lstrip(" \t\r\n")[:1]
    assert accepts(elements) == (first == "[" and accepts(check))
    assert accepts(members) == (first == "{" and accepts(check))


# JSONB


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


@given(_damaged())
def test_a_damaged_text_is_held_only_if_jsonb_takes_it(
    jsonb: Callable[[str], str | None], text: str
) -> None:
    if jsonb_holds(text):
        assert jsonb(text) is not None
