"""What holds a document's records: an array, an envelope, or nothing but the record."""

import re
from collections.abc import Iterable, Mapping

from agent_roles_dagster.landing.content import BLANKS
from agent_roles_dagster.outcomes import Unreadable
from agent_roles_dagster.reading.exact_json import (
    NotJson,
    all_members,
    check,
    each_element,
    member_views,
)

_LIST_ENVELOPES = ("roles", "agents", "data")
_OBJECT_ENVELOPES = ("role", "agent")
_ENVELOPES = frozenset((*_LIST_ENVELOPES, *_OBJECT_ENVELOPES))
# An API's error message may have an id, of the request; a role that says no holders has not these.
_ERROR_KEYS = {"code", "error", "errors", "message"}
_BEGIN = re.compile(rb"[ \t\r\n]*(.?)", re.DOTALL)
# An `error` that is none.
_NOTHING = re.compile(rb'null|false|""|\[[ \t\r\n]*\]|\{[ \t\r\n]*\}')
_NUMBER = re.compile(rb"-?[0-9].*")


def document_records(text: bytes) -> Iterable[bytes]:
    """The exact texts of a document's records: an array's, a lone one, or an envelope's.

    Raises:
        NotJson: the text is no JSON.
        Unreadable: it is JSON, but no dump.
    """
    first = first_byte(text)
    if first == b"[":
        return each_element(text)
    if first != b"{":
        check(text)
        raise Unreadable("no dump: a bare value, where records are expected")
    parts, repeated = member_views(text)
    if failure := _failure(text, parts, repeated):
        raise Unreadable(failure)
    keys = parts.keys()
    names = keys & {"id", "agent_id", "role_id"}
    # `roles` and `agents` are an envelope's keys and a record's: beside an id, a record's.
    if (
        keys & {"agent_ids", "role_ids"}
        or (names and keys & {"roles", "agents"})
        or names - {"id"} == {"agent_id", "role_id"}
        or {"id", "role_id"} <= keys
    ):
        return [text.strip(BLANKS)]
    if twice := repeated & _ENVELOPES:
        raise Unreadable(f"no dump: it gives {min(twice)!r} twice")
    found = [key for key in _LIST_ENVELOPES if bytes(parts.get(key, b"")[:1]) == b"["]
    found += [key for key in _OBJECT_ENVELOPES if bytes(parts.get(key, b"")[:1]) == b"{"]
    if len(found) > 1:
        raise Unreadable(f"no dump: both {found[0]!r} and {found[1]!r} hold records")
    if found:
        held = parts[found[0]]
        return each_element(held) if found[0] in _LIST_ENVELOPES else [bytes(held)]
    if names and not keys & _ERROR_KEYS:
        return [text.strip(BLANKS)]
    raise Unreadable("no dump: an object without records, such as an API's error message")


def first_byte(text: bytes, start: int = 0) -> bytes:
    """The first byte that is no blank, if any."""
    found = _BEGIN.match(text, start)
    assert found is not None
    return bytes(found[1])


def failure_of_line(line: bytes) -> str | None:
    """As `_failure`, of a line that may be anything."""
    if first_byte(line) != b"{":
        return None
    try:
        return _failure(line, *member_views(line))
    except NotJson:
        return None


def _failure(
    text: bytes, parts: Mapping[str, bytes | memoryview], repeated: frozenset[str]
) -> str | None:
    """What to say of an object that says of itself that it failed, as an API's answer does."""
    found: Iterable[tuple[str, bytes | memoryview]]
    found = all_members(text) if repeated else parts.items()
    for key, value in found:
        is_error = key in ("error", "errors") and not _NOTHING.fullmatch(value)
        is_unsuccessful = key == "success" and bytes(value[:5]) == b"false"
        is_code = key in ("code", "status_code", "statusCode") and _NUMBER.fullmatch(value)
        if is_error or is_unsuccessful or (is_code and float(value) >= 400):
            return f"no dump: it says of itself that it failed, by its {key!r}"
    return None
