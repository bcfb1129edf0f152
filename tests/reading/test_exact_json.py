"""JSON taken apart: each part keeps its exact text."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_roles_dagster.reading import exact_json
from agent_roles_dagster.reading.exact_json import (
    NotJson,
    all_members,
    check,
    elements,
    members,
    without,
)
from tests.reading.texts import JSON_VALUES, NO_JSON, ODD, damaged, short


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


@given(damaged())
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
