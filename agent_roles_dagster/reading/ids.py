"""The fast path: ids in their usual forms, many at once, without keeping their texts.

An id that is not taken here may still be valid: `staging.validation` decides by its text.
"""

import re
from array import array
from typing import Any

import msgspec

from agent_roles_dagster.reading.envelopes import first_nonblank
from agent_roles_dagster.reading.exact_json import DECODE_ERRORS, each_element, members
from agent_roles_dagster.reading.sides import AGENT, ROLE, Side
from agent_roles_dagster.rules import ASSIGNED, BIGINT, SHORT_INTEGER, Assigned

_ID = re.compile(f'({SHORT_INTEGER})|"({SHORT_INTEGER})"'.encode())
_INTEGER = re.compile(SHORT_INTEGER)
# One of the keys may be written with an escape, such as \u0069d.
_ESCAPED_LETTER = re.compile(rb"\\u00[5-7]")


# No struct refers to another object, so garbage collection need not look at them.
class _Agent(msgspec.Struct, gc=False):
    id: int | str
    status: msgspec.UnsetType = msgspec.UNSET


class _AgentWithStatus(msgspec.Struct, gc=False):
    id: int | str
    status: Assigned | msgspec.UnsetType = msgspec.UNSET


class _Role(_Agent, gc=False):
    id: int | str = msgspec.field(name=AGENT.entry_keys[0])


class _RoleWithStatus(_AgentWithStatus, gc=False):
    id: int | str = msgspec.field(name=AGENT.entry_keys[0])


_Decoder = msgspec.json.Decoder[list[Any]]
_BARE_IDS = msgspec.json.Decoder(list[int | str])
# Lists of entries without a status, and with one.
_OBJECTS: dict[Side, tuple[_Decoder, _Decoder]] = {
    ROLE: (msgspec.json.Decoder(list[_Agent]), msgspec.json.Decoder(list[_AgentWithStatus])),
    AGENT: (msgspec.json.Decoder(list[_Role]), msgspec.json.Decoder(list[_RoleWithStatus])),
}
_QUOTED_ID = {side: f'"{side.entry_keys[0]}"'.encode() for side in (ROLE, AGENT)}


def parse_id(text: bytes | None) -> int | None:
    """The id that a JSON text in a usual form is; None for any other text."""
    if text is None or not (found := _ID.fullmatch(text)):
        return None
    value = int(found[1] or found[2])
    return value if value in BIGINT else None


def parse_ids(side: Side, listed: bytes) -> "tuple[array[int], list[int]] | None":
    """The ids of a list in a usual form: bare ids, or objects whose status is absent or assigned.

    Returns: the ids, and the places in the list of the texts that were not taken. None if the
        list has another form.
    """
    has_objects = first_nonblank(listed, 1) == b"{"
    ids = _ids_of_objects(side, listed) if has_objects else _bare_ids(listed)
    if ids is None:
        return None
    try:
        return array("q", ids), []  # type: ignore[arg-type]
    except OverflowError:
        return None
    except TypeError:  # There are texts among them.
        texts = {place: id for place, id in enumerate(ids) if isinstance(id, str)}
    left = [place for place, text in texts.items() if not _INTEGER.fullmatch(text)]
    if left:
        others = set(left)
        ids = [id for place, id in enumerate(ids) if place not in others]
    try:
        return array("q", map(int, ids)), left
    except OverflowError:
        return None


def _bare_ids(listed: bytes) -> list[int | str] | None:
    try:
        return _BARE_IDS.decode(listed)
    except DECODE_ERRORS:
        return None


def _ids_of_objects(side: Side, listed: bytes) -> list[int | str] | None:
    """The ids of a list of objects; None if an object has another form, or gives a key twice."""
    without_status, with_status = _OBJECTS[side]
    statuses = 0
    try:
        entries = without_status.decode(listed)
    except DECODE_ERRORS:
        try:
            entries = with_status.decode(listed)
        except DECODE_ERRORS:
            return None
        statuses = [entry.status for entry in entries].count(ASSIGNED)
    if _may_repeat_a_key(side, listed, len(entries), statuses):
        keys = {side.entry_keys[0], "status"}
        if any(not keys.isdisjoint(members(entry)[1]) for entry in each_element(listed)):
            return None
    return [entry.id for entry in entries]


def _may_repeat_a_key(side: Side, listed: bytes, entries: int, statuses: int) -> bool:
    """Whether an entry may give its id or status twice. The decoder keeps only the last.

    If the key is in the text as often as there are entries, none gives it twice. If it is there
    more often, it may also be nested, or be no key.
    """
    return (
        (b"\\" in listed and _ESCAPED_LETTER.search(listed) is not None)
        or listed.count(_QUOTED_ID[side]) != entries
        or (statuses > 0 and listed.count(b'"status"') != statuses)
    )
