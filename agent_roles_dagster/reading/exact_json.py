"""JSON taken apart with each part's exact text kept, and what of it PostgreSQL's JSONB can hold.

The common case goes through msgspec; what it refuses although it is JSON (a lone surrogate)
goes through the standard library, which also finds repeated keys.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sized
from operator import methodcaller
from typing import Any, NoReturn

import msgspec
import pyarrow as pa

_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ANY = msgspec.json.Decoder(msgspec.Raw)
_TRUNCATED = "Input data was truncated"
_BLANK = re.compile(r"[ \t\n\r]*")
_NUL_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
# JSONB holds a number as NUMERIC: at most 131072 digits before the point and 16383 after it.
_NUMERIC_DIGITS = 16_000
_QUOTES = methodcaller("count", b'"')
_LONG = 4000
_NONE: frozenset[str] = frozenset()
_DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class NotJson(ValueError):
    """The text is no JSON document. Its text says where and why, and quotes nothing."""


def elements(text: bytes) -> list[bytes]:
    """The exact texts of a JSON array's elements. The whole text is checked to be JSON."""
    return list(each_element(text))


def each_element(text: bytes | memoryview) -> Iterator[bytes]:
    """As `elements`, without a copy of all at once; the text is checked before the first."""
    try:
        raws = _ELEMENTS.decode(text)
    except _DECODE_ERRORS:
        return iter([value.encode() for _, value in _split(bytes(text).decode(), "[]")])
    return map(bytes, raws)


def members(text: bytes) -> tuple[dict[str, bytes], frozenset[str]]:
    """The exact texts of a JSON object's values by key, and the keys that it gives repeatedly.

    Of such a key, the last value is there; `all_members` has all of them.
    """
    if len(text) < _LONG:
        try:
            parts = {key: bytes(raw) for key, raw in _MEMBERS.decode(text).items()}
        except _DECODE_ERRORS:
            parts = dict(all_members(text))
        quotes = text.count(b'"') - sum(map(_QUOTES, parts.values()))
        return parts, _repeated(text, parts, quotes)
    views, repeated = member_views(text)
    return {key: bytes(view) for key, view in views.items()}, repeated


def member_views(text: bytes) -> tuple[dict[str, memoryview], frozenset[str]]:
    """As `members`, without copies of the values."""
    try:
        raws = _MEMBERS.decode(text)
    except _DECODE_ERRORS:
        views = {key: memoryview(value) for key, value in all_members(text)}
        return views, _repeated(text, views, None)
    # The quotes outside of the values, which lie in the text. Of a repeated key, the last value has
    # the first one's place in the order; then some quotes are counted several times, none is not.
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
    """The keys of a JSON object with the exact texts of their values, repeated keys too."""
    return [(json.loads(key), value.encode()) for key, value in _split(text.decode(), "{}")]


def _repeated(text: bytes, parts: Sized, quotes_outside: int | None) -> frozenset[str]:
    """The keys that are given repeatedly, by the quotes that are no part of the values, if known.

    The decoder keeps the last of a repeated key. What it drops has quotes, at least the key's.
    """
    if quotes_outside == 2 * len(parts):
        return _NONE
    times = Counter(key for key, _ in all_members(text))
    return frozenset(key for key, count in times.items() if count > 1)


def without(text: bytes, key: str, value: bytes) -> bytes:
    """The JSON object's text without the members of that key; all others stay to the letter.

    Args:
        value: the key's, an array, as `members` has it; so the text is known to be JSON.
    """
    parts = _parts(text.decode(), "{}", value.decode())
    kept = (f"{name}: {value}" for name, value in parts if _key(name) != key)
    return ("{" + ", ".join(kept) + "}").encode()


def check(text: bytes) -> None:
    """Raise NotJson unless the text is one JSON value."""
    _scanned(text.decode())


def breaks_off(text: bytes) -> bool:
    """Whether the text is the beginning of a JSON value that ends too early.

    Nested too deeply, it is no JSON here, whole or not. A broken \\u within the last characters
    counts as one that breaks off.
    """
    # For msgspec, a lone surrogate is no JSON; another character in its place changes nothing.
    text = text.replace(b"\\ud", b"\\u0").replace(b"\\uD", b"\\u0")
    # It calls a number without its last digits malformed: what a digit mends was a beginning.
    return _refusal(text) == _TRUNCATED or (
        _refusal(text) is not None and _refusal(text + b"0") in (None, _TRUNCATED)
    )


def _refusal(text: bytes) -> str | None:
    try:
        _ANY.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        return str(error)
    return None


def jsonb_holds(text: str) -> bool:
    """Whether JSONB can hold this text: each key, text and number to the letter.

    It can't hold NUL, lone surrogates, repeated keys, numbers beyond NUMERIC and what is no JSON,
    and it writes numbers with an exponent (1e3 as 1000) and -0 anew. Blanks, the order of keys and
    escapes are not looked at.
    """
    if _NUL_ESCAPE.search(text) or "\x00" in text:
        return False
    try:
        value = json.loads(
            text,
            object_pairs_hook=_refuse_repeated,
            parse_float=_refuse_rewritten,
            parse_int=_refuse_rewritten,
            parse_constant=_refuse,
        )
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):  # a lone surrogate is an UnicodeEncodeError, a ValueError
        return False
    return True


def _split(text: str, brackets: str) -> list[tuple[str, str]]:
    """(key text or "", value text) of each part of the array or object."""
    at = _skip(text, 0)
    if text[at : at + 1] != brackets[0]:
        raise NotJson(f"{brackets[0]} expected at character {at}")
    _scanned(text)
    return list(_parts(text, brackets))


def _parts(text: str, brackets: str, known: str = "") -> Iterator[tuple[str, str]]:
    """As `_split`, of a text that is known to be JSON; an array that is known is passed over."""
    opening, closing = brackets[0], brackets[1]
    at = _skip(text, _skip(text, 0) + 1)
    while text[at] != closing:
        key = ""
        if opening == "{":
            end = _end(text, at)
            key = text[at:end]
            at = _skip(text, _skip(text, end) + 1)
        # What begins with a whole array is that array.
        end = at + len(known) if known and text.startswith(known, at) else _end(text, at)
        yield key, text[at:end]
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)


def _end(text: str, at: int) -> int:
    """Where the value that begins there ends."""
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
    blank = _BLANK.match(text, at)
    assert blank is not None
    return blank.end()


def _key(text: str) -> str:
    return str(json.loads(text))


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a repeated key")
    return value


def _refuse_rewritten(number: str) -> int:
    is_minus_zero = number.startswith("-") and not number.strip("-0.")
    if "e" in number.lower() or is_minus_zero or len(number) > _NUMERIC_DIGITS:
        raise ValueError("a number that NUMERIC writes otherwise, or can't hold")
    return 0


# A number's value is not needed here, and the longest ones have none in Python.
_DECODER: Any = json.JSONDecoder(parse_constant=_refuse, parse_float=len, parse_int=len)
_SCAN = _DECODER.scan_once
