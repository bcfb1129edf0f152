"""A document's records: in an array, in an envelope, or one record alone."""

import re
from collections.abc import Iterable, Mapping, Set

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
_IDS = {"id", "agent_id", "role_id"}
_ENVELOPES = frozenset((*_LIST_ENVELOPES, *_OBJECT_ENVELOPES))
# An API's error message may have an id, that of the request. It also has one of these keys. A role
# that does not say who holds it has none.
_ERROR_KEYS = {"code", "error", "errors", "message"}
_BLANKS = rb"[" + BLANKS + rb"]*"
_BEGIN = re.compile(_BLANKS + rb"(.?)", re.DOTALL)
# An `error` with one of these values reports no failure.
_NOTHING = re.compile(rb'null|false|""|\[' + _BLANKS + rb"\]|\{" + _BLANKS + rb"\}")
_NUMBER = re.compile(rb"-?[0-9].*")


def document_records(text: bytes) -> Iterable[bytes]:
    """The exact texts of a document's records.

    Raises:
        NotJson: the text is no JSON.
        Unreadable: it is JSON, but no dump.
    """
    first = first_nonblank(text)
    if first == b"[":
        return each_element(text)
    if first != b"{":
        check(text)
        raise Unreadable("no dump: a bare value, where records are expected")
    parts, repeated = member_views(text)
    if failure := _reported_failure(text, parts, repeated):
        raise Unreadable(failure)
    keys = parts.keys()
    if _is_record(keys):
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
    if keys & _IDS and not keys & _ERROR_KEYS:
        return [text.strip(BLANKS)]
    raise Unreadable("no dump: an object without records, such as an API's error message")


def _is_record(keys: Set[str]) -> bool:
    """Whether an object with these keys is a record that says who holds which role."""
    ids = keys & _IDS
    # An envelope may also have the keys `roles` and `agents`, but beside an id they are a record's.
    return bool(
        keys & {"agent_ids", "role_ids"}
        or (ids and keys & {"roles", "agents"})
        or {"agent_id", "role_id"} <= ids
        or {"id", "role_id"} <= ids
    )


def first_nonblank(text: bytes, start: int = 0) -> bytes:
    """The first byte that is no blank; nothing if there is none."""
    found = _BEGIN.match(text, start)
    assert found is not None
    return bytes(found[1])


def line_failure(line: bytes) -> str | None:
    """The same as `_reported_failure`, for a line that may be no JSON."""
    if first_nonblank(line) != b"{":
        return None
    try:
        return _reported_failure(line, *member_views(line))
    except NotJson:
        return None


def _reported_failure(
    text: bytes, parts: Mapping[str, bytes | memoryview], repeated: frozenset[str]
) -> str | None:
    """Why the object is no dump, if it reports a failure, as an API's answer does."""
    found: Iterable[tuple[str, bytes | memoryview]]
    found = all_members(text) if repeated else parts.items()
    for key, value in found:
        is_error = key in ("error", "errors") and not _NOTHING.fullmatch(value)
        is_unsuccessful = key == "success" and bytes(value[:5]) == b"false"
        is_code = key in ("code", "status_code", "statusCode") and _NUMBER.fullmatch(value)
        if is_error or is_unsuccessful or (is_code and float(value) >= 400):
            return f"no dump: it says of itself that it failed, by its {key!r}"
    return None
