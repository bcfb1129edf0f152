"""Collects a file's raw rows, and hands them out as Arrow batches.

This is plain Python over bytes and Arrow, without Spark. Spark's tasks and tests both run it.
"""

import json
from array import array
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from agent_roles_dagster.outcomes import Unreadable
from agent_roles_dagster.reading.raw_rows import RAW_ROWS, Received, Statement

# Each invalid row is kept with its record. These are the limits for one row, and for a file.
LONGEST_REFUSED = 16 << 20
MOST_REFUSED = 1 << 30

_ROWS_PER_BATCH = 65_536
_TEXT_PER_BATCH = 16 << 20


class RawRows:
    """Collects raw rows, and hands them out as Arrow batches.

    Attributes:
        count: how many rows were handed out.
    """

    def __init__(self, file: str) -> None:
        self._file = file
        self.count = 0
        # The rows of the fast path, and all others.
        self._agents = array("q")
        self._roles = array("q")
        self._others: list[dict[str, Any]] = []
        # The size of the texts that are kept: of the whole file, and until the last flush.
        self._kept = self._kept_before = 0

    def add_ids(self, agent_id: int, role_id: int) -> None:
        """A valid row of the fast path."""
        self._agents.append(agent_id)
        self._roles.append(role_id)

    def add_many_ids(self, agent_ids: "array[int]", role_ids: "array[int]") -> None:
        """Valid rows of the fast path, as many as each array has ids."""
        self._agents += agent_ids
        self._roles += role_ids

    def add(self, said: Statement, received: Received | None) -> None:
        """Any other row.

        Args:
            received: its texts, None where the row is known to be valid.

        Raises:
            Unreadable: the texts are too long to be kept.
        """
        if received is not None:
            self._count_kept(received)
        self._others.append(
            {
                "kind": "row",
                "agent": _resolved(said.agent),
                "role": _resolved(said.role),
                "status": _resolved(said.status),
                "problem": said.problem,
                "raw": None if received is None else self._raw(received),
            }
        )

    def mark(self) -> tuple[int, int]:
        """What `undo_to` goes back to."""
        return len(self._agents), len(self._others)

    def undo_to(self, mark: tuple[int, int]) -> None:
        """Forget the rows that were added since the mark. No flush may lie between."""
        ids, others = mark
        del self._agents[ids:], self._roles[ids:], self._others[others:]

    @property
    def is_full(self) -> bool:
        """Whether it is time to flush."""
        rows = len(self._agents) + len(self._others)
        return rows >= _ROWS_PER_BATCH or self._kept - self._kept_before > _TEXT_PER_BATCH

    def flush(self) -> Iterator[pa.RecordBatch]:
        """Hand out the rows collected so far, and forget them."""
        agents, roles, others = self._agents, self._roles, self._others
        self.count += len(agents) + len(others)
        self._kept_before = self._kept
        self._agents, self._roles, self._others = array("q"), array("q"), []
        yield from _batches_of_ids(agents, roles)
        yield from _batches_of_others(others)

    def _raw(self, received: Received) -> dict[str, Any]:
        record_no, record, entry_no, entry = received
        return {
            "file": self._file,
            "record_no": record_no,
            "entry_no": entry_no,
            "entry": None if entry is None else entry.decode(),
            "record": record if isinstance(record, str) else record.decode(),
        }

    def _count_kept(self, received: Received) -> None:
        number = received.record_no
        size = len(received.record) + len(received.entry or b"")
        self._kept += size
        if size > LONGEST_REFUSED:
            raise Unreadable(
                f"record {number} has an invalid row of more than {LONGEST_REFUSED >> 20} MiB,"
                " too much to be kept"
            )
        if self._kept > MOST_REFUSED:
            raise Unreadable(
                f"its invalid rows up to record {number}, each with its record, are more than"
                f" {MOST_REFUSED >> 20} MiB, too much to be kept. If they are right, land the dump"
                " in several files"
            )


def note(kind: str, text: str) -> pa.RecordBatch:
    """One row that is no raw row, in the same columns."""
    return _batch(1, kind=kind, problem=pa.array([text], pa.string()))


def _batches_of_ids(agents: "array[int]", roles: "array[int]") -> Iterator[pa.RecordBatch]:
    """Rows of the fast path, without a copy of the ids."""
    for start in range(0, len(agents), _ROWS_PER_BATCH):
        length = min(_ROWS_PER_BATCH, len(agents) - start)
        ids = {
            name: pa.Array.from_buffers(
                pa.int64(), length, [None, pa.py_buffer(values)], offset=start
            )
            for name, values in (("agent_id", agents), ("role_id", roles))
        }
        yield _batch(length, kind="row", **ids)


def _batches_of_others(rows: list[dict[str, Any]]) -> Iterator[pa.RecordBatch]:
    """Rows with their texts, in batches of bounded size."""
    start = size = 0
    for end, row in enumerate(rows, start=1):
        if raw := row["raw"]:
            size += len(raw["record"]) + len(raw["entry"] or "")
        if size > _TEXT_PER_BATCH or end - start == _ROWS_PER_BATCH or end == len(rows):
            yield pa.RecordBatch.from_pylist(rows[start:end], RAW_ROWS)
            start, size = end, 0


def _batch(length: int, kind: str, **columns: pa.Array) -> pa.RecordBatch:
    columns["kind"] = pa.repeat(pa.scalar(kind), length)
    arrays = [columns.get(field.name, pa.nulls(length, field.type)) for field in RAW_ROWS]
    return pa.RecordBatch.from_arrays(arrays, schema=RAW_ROWS)


def _resolved(text: bytes | None) -> str | None:
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
