"""Lists of ids, read the fast way where all that they hold is plain."""

import re
from array import array
from operator import attrgetter
from typing import Any, Literal

import msgspec

from agent_roles_dagster.reading.envelopes import first_byte
from agent_roles_dagster.reading.exact_json import (
    each_element,
    members,
)

_DIGITS = "-?(?:0|[1-9][0-9]{0,18})"
_INTEGER = re.compile(f'({_DIGITS})|"({_DIGITS})"'.encode())
_INTEGER_TEXT = re.compile(_DIGITS)
_ESCAPED_LETTER = re.compile(rb"\\u00[5-7]")
_DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_BIGINT = range(-(2**63), 2**63)


# No struct refers to another object, so that garbage collection need not look at them.
class _AgentEntry(msgspec.Struct, gc=False):
    id: int | str
    status: msgspec.UnsetType = msgspec.UNSET


class _AgentEntryWithStatus(msgspec.Struct, gc=False):
    id: int | str
    status: Literal["assigned"] | msgspec.UnsetType = msgspec.UNSET


class _RoleEntry(msgspec.Struct, gc=False):
    role_id: int | str
    status: msgspec.UnsetType = msgspec.UNSET


class _RoleEntryWithStatus(msgspec.Struct, gc=False):
    role_id: int | str
    status: Literal["assigned"] | msgspec.UnsetType = msgspec.UNSET


_IDS = msgspec.json.Decoder(list[int | str])
# By side: the key of an entry's id, and the one instead of it.
ENTRY_KEYS = {"role": ("id", "agent_id"), "agent": ("role_id", "id")}
# By side: decoders of lists of entries without a status and with one, and the entries' id.
_ENTRIES: dict[str, tuple[msgspec.json.Decoder[list[Any]], msgspec.json.Decoder[list[Any]], Any]]
_ENTRIES = {
    "role": (
        msgspec.json.Decoder(list[_AgentEntry]),
        msgspec.json.Decoder(list[_AgentEntryWithStatus]),
        attrgetter("id"),
    ),
    "agent": (
        msgspec.json.Decoder(list[_RoleEntry]),
        msgspec.json.Decoder(list[_RoleEntryWithStatus]),
        attrgetter("role_id"),
    ),
}
_QUOTED = {"role": b'"id"', "agent": b'"role_id"'}


def plain_ids(side: str, listed: bytes) -> "tuple[array[int], list[int]] | None":
    """The list's plain ids, integers within BIGINT or texts that are one, and what is left.

    They stand there as they are, or in objects whose status, if any, is assigned.

    Returns: the ids, and the places of those that are other texts; None if there is anything else.
    """
    is_of_objects = first_byte(listed, 1) == b"{"
    ids = _ids_of_objects(side, listed) if is_of_objects else _bare_ids(listed)
    if ids is None:
        return None
    try:
        return array("q", ids), []  # type: ignore[arg-type]
    except OverflowError:
        return None
    except TypeError:  # There are texts among them.
        texts = {place: id for place, id in enumerate(ids) if isinstance(id, str)}
    left = [place for place, text in texts.items() if not _INTEGER_TEXT.fullmatch(text)]
    if left:
        others = set(left)
        ids = [id for place, id in enumerate(ids) if place not in others]
    try:
        return array("q", map(int, ids)), left
    except OverflowError:
        return None


def _bare_ids(listed: bytes) -> list[int | str] | None:
    try:
        return _IDS.decode(listed)
    except _DECODE_ERRORS:
        return None


def _ids_of_objects(side: str, listed: bytes) -> list[int | str] | None:
    """The ids of a list of objects, each with one id, and with no status but assigned.

    Returns: None if there is anything else.
    """
    without_status, with_status, id_of = _ENTRIES[side]
    statuses = 0
    try:
        entries = without_status.decode(listed)
    except _DECODE_ERRORS:
        try:
            entries = with_status.decode(listed)
        except _DECODE_ERRORS:
            return None
        statuses = [entry.status for entry in entries].count("assigned")
    # The decoder keeps the last of a repeated key. Where there are as many keys as entries have
    # one, none is there twice; where there are more, they may be nested, or no keys.
    if (
        (b"\\" in listed and _ESCAPED_LETTER.search(listed))
        or listed.count(_QUOTED[side]) != len(entries)
        or (statuses and listed.count(b'"status"') != statuses)
    ):
        ours = {ENTRY_KEYS[side][0], "status"}
        if any(not ours.isdisjoint(members(entry)[1]) for entry in each_element(listed)):
            return None
    return list(map(id_of, entries))


def plain_integer(text: bytes | None) -> int | None:
    if text is None or not (found := _INTEGER.fullmatch(text)):
        return None
    value = int(found[1] or found[2])
    return value if value in _BIGINT else None
