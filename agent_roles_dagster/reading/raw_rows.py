"""What a dump says: from a file's bytes to raw rows (agent, role, status), by the shapes we know.

Whether a row is valid is not decided here but in `validation`; a row that can't be told apart
at all carries the broken rule as its `problem`. This is plain Python over bytes and Arrow,
without Spark, so that it runs in Spark's tasks and in tests alike.
"""

import hashlib
import json
import re
from array import array
from collections.abc import Iterable, Iterator, Mapping
from io import BytesIO
from operator import attrgetter
from typing import Any, Literal

import msgspec
import pyarrow as pa

from agent_roles_dagster.display import plain
from agent_roles_dagster.landing.find import BLANKS, DumpFile, NotRead, Unreadable, content
from agent_roles_dagster.reading.exact_json import (
    NotJson,
    all_members,
    breaks_off,
    check,
    each_element,
    elements,
    jsonb_holds,
    member_views,
    members,
    without,
)

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

# A document, or a line of JSON Lines, is held in memory as a whole.
LONGEST = 2 << 30
# What is refused is kept, each row with its record: so much of a row, and of all those of a file.
LONGEST_REFUSED = 16 << 20
MOST_REFUSED = 1 << 30

_ROWS_PER_BATCH = 65_536
_TEXT_PER_BATCH = 16 << 20
# So many entries are looked at one by one at most because one among them is of another kind.
_FEW = 64
_LIST_ENVELOPES = ("roles", "agents", "data")
_OBJECT_ENVELOPES = ("role", "agent")
_ENVELOPES = frozenset((*_LIST_ENVELOPES, *_OBJECT_ENVELOPES))
# An API's error message may have an id, of the request; a role that says no holders has not these.
_ERROR_KEYS = {"code", "error", "errors", "message"}
_DIGITS = "-?(?:0|[1-9][0-9]{0,18})"
_INTEGER = re.compile(f'({_DIGITS})|"({_DIGITS})"'.encode())
_INTEGER_TEXT = re.compile(_DIGITS)
_BEGIN = re.compile(rb"[ \t\r\n]*(.?)", re.DOTALL)
# Keys that say whether an agent has a role; given twice, they say nothing.
_DECIDING = ("id", "agent_id", "role_id", "agents", "agent_ids", "roles", "role_ids", "status")
_ESCAPED_LETTER = re.compile(rb"\\u00[5-7]")
# An `error` that is none.
_NOTHING = re.compile(rb'null|false|""|\[[ \t\r\n]*\]|\{[ \t\r\n]*\}')
_NUMBER = re.compile(rb"-?[0-9].*")
_DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_ASSIGNED = (None, b'"assigned"')
_STATUSES = (*_ASSIGNED, b'"removed"')
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
_ENTRY_KEYS = {"role": ("id", "agent_id"), "agent": ("role_id", "id")}
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


def read_file(sync_day: str, file: DumpFile) -> Iterator[pa.RecordBatch]:
    """The file's raw rows, then one row of kind "file", or "unreadable", or "not read".

    The row of kind "file" has in `problem` a JSON object: name, sha256, records, rows.
    """
    where = f"{sync_day}/{plain(file.name)}"
    rows = _Rows(file.name)
    digest = hashlib.sha256()
    try:
        chunks = content(file, digest)
        is_lines = file.name.removesuffix(".gz").endswith(("jsonl", "ndjson"))
        for _ in _read_lines(chunks, rows) if is_lines else _read_document(chunks, rows):
            if rows.is_full:
                yield from rows.flush()
    except Unreadable as error:
        yield _note("unreadable", f"{where}: {error}")
        return
    except NotRead as error:
        yield _note("not read", f"{where}: {error}")
        return
    yield from rows.flush()
    summary = {
        "name": file.name,
        "sha256": digest.hexdigest(),
        "records": rows.records,
        "rows": rows.rows,
    }
    yield _note("file", json.dumps(summary))


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


def _read_document(chunks: Iterator[bytes], rows: "_Rows") -> Iterator[None]:
    text = _document(chunks)
    try:
        records = document_records(text)
        del text
        for number, record in enumerate(records, start=1):
            rows.add_record(record, number)
            yield
    except NotJson as error:
        raise Unreadable(f"not JSON, or cut short ({error})") from error


def _read_lines(chunks: Iterator[bytes], rows: "_Rows") -> Iterator[None]:
    failure = None
    for number, line in enumerate(_lines(chunks), start=1):
        if not rows.records:
            failure = _failure_of(line)
        rows.add_line(line, number)
        yield
    if rows.records == rows.broken_lines:
        raise Unreadable("no line of it is JSON")
    # No line feed ended the last one. One that is no JSON anyway is an invalid row like any other.
    if line.strip(BLANKS) and breaks_off(line):
        raise Unreadable("cut short: the last line breaks off")
    if failure and rows.records == 1:
        raise Unreadable(failure)


def _document(chunks: Iterator[bytes]) -> bytes:
    """The whole text; refuses what would not fit into memory."""
    # It grows in place, and is handed out as it is: joined, the parts would be there twice.
    text = BytesIO()
    for chunk in chunks:
        if text.tell() + len(chunk) > LONGEST:
            raise _too_long("document")
        text.write(chunk)
    return text.getvalue()


def _lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The lines; refuses one that would not fit into memory."""
    parts: list[bytes] = []
    size = 0
    for chunk in chunks:
        *ended, begun = chunk.split(b"\n")
        for end in ended:
            yield b"".join((*parts, end))
            parts, size = [], 0
        parts.append(begun)
        size += len(begun)
        if size > LONGEST:
            raise _too_long("line")
    yield b"".join(parts)


def _too_long(what: str) -> Unreadable:
    return Unreadable(
        f"a {what} of more than {LONGEST >> 20} MiB, which is held in memory as a whole; land it in"
        " several"
    )


def document_records(text: bytes) -> Iterable[bytes]:
    """The exact texts of a document's records: an array's, a lone one, or an envelope's.

    Raises:
        NotJson: the text is no JSON.
        Unreadable: it is JSON, but no dump.
    """
    first = _first(text)
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


def _first(text: bytes, start: int = 0) -> bytes:
    """The first byte that is no blank, if any."""
    found = _BEGIN.match(text, start)
    assert found is not None
    return bytes(found[1])


def _failure_of(line: bytes) -> str | None:
    """As `_failure`, of a line that may be anything."""
    if _first(line) != b"{":
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


class _Rows:
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
        agent_id, role_id = _integer(agent), _integer(role)
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
        first, second = _ENTRY_KEYS[side]
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
        owner_id = _integer(owner)
        if owner_id is None or (found := _plain_ids(side, listed)) is None:
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
        has_ids = None not in (_integer(agent), _integer(role))
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


def _plain_ids(side: str, listed: bytes) -> "tuple[array[int], list[int]] | None":
    """The list's plain ids, integers within BIGINT or texts that are one, and what is left.

    They stand there as they are, or in objects whose status, if any, is assigned.

    Returns: the ids, and the places of those that are other texts; None if there is anything else.
    """
    is_of_objects = _first(listed, 1) == b"{"
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
        ours = {_ENTRY_KEYS[side][0], "status"}
        if any(not ours.isdisjoint(members(entry)[1]) for entry in each_element(listed)):
            return None
    return list(map(id_of, entries))


def _integer(text: bytes | None) -> int | None:
    if text is None or not (found := _INTEGER.fullmatch(text)):
        return None
    value = int(found[1] or found[2])
    return value if value in _BIGINT else None


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


def _note(kind: str, text: str) -> pa.RecordBatch:
    return _batch(1, kind=kind, problem=pa.array([text], pa.string()))


def _batch(length: int, kind: str, **columns: pa.Array) -> pa.RecordBatch:
    columns["kind"] = pa.repeat(pa.scalar(kind), length)
    arrays = [columns.get(field.name, pa.nulls(length, field.type)) for field in RAW_ROWS]
    return pa.RecordBatch.from_arrays(arrays, schema=RAW_ROWS)
