"""What a dump says: from a file's bytes to raw rows (agent, role, status), by the shapes we know.

Whether a row is valid is not decided here but in `validation`; a row that can't be told apart
at all carries the broken rule as its `problem`. This is plain Python over bytes and Arrow,
without Spark, so that it runs in Spark's tasks and in tests alike.
"""

import json
from array import array
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from agent_roles_dagster.landing.content import BLANKS
from agent_roles_dagster.outcomes import Unreadable
from agent_roles_dagster.reading.exact_json import (
    NotJson,
    check,
    elements,
    jsonb_holds,
    members,
    without,
)
from agent_roles_dagster.reading.ids import ENTRY_KEYS, plain_ids, plain_integer

# One row says that an agent holds a role (kind "row"), or what was read of a file ("file"), or
# why it is no dump ("unreadable") or could not be read ("not read"). `agent`, `role` and `status`
# are JSON texts, null where the key is absent; a text's quotes stay, its escapes are resolved. A
# row read the fast way has nothing but `agent_id` and `role_id`: both are integers within BIGINT,
# or texts that are one, and its status is absent or assigned. `raw` is null where a row is known to
# be valid.
RAW_ROWS = pa.schema(
    [
        ("kind", pa.string()),
        ("agent_id", pa.int64()),
        ("role_id", pa.int64()),
        ("agent", pa.string()),
        ("role", pa.string()),
        ("status", pa.string()),
        ("problem", pa.string()),
        (
            "raw",
            pa.struct(
                [
                    ("file", pa.string()),
                    ("record_no", pa.int64()),
                    ("entry_no", pa.int64()),
                    ("entry", pa.string()),
                    ("record", pa.string()),
                ]
            ),
        ),
    ]
)

NOT_AN_OBJECT = "the record is no object"
NO_KNOWN_KEYS = "the record has none of the keys that say who holds which role"
NO_HOLDERS = "the role does not say who holds it"
BROKEN_LINE = "the line is no JSON"
# What is refused is kept, each row with its record: so much of a row, and of all those of a file.
LONGEST_REFUSED = 16 << 20
MOST_REFUSED = 1 << 30

_ROWS_PER_BATCH = 65_536
_TEXT_PER_BATCH = 16 << 20
# So many entries are looked at one by one at most because one among them is of another kind.
_FEW = 64
# Keys that say whether an agent has a role; given twice, they say nothing.
_DECIDING = ("id", "agent_id", "role_id", "agents", "agent_ids", "roles", "role_ids", "status")
_ASSIGNED = (None, b'"assigned"')
_STATUSES = (*_ASSIGNED, b'"removed"')


def raw_record(
    file: str,
    record_no: int,
    record: str,
    entry_no: int | None = None,
    entry: str | None = None,
) -> str:
    """The row as received, as JSON that JSONB takes.

    What JSONB can't hold to the letter stands, as its exact text, under `entry_text` or
    `record_text` instead of `entry` or `record`; a NUL in it is written \\u0000.
    """
    parts = [f'"file": {json.dumps(file)}', f'"record_no": {record_no}']
    if entry_no is not None:
        parts.append(f'"entry_no": {entry_no}')
    for key, text in (("entry", entry), ("record", record)):
        if text is None:
            continue
        if jsonb_holds(text):
            parts.append(f'"{key}": {text}')
        else:
            parts.append(f'"{key}_text": {json.dumps(text.replace(chr(0), chr(92) + "u0000"))}')
    return "{" + ", ".join(parts) + "}"


class Rows:
    """Collects raw rows, and hands them out as Arrow batches."""

    def __init__(self, file: str) -> None:
        self._file = file
        self.records = 0
        self.broken_lines = 0
        self.rows = 0
        self._agents = array("q")
        self._roles = array("q")
        self._others: list[dict[str, Any]] = []
        self._refused = self._refused_before = 0  # bytes

    @property
    def is_full(self) -> bool:
        """Whether it is time to flush."""
        text = self._refused - self._refused_before
        return len(self._agents) + len(self._others) >= _ROWS_PER_BATCH or text > _TEXT_PER_BATCH

    def flush(self) -> Iterator[pa.RecordBatch]:
        """Hand out the rows collected so far, and forget them."""
        agents, roles, others = self._agents, self._roles, self._others
        self.rows += len(agents) + len(others)
        self._refused_before = self._refused
        self._agents, self._roles, self._others = array("q"), array("q"), []
        for start in range(0, len(agents), _ROWS_PER_BATCH):
            length = min(_ROWS_PER_BATCH, len(agents) - start)
            ids = {
                name: pa.Array.from_buffers(
                    pa.int64(), length, [None, pa.py_buffer(values)], offset=start
                )
                for name, values in (("agent_id", agents), ("role_id", roles))
            }
            yield _batch(length, kind="row", **ids)
        start = text = 0
        for end, row in enumerate(others, start=1):
            if raw := row["raw"]:
                text += len(raw["record"]) + len(raw["entry"] or "")
            if text > _TEXT_PER_BATCH or end - start == _ROWS_PER_BATCH or end == len(others):
                yield pa.RecordBatch.from_pylist(others[start:end], RAW_ROWS)
                start, text = end, 0

    def add_line(self, line: bytes, number: int) -> None:
        """The rows of a line of JSON Lines; none if it is blank."""
        line = line.strip(BLANKS)
        if not line:
            return
        before = self.records, len(self._agents), len(self._others)
        try:
            if line[:1] != b"{":
                check(line)
            self.add_record(line, number)
        except NotJson:
            # Nested to the limit, a line may break only after some of its rows were added.
            self.records = before[0] + 1
            self.broken_lines += 1
            del self._agents[before[1] :], self._roles[before[1] :], self._others[before[2] :]
            self._row(None, None, None, BROKEN_LINE, number, line)

    def add_record(self, record: bytes, number: int) -> None:
        """The rows of a record; `number` is its place in the file, from 1."""
        if record[:1] != b"{":
            self.records += 1
            self._row(None, None, None, NOT_AN_OBJECT, number, record)
            return
        parts, repeated = members(record)
        self.records += 1
        if repeated and (twice := [key for key in _DECIDING if key in repeated]):
            problem = f"the record gives {' and '.join(twice)} twice"
            self._row(None, None, None, problem, number, record)
            return
        agent_side = parts.get("id", parts.get("agent_id"))
        role_side = parts.get("id", parts.get("role_id"))
        if "agent_id" in parts and "role_id" in parts:
            self._lone(parts["agent_id"], parts["role_id"], parts.get("status"), number, record)
        elif "agents" in parts or "agent_ids" in parts:
            key = "agents" if "agents" in parts else "agent_ids"
            self._entries("role", role_side, key, parts[key], number, record)
        elif "role_ids" in parts or parts.get("roles", b"")[:1] == b"[":
            key = "role_ids" if "role_ids" in parts else "roles"
            self._entries("agent", agent_side, key, parts[key], number, record)
        elif "role_id" in parts:
            self._lone(agent_side, parts["role_id"], None, number, record)
        elif "id" in parts:
            self._row(None, parts["id"], None, NO_HOLDERS, number, record)
        else:
            self._row(parts.get("agent_id"), None, None, NO_KNOWN_KEYS, number, record)

    def _lone(
        self,
        agent: bytes | None,
        role: bytes,
        status: bytes | None,
        number: int,
        record: bytes,
    ) -> None:
        """The row of a record that speaks of one pair."""
        agent_id, role_id = plain_integer(agent), plain_integer(role)
        if status in _ASSIGNED and agent_id is not None and role_id is not None:
            self._agents.append(agent_id)
            self._roles.append(role_id)
        else:
            self._row(agent, role, status, None, number, record)

    def _entries(
        self,
        side: str,
        owner: bytes | None,
        key: str,
        listed: bytes,
        number: int,
        record: bytes,
    ) -> None:
        """The rows of a list of agents that a role has (side "role"), or of an agent's roles."""
        if listed[:1] != b"[":
            problem = f"{key} is null" if listed == b"null" else f"{key} is no list"
            agent, role = (owner, None) if side == "agent" else (None, owner)
            self._row(agent, role, None, problem, number, record)
            return
        left = self._plain(side, owner, listed)
        if left == []:
            return
        entries = elements(listed)
        if left is None:
            left = []
            for start in range(0, len(entries), _FEW):
                few = entries[start : start + _FEW]
                of_few = self._plain(side, owner, b"[" + b",".join(few) + b"]")
                left += [start + place for place in (range(len(few)) if of_few is None else of_few)]
        rest = without(record, key, listed).decode() if left else ""
        first, second = ENTRY_KEYS[side]
        for place in left:
            entry = entries[place]
            if self._plain(side, owner, b"[" + entry + b"]") == []:
                continue
            other: bytes | None = entry
            status = None
            twice = []
            if entry[:1] == b"{":
                parts, repeated = members(entry)
                key = first if first in parts else second
                if key in repeated:
                    twice.append("agent_id" if side == "role" else "role_id")
                    del parts[key]
                if "status" in repeated:
                    twice.append("status")
                    del parts["status"]
                other = parts.get(key)
                status = parts.get("status")
            broken = "; ".join(f"{name} is given twice" for name in twice) or None
            agent, role = (owner, other) if side == "agent" else (other, owner)
            self._row(agent, role, status, broken, number, rest, place + 1, entry)

    def _plain(self, side: str, owner: bytes | None, listed: bytes) -> list[int] | None:
        """Take of a list what can be taken the fast way.

        Returns: the places of the entries that are left, None if all are.
        """
        owner_id = plain_integer(owner)
        if owner_id is None or (found := plain_ids(side, listed)) is None:
            return None
        ids, left = found
        owners = array("q", [owner_id]) * len(ids)
        self._agents += owners if side == "agent" else ids
        self._roles += ids if side == "agent" else owners
        return left

    def _row(
        self,
        agent: bytes | None,
        role: bytes | None,
        status: bytes | None,
        problem: str | None,
        number: int,
        record: bytes | str,
        entry_no: int | None = None,
        entry: bytes | None = None,
    ) -> None:
        has_ids = None not in (plain_integer(agent), plain_integer(role))
        is_valid = problem is None and status in _STATUSES and has_ids
        if not is_valid:
            self._count_refused(len(record) + len(entry or b""), number)
        self._others.append(
            {
                "kind": "row",
                "agent": _value(agent),
                "role": _value(role),
                "status": _value(status),
                "problem": problem,
                "raw": None
                if is_valid
                else {
                    "file": self._file,
                    "record_no": number,
                    "entry_no": entry_no,
                    "entry": None if entry is None else entry.decode(),
                    "record": record if isinstance(record, str) else record.decode(),
                },
            }
        )

    def _count_refused(self, size: int, number: int) -> None:
        self._refused += size
        if size > LONGEST_REFUSED:
            raise Unreadable(
                f"record {number} has an invalid row of more than {LONGEST_REFUSED >> 20} MiB,"
                " too much to be kept"
            )
        if self._refused > MOST_REFUSED:
            raise Unreadable(
                f"its invalid rows up to record {number}, each with its record, are more than"
                f" {MOST_REFUSED >> 20} MiB, too much to be kept; if they are right, land it in"
                " several files"
            )


def _value(text: bytes | None) -> str | None:
    """The JSON text with a string's escapes resolved, where UTF-8 can hold the result."""
    if text is None:
        return None
    exact = text.decode()
    if exact[:1] != '"' or "\\" not in exact:
        return exact
    resolved = f'"{json.loads(exact)}"'
    try:
        resolved.encode()
    except UnicodeEncodeError:
        return exact
    return resolved


def note(kind: str, text: str) -> pa.RecordBatch:
    return _batch(1, kind=kind, problem=pa.array([text], pa.string()))


def _batch(length: int, kind: str, **columns: pa.Array) -> pa.RecordBatch:
    columns["kind"] = pa.repeat(pa.scalar(kind), length)
    arrays = [columns.get(field.name, pa.nulls(length, field.type)) for field in RAW_ROWS]
    return pa.RecordBatch.from_arrays(arrays, schema=RAW_ROWS)
