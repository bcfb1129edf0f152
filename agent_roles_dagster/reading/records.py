"""From a record to raw rows. The record's keys say which agent holds which role.

Whether a row is valid is decided in `staging.validation`. A record that says nothing makes a row
with the broken rule as its `problem`.
"""

from array import array
from collections.abc import Mapping

from agent_roles_dagster.landing.content import BLANKS
from agent_roles_dagster.reading.batches import RawRows
from agent_roles_dagster.reading.exact_json import NotJson, check, elements, members, without
from agent_roles_dagster.reading.ids import parse_id, parse_ids
from agent_roles_dagster.reading.raw_rows import (
    BROKEN_LINE,
    NO_HOLDERS,
    NO_KNOWN_KEYS,
    NOT_AN_OBJECT,
    Received,
    Statement,
)
from agent_roles_dagster.reading.sides import AGENT, ROLE, Side
from agent_roles_dagster.rules import ASSIGNED, STATUSES

# A record that gives one of these keys twice says nothing.
_DECIDING = ("id", "agent_id", "role_id", "agents", "agent_ids", "roles", "role_ids", "status")
_ASSIGNED = (None, f'"{ASSIGNED}"'.encode())
_STATUSES = (None, *(f'"{status}"'.encode() for status in STATUSES))
# If one entry of a list has an unusual form, the fast path takes the others in groups of this size.
_GROUP = 64


class Records:
    """Adds the raw rows of one record after the other.

    Attributes:
        count: how many records were read, broken lines among them.
        broken_lines: how many lines were no JSON.
    """

    def __init__(self, rows: RawRows) -> None:
        self._rows = rows
        self.count = 0
        self.broken_lines = 0

    def add_line(self, line: bytes, number: int) -> None:
        """The rows of a line of JSON Lines; none if it is blank."""
        line = line.strip(BLANKS)
        if not line:
            return
        count, mark = self.count, self._rows.mark()
        try:
            if line[:1] != b"{":
                check(line)
            self.add_record(line, number)
        except NotJson:
            # A line that is nested to the limit may fail after some of its rows were added.
            self.count = count + 1
            self.broken_lines += 1
            self._rows.undo_to(mark)
            self._add(Statement(problem=BROKEN_LINE), Received(number, line))

    def add_record(self, record: bytes, number: int) -> None:
        """The rows of a record; `number` is its place in the file, from 1."""
        if record[:1] != b"{":
            self.count += 1
            self._add(Statement(problem=NOT_AN_OBJECT), Received(number, record))
            return
        parts, repeated = members(record)
        self.count += 1
        if repeated and (twice := [key for key in _DECIDING if key in repeated]):
            problem = f"the record gives {' and '.join(twice)} twice"
            self._add(Statement(problem=problem), Received(number, record))
        elif "agent_id" in parts and "role_id" in parts:
            status = parts.get("status")
            self._add_pair(parts["agent_id"], parts["role_id"], status, number, record)
        elif "agents" in parts or "agent_ids" in parts:
            key = "agents" if "agents" in parts else "agent_ids"
            self._add_list(ROLE, key, parts, number, record)
        elif "role_ids" in parts or parts.get("roles", b"")[:1] == b"[":
            key = "role_ids" if "role_ids" in parts else "roles"
            self._add_list(AGENT, key, parts, number, record)
        elif "role_id" in parts:
            self._add_pair(AGENT.record_id(parts), parts["role_id"], None, number, record)
        elif "id" in parts:
            said = Statement(role=parts["id"], problem=NO_HOLDERS)
            self._add(said, Received(number, record))
        else:
            said = Statement(agent=parts.get("agent_id"), problem=NO_KNOWN_KEYS)
            self._add(said, Received(number, record))

    def _add_pair(
        self, agent: bytes | None, role: bytes, status: bytes | None, number: int, record: bytes
    ) -> None:
        """The row of a record that has one pair."""
        agent_id, role_id = parse_id(agent), parse_id(role)
        if status in _ASSIGNED and agent_id is not None and role_id is not None:
            self._rows.add_ids(agent_id, role_id)
        else:
            self._add(Statement(agent, role, status), Received(number, record))

    def _add_list(
        self, side: Side, key: str, parts: Mapping[str, bytes], number: int, record: bytes
    ) -> None:
        """The rows of the list that the record has under the key, one for each entry."""
        record_id, listed = side.record_id(parts), parts[key]
        if listed[:1] != b"[":
            problem = f"{key} is null" if listed == b"null" else f"{key} is no list"
            self._add(
                Statement(*side.pair(record_id, None), problem=problem), Received(number, record)
            )
            return
        parsed = parse_id(record_id)
        left = self._add_plain(side, parsed, listed)
        if left == []:
            return
        entries = elements(listed)
        if left is None:
            left = self._add_groups(side, parsed, entries)
        rest = without(record, key, listed).decode() if left else ""
        for place in left:
            entry = entries[place]
            if self._add_plain(side, parsed, b"[" + entry + b"]") != []:
                said = _entry_statement(side, record_id, entry)
                self._add(said, Received(number, rest, place + 1, entry))

    def _add_groups(self, side: Side, record_id: int | None, entries: list[bytes]) -> list[int]:
        """As `_add_plain`, group by group."""
        left: list[int] = []
        for start in range(0, len(entries), _GROUP):
            group = entries[start : start + _GROUP]
            left_of_group = self._add_plain(side, record_id, b"[" + b",".join(group) + b"]")
            if left_of_group is None:
                left_of_group = list(range(len(group)))
            left += [start + place for place in left_of_group]
        return left

    def _add_plain(self, side: Side, record_id: int | None, listed: bytes) -> list[int] | None:
        """Add the rows of those entries that the fast path takes.

        Returns: the places of the entries that are left; None if all are.
        """
        if record_id is None or (found := parse_ids(side, listed)) is None:
            return None
        ids, left = found
        self._rows.add_many_ids(*side.pair(array("q", [record_id]) * len(ids), ids))
        return left

    def _add(self, said: Statement, received: Received) -> None:
        self._rows.add(said, None if _is_known_to_be_valid(said) else received)


def _entry_statement(side: Side, record_id: bytes | None, entry: bytes) -> Statement:
    """What an entry says, by its keys if it is an object."""
    if entry[:1] != b"{":
        return Statement(*side.pair(record_id, entry))
    parts, repeated = members(entry)
    first, second = side.entry_keys
    key = first if first in parts else second
    twice = []
    if key in repeated:
        twice.append(side.entry_id)
        del parts[key]
    if "status" in repeated:
        twice.append("status")
        del parts["status"]
    problem = "; ".join(f"{name} is given twice" for name in twice) or None
    agent, role = side.pair(record_id, parts.get(key))
    return Statement(agent, role, parts.get("status"), problem)


def _is_known_to_be_valid(said: Statement) -> bool:
    has_ids = parse_id(said.agent) is not None and parse_id(said.role) is not None
    return has_ids and said.status in _STATUSES and said.problem is None
