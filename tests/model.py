"""A slow, obvious model of the pipeline: what the tables must hold, whatever the code does.

It is a second opinion, so it shares nothing with the package: it parses the very bytes that
landed with the standard library, keeps the dumps that were staged in a dict, and computes all
tables from scratch, day by day, whenever it is asked.
"""

import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

MISSING = object()  # an absent key, as opposed to null
TWICE = object()  # one that is given repeatedly, so that none of its values counts
ASSIGNED, REMOVED = "assigned", "removed"
STAGED, HELD, UNREADABLE, PRUNED = "staged", "held", "unreadable", "pruned"
RECORD = "record"  # the broken rule of a record that gives no pair at all

_INTEGER_TEXT = re.compile(r"\s*(-?(?:0|[1-9]\d*))\s*", re.ASCII)
_DUMP_FILE = re.compile(r"[^._].*\.(json|jsonl|ndjson)(\.gz)?", re.DOTALL)

Pair = tuple[int, int]


class NoSnapshot(Exception):
    """The day is unreadable."""


class Object(dict[str, Any]):
    """A JSON object that remembers all its members."""

    def __init__(self, members: list[tuple[str, Any]]) -> None:
        super().__init__(members)
        self.members = members

    def gives_twice(self, *keys: str) -> bool:
        return any(sum(name == key for name, _ in self.members) > 1 for key in keys)


@dataclass(frozen=True)
class Guard:
    """The guard's limits, as the test sets them."""

    min_previous: int
    min_removals: int
    share: float


@dataclass(frozen=True)
class Row:
    """A raw row: what it says, or what is wrong with the record that should have said it."""

    agent: Any
    role: Any
    status: Any
    file: str
    entry: Any
    record: Any
    problem_with: frozenset[str] = frozenset()  # the ids that a record should have given

    def ids(self) -> tuple[int | None, int | None]:
        return integer(self.agent), integer(self.role)

    def broken(self) -> frozenset[str]:
        """The rules that the row breaks; empty for a valid one."""
        rules = {
            RECORD: not self.problem_with,
            "agent_id": integer(self.agent) is not None,
            "role_id": integer(self.role) is not None,
            "status": self.status is MISSING or self.status in (ASSIGNED, REMOVED),
        }
        given = {"agent_id": self.agent, "role_id": self.role}
        return frozenset(
            name
            for name, is_kept in rules.items()
            if not is_kept and not (name in self.problem_with and given[name] is MISSING)
        )


@dataclass(frozen=True)
class Read:
    """A readable dump: its raw rows, how many records it has, and when the source was read."""

    observed_at: datetime
    records: int
    rows: tuple[Row, ...]
    files: int

    def valid(self) -> list[Row]:
        return [row for row in self.rows if not row.broken()]

    def invalid(self) -> list[Row]:
        return [row for row in self.rows if row.broken()]

    def pairs(self) -> set[Pair]:
        """The distinct valid pairs, whatever their status."""
        return {(integer(row.agent), integer(row.role)) for row in self.valid()}  # type: ignore[misc]

    def assigned(self) -> set[Pair]:
        """S(d)."""
        return {
            (integer(row.agent), integer(row.role))  # type: ignore[misc]
            for row in self.valid()
            if row.status in (MISSING, ASSIGNED)
        }


@dataclass
class Model:
    """The staged days and the refused rows of each day's last readable run."""

    guard: Guard
    staged: dict[str, Read] = field(default_factory=dict)
    refused: dict[str, list[Row]] = field(default_factory=dict)
    pruned: set[str] = field(default_factory=set)

    def land(self, day: str, files: dict[str, bytes], accept_removals: bool) -> str:
        """Land a dump, run its day, and say how that must end."""
        try:
            read = read_dump(files)
        except NoSnapshot:
            return UNREADABLE
        if self.needs_pruned(day):
            return PRUNED
        self.refused[day] = read.invalid()
        if self._is_implausible(day, read) and not accept_removals:
            return HELD
        self.staged[day] = read
        return STAGED

    def _is_implausible(self, day: str, read: Read) -> bool:
        before = self.assigned_before(day)
        now = read.assigned()
        gone = len(before - now)
        return (
            (read.records == 0 and len(before) > 0)
            or (len(now) == 0 and len(before) >= self.guard.min_previous)
            or (gone >= self.guard.min_removals and gone > self.guard.share * len(before))
        )

    def needs_pruned(self, day: str) -> bool:
        """Whether the day is compared with a snapshot that is not kept."""
        return not self.pruned.isdisjoint(self._compared_with(day))

    def prune(self, day: str, keep_days: int, landed: set[str]) -> None:
        """Drop old snapshots after a run of the day, but none that may be compared with."""
        needed = set(self.days()[-keep_days:])
        for awaited in {day} | (landed - self.staged.keys()):
            needed |= self._compared_with(awaited)
        self.pruned |= self.staged.keys() - needed

    def _compared_with(self, day: str) -> set[str]:
        """The day's own snapshot, and those of the staged days just before and after."""
        before = [other for other in self.days() if number(other) < number(day)]
        after = [other for other in self.days() if number(other) > number(day)]
        return {day, *before[-1:], *after[:1]}

    def days(self) -> list[str]:
        """The staged days in their order."""
        return sorted(self.staged, key=number)

    def assigned_before(self, day: str) -> set[Pair]:
        """S(previous), empty if no earlier day is staged."""
        earlier = [other for other in self.days() if number(other) < number(day)]
        return self.staged[earlier[-1]].assigned() if earlier else set()

    def stg_agent_roles(self) -> list[tuple[int, int, str, str]]:
        """(agent, role, status, day) of the snapshots that are kept."""
        return [row for row in self._snapshots() if row[3] not in self.pruned]

    def _snapshots(self) -> list[tuple[int, int, str, str]]:
        rows = []
        for day in self.days():
            now, before = self.staged[day].assigned(), self.assigned_before(day)
            rows += [(*pair, ASSIGNED, day) for pair in now]
            rows += [(*pair, REMOVED, day) for pair in before - now]
        return rows

    def history(self) -> list[tuple[Any, ...]]:
        """(agent, role, assigned_on, assigned_at, removed_on, removed_at) of every assignment."""
        assignments: dict[Pair, list[list[Any]]] = {}
        for day in self.days():
            at = self.staged[day].observed_at
            for agent, role, status, staged_for in self._snapshots():
                if staged_for != day:
                    continue
                story = assignments.setdefault((agent, role), [])
                holds = bool(story) and story[-1][2] is None
                if status == ASSIGNED and not holds:
                    story.append([day, at, None, None])
                elif status == REMOVED and holds:
                    story[-1][2:] = [day, at]
        return [(*pair, *one) for pair, story in assignments.items() for one in story]

    def agent_role_mapping(self) -> list[tuple[Any, ...]]:
        """(agent, role, status, assigned_at, removed_at): each pair's latest assignment."""
        latest: dict[Pair, tuple[Any, ...]] = {}
        for agent, role, _, assigned_at, removed_on, removed_at in self.history():
            status = ASSIGNED if removed_on is None else REMOVED
            latest[agent, role] = (agent, role, status, assigned_at, removed_at)
        return list(latest.values())

    def agent_role_pipeline_errors(self) -> list[tuple[Any, ...]]:
        """(day, agent, role, broken rules, file, entry, record) of every refused row."""
        return [
            (day, *row.ids(), row.broken(), row.file, canonical(row.entry), canonical(row.record))
            for day, rows in self.refused.items()
            for row in rows
        ]

    def agent_role_sync_days(self) -> list[tuple[Any, ...]]:
        """(day, files, records, raw, pairs, duplicates, invalid, assigned, removed, errors, at)."""
        rows = []
        for day, read in self.staged.items():
            pairs, valid, now = read.pairs(), len(read.valid()), read.assigned()
            counts = (len(read.rows), len(pairs), valid - len(pairs), len(read.invalid()))
            removed = len(self.assigned_before(day) - now)
            errors = len(self.refused[day])
            at = read.observed_at
            rows.append((day, read.files, read.records, *counts, len(now), removed, errors, at))
        return rows


def number(day: str) -> int:
    """The number that a sync day's digits spell."""
    return int("".join(filter(str.isdigit, day)))


def integer(value: Any) -> int | None:
    """The BIGINT that an id is, None if it is none."""
    if isinstance(value, str):
        match = _INTEGER_TEXT.fullmatch(value)
        value = int(match[1]) if match and len(match[1]) < 30 else None
    if type(value) is not int or not -(2**63) <= value < 2**63:
        return None
    return value


def canonical(value: Any) -> Any:
    """JSON as something hashable that is equal where JSONB would write the same text."""
    if value is MISSING:
        return "missing"
    if isinstance(value, Broken):
        # PostgreSQL's texts can't hold a NUL.
        return canonical_text(value.line.replace("\0", "\\u0000"))
    if isinstance(value, dict):
        return frozenset((key, canonical(part)) for key, part in value.items())
    if isinstance(value, list):
        return ("list", *map(canonical, value))
    if isinstance(value, bool) or value is None:
        return ("constant", str(value))
    if isinstance(value, (int, Decimal)):
        # Its digits, since as numbers 1.0 and 1.00 are equal.
        return ("number", Decimal(value).as_tuple())
    return ("text", value)


def canonical_text(text: str) -> Any:
    """A JSON text as `canonical`; of one that is no JSON, the text."""
    try:
        return canonical(parsed(text))
    except ValueError:
        return ("no JSON", text)


def parsed(text: str) -> Any:
    """The value of a JSON text; ValueError if it is none.

    An object is an `Object`; as a dict, it has the last value of a repeated key.
    """

    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse, parse_float=Decimal, object_pairs_hook=Object)


def read_dump(files: dict[str, bytes]) -> Read:
    """What the files of a day's folder say."""
    dump = {name: data for name, data in files.items() if is_dump_file(name)}
    if not dump:
        raise NoSnapshot("no file has landed")
    records, rows = {}, []
    for name, data in dump.items():
        found = list(file_records(name, data))
        records[name] = len(found)
        for record in found:
            rows += record_rows(name, record)
    observed_at = _check_manifest(files["_manifest.json"], files, records)
    return Read(observed_at, sum(records.values()), tuple(rows), len(dump))


def _check_manifest(data: bytes, files: dict[str, bytes], records: dict[str, int]) -> datetime:
    """When the source was read, if the manifest is one and matches the files."""
    try:
        manifest = parsed(data.decode("utf-8-sig"))
        observed_at = datetime.fromisoformat(manifest["observed_at"])
    except (ValueError, TypeError, KeyError) as error:
        raise NoSnapshot("the manifest is broken") from error
    if observed_at.tzinfo is None:
        raise NoSnapshot("observed_at has no offset")
    if "files" in manifest:
        if not {entry["name"] for entry in manifest["files"]} <= files.keys():
            raise NoSnapshot("the manifest names other files")
        for entry in manifest["files"]:
            name = entry["name"]
            digest = hashlib.sha256(files[name]).hexdigest()
            if entry.get("sha256", digest) != digest:
                raise NoSnapshot("another SHA-256")
            if entry.get("records", records.get(name)) != records.get(name):
                raise NoSnapshot("another number of records")
    return observed_at.astimezone(UTC).replace(tzinfo=None)


def is_dump_file(name: str) -> bool:
    """Whether a file of this name is part of the dump."""
    return _DUMP_FILE.fullmatch(name) is not None


def file_records(name: str, data: bytes) -> Iterator[Any]:
    """The records of a file; a broken line of JSON Lines is a `Broken`."""
    try:
        if name.endswith(".gz"):
            data = gzip.decompress(data)
        text = data.decode("utf-8-sig")
    except (ValueError, EOFError, OSError, zlib.error) as error:
        raise NoSnapshot("not UTF-8, or a broken gzip") from error
    if not text.strip(" \t\r\n"):
        raise NoSnapshot("blank")
    if "\0" in text:
        raise NoSnapshot("a NUL byte")
    if name.removesuffix(".gz").endswith(".json"):
        try:
            document = parsed(text)
        except ValueError as error:
            raise NoSnapshot("not JSON") from error
        yield from document_records(document)
        return
    lines = text.split("\n")
    if breaks_off(lines[-1]):
        raise NoSnapshot("cut short")
    records = []
    for line in lines:
        if not line.strip(" \t\r"):
            continue
        try:
            records.append(parsed(line))
        except ValueError:
            records.append(Broken(line.strip(" \t\r")))
    if all(isinstance(record, Broken) for record in records):
        raise NoSnapshot("no line is JSON")
    if len(records) == 1 and says_it_failed(records[0]):
        raise NoSnapshot("an API's error")
    yield from records


def breaks_off(line: str) -> bool:
    """Whether the line is no JSON, but becomes JSON by what is written after it."""
    if not line.strip(" \t\r") or _is_json(line):
        return False
    outside = re.sub(r'"(?:[^"\\]|\\.)*"?', "", line)
    while (fewer := re.sub(r"\{[^][{}]*\}|\[[^][{}]*\]", "", outside)) != outside:
        outside = fewer
    closing = "".join({"{": "}", "[": "]"}.get(sign, "") for sign in reversed(outside))
    words = [word[at:] for word in ("true", "false", "null") for at in range(1, len(word))]
    ends = ["", '"', '""', *(digits * "0" + '"' for digits in range(1, 5)), *words]
    rests = ["", "0", ":0", '"":0']
    return any(_is_json(line + end + rest + closing) for end in ends for rest in rests)


def _is_json(text: str) -> bool:
    try:
        parsed(text)
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class Broken:
    """A line that is no JSON."""

    line: str


def document_records(document: Any) -> list[Any]:
    """The records of a document: an array's, a lone one, or an envelope's."""
    if isinstance(document, list):
        return document
    if not isinstance(document, Object):
        raise NoSnapshot("a bare value")
    if says_it_failed(document):
        raise NoSnapshot("an API's error")
    if document.keys() & {"id", "agent_id", "role_id", "agent_ids", "role_ids"}:
        return [document]
    if document.gives_twice("roles", "agents", "data", "role", "agent"):
        raise NoSnapshot("a list twice")
    for key in ("roles", "agents", "data"):
        if isinstance(document.get(key), list):
            return document[key]
    for key in ("role", "agent"):
        if isinstance(document.get(key), dict):
            return [document[key]]
    raise NoSnapshot("an object without records")


def says_it_failed(document: Any) -> bool:
    """Whether a document is an object that is an API's answer to a request that failed."""
    if not isinstance(document, Object):
        return False
    for key, value in document.members:
        is_nothing = value is None or value is False or value in ("", [], {})
        is_number = isinstance(value, (int, Decimal)) and not isinstance(value, bool)
        if key in ("error", "errors") and not is_nothing:
            return True
        if key == "success" and value is False:
            return True
        if key in ("code", "status_code", "statusCode") and is_number and value >= 400:
            return True
    return False


_BOTH = frozenset({"agent_id", "role_id"})
_DECIDING = (
    "id", "agent_id", "role_id", "agents", "agent_ids", "roles", "role_ids", "status",
)  # fmt: skip


def record_rows(file: str, record: Any) -> list[Row]:
    """The raw rows of a record, by the three sides a record may speak from."""
    if not isinstance(record, Object) or record.gives_twice(*_DECIDING):
        return [Row(MISSING, MISSING, MISSING, file, MISSING, record, _BOTH)]
    agent_side = record.get("id", record.get("agent_id", MISSING))
    role_side = record.get("id", record.get("role_id", MISSING))
    if "agent_id" in record and "role_id" in record:
        status = record.get("status", MISSING)
        return [Row(record["agent_id"], record["role_id"], status, file, MISSING, record)]
    for key in ("agents", "agent_ids"):
        if key in record:
            return _entry_rows(file, record, key, role=role_side)
    if "role_ids" in record:
        return _entry_rows(file, record, "role_ids", agent=agent_side)
    if isinstance(record.get("roles"), list):
        return _entry_rows(file, record, "roles", agent=agent_side)
    if "role_id" in record:
        return [Row(agent_side, record["role_id"], MISSING, file, MISSING, record)]
    role = record.get("id", MISSING)
    agent = MISSING if "id" in record else record.get("agent_id", MISSING)
    return [Row(agent, role, MISSING, file, MISSING, record, _BOTH)]


def _entry_rows(
    file: str, record: dict[str, Any], key: str, agent: Any = MISSING, role: Any = MISSING
) -> list[Row]:
    """The raw rows of the list under the key, of agents (a role is given) or the other way."""
    entries = record[key]
    of_role = key in ("agents", "agent_ids")
    if not isinstance(entries, list):
        entries_id = frozenset({"agent_id" if of_role else "role_id"})
        return [Row(agent, role, MISSING, file, MISSING, record, entries_id)]
    rest = {name: value for name, value in record.items() if name != key}
    first, second = ("id", "agent_id") if of_role else ("role_id", "id")
    rows = []
    for entry in entries:
        other, status = entry, MISSING
        if isinstance(entry, Object):
            id_key = first if first in entry else second
            other = TWICE if entry.gives_twice(id_key) else entry.get(id_key, MISSING)
            status = TWICE if entry.gives_twice("status") else entry.get("status", MISSING)
        pair = (other, role) if of_role else (agent, other)
        rows.append(Row(*pair, status, file, entry, rest))
    return rows
