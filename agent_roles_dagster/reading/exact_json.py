"""Takes JSON apart, and keeps each part's exact text.

msgspec takes the usual texts apart. It refuses some JSON, such as a lone surrogate, and it drops
repeated keys. The standard library takes those texts, and finds repeated keys.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sized
from operator import methodcaller
from typing import Any, NoReturn

import msgspec
import pyarrow as pa

from agent_roles_dagster.landing.content import BLANKS

_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ANY = msgspec.json.Decoder(msgspec.Raw)
_TRUNCATED = "Input data was truncated"
_BLANKS = re.compile(f"[{BLANKS.decode()}]*")
_QUOTES = methodcaller("count", b'"')
_LONG = 4000
_NONE: frozenset[str] = frozenset()
DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class NotJson(ValueError):
    """The text is no JSON document. Its text says where and why, and quotes nothing."""


def elements(text: bytes) -> list[bytes]:
    """The exact texts of a JSON array's elements. The whole text must be JSON."""
    return list(each_element(text))


def each_element(text: bytes | memoryview) -> Iterator[bytes]:
    """The same, one by one. The whole text is checked before the first."""
    try:
        raws = _ELEMENTS.decode(text)
    except DECODE_ERRORS:
        return iter([value.encode() for _, value in _split(bytes(text).decode(), "[]")])
    return map(bytes, raws)


def members(text: bytes) -> tuple[dict[str, bytes], frozenset[str]]:
    """The exact texts of a JSON object's values by key, and the keys that it repeats.

    A repeated key has its last value here. `all_members` has all of them.
    """
    if len(text) < _LONG:
        try:
            parts = {key: bytes(raw) for key, raw in _MEMBERS.decode(text).items()}
        except DECODE_ERRORS:
            parts = dict(all_members(text))
        quotes = text.count(b'"') - sum(map(_QUOTES, parts.values()))
        return parts, _repeated(text, parts, quotes)
    views, repeated = member_views(text)
    return {key: bytes(view) for key, view in views.items()}, repeated


def member_views(text: bytes) -> tuple[dict[str, memoryview], frozenset[str]]:
    """The same, without copies of the values."""
    try:
        raws = _MEMBERS.decode(text)
    except DECODE_ERRORS:
        views = {key: memoryview(value) for key, value in all_members(text)}
        return views, _repeated(text, views, None)
    # Count the quotes outside of the values. The values lie in the text, in this order. Only a
    # repeated key breaks it: its last value has the first one's place. Some quotes are then counted
    # several times, but each is counted.
    start: int = pa.py_buffer(text).address
    quotes = at = 0
    for raw in raws.values():
        value = pa.py_buffer(raw)
        begin: int = value.address - start
        quotes += text.count(b'"', at, begin)
        at = begin + value.size
    quotes += text.count(b'"', at)
    views = {key: memoryview(raw) for key, raw in raws.items()}
    return views, _repeated(text, views, quotes)


def all_members(text: bytes) -> list[tuple[str, bytes]]:
    """The keys of a JSON object and the exact texts of their values, with repeated keys."""
    return [(json.loads(key), value.encode()) for key, value in _split(text.decode(), "{}")]


def _repeated(text: bytes, parts: Sized, quotes_outside: int | None) -> frozenset[str]:
    """The keys that are repeated.

    Args:
        quotes_outside: how many quotes are in no value; None if not known. The decoder drops all
            but the last of a repeated key. What it drops has quotes, at least the key's.
    """
    if quotes_outside == 2 * len(parts):
        return _NONE
    times = Counter(key for key, _ in all_members(text))
    return frozenset(key for key, count in times.items() if count > 1)


def without(text: bytes, key: str, value: bytes) -> bytes:
    """The JSON object's text without the members of a key. All others stay to the letter.

    Args:
        value: the key's value, an array, as `members` gives it. So the text is known to be JSON.
    """
    parts = _parts(text.decode(), "{}", value.decode())
    kept = (f"{name}: {value}" for name, value in parts if _key(name) != key)
    return ("{" + ", ".join(kept) + "}").encode()


def check(text: bytes) -> None:
    """Raise NotJson unless the text is one JSON value."""
    _scanned(text.decode())


def breaks_off(text: bytes) -> bool:
    """Whether the text is the beginning of a JSON value, but not all of it.

    A text that is nested too deeply is no JSON here. A broken \\u within the last characters counts
    as one that breaks off.
    """
    # msgspec refuses a lone surrogate. Another character in its place changes nothing here.
    text = text.replace(b"\\ud", b"\\u0").replace(b"\\uD", b"\\u0")
    # For a number without its last digits, msgspec does not say that it is truncated. If one more
    # digit mends the text, it was a beginning.
    return _refusal(text) == _TRUNCATED or (
        _refusal(text) is not None and _refusal(text + b"0") in (None, _TRUNCATED)
    )


def _refusal(text: bytes) -> str | None:
    try:
        _ANY.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        return str(error)
    return None


def _split(text: str, brackets: str) -> list[tuple[str, str]]:
    """The key's text, "" in an array, and the value's text of each part."""
    at = _skip(text, 0)
    if text[at : at + 1] != brackets[0]:
        raise NotJson(f"{brackets[0]} expected at character {at}")
    _scanned(text)
    return list(_parts(text, brackets))


def _parts(text: str, brackets: str, known: str = "") -> Iterator[tuple[str, str]]:
    """The same, for a text that is known to be JSON.

    Args:
        known: the text of an array in it, which need not be read again.
    """
    opening, closing = brackets[0], brackets[1]
    at = _skip(text, _skip(text, 0) + 1)
    while text[at] != closing:
        key = ""
        if opening == "{":
            end = _end(text, at)
            key = text[at:end]
            at = _skip(text, _skip(text, end) + 1)
        # A value that begins with a whole array is that array.
        end = at + len(known) if known and text.startswith(known, at) else _end(text, at)
        yield key, text[at:end]
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)


def _end(text: str, at: int) -> int:
    """The end of the value that begins at this place."""
    try:
        return int(_SCAN(text, at)[1])
    except RecursionError:
        raise NotJson("nested too deeply") from None


def _scanned(text: str) -> Any:
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise NotJson(f"{error.msg} at character {error.pos}") from None
    except ValueError as error:
        raise NotJson(str(error)) from None
    except RecursionError:
        raise NotJson("nested too deeply") from None


def _skip(text: str, at: int) -> int:
    blank = _BLANKS.match(text, at)
    assert blank is not None
    return blank.end()


def _key(text: str) -> str:
    return str(json.loads(text))


def refuse_constant(constant: str) -> NoReturn:
    """Refuse NaN and Infinity, which Python's JSON has."""
    raise ValueError(f"{constant} is no JSON")


# The values of numbers are not needed, and Python refuses those with thousands of digits.
_DECODER: Any = json.JSONDecoder(parse_constant=refuse_constant, parse_float=len, parse_int=len)
_SCAN = _DECODER.scan_once
