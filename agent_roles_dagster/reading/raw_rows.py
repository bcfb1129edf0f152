"""What a raw row is: its columns, what it says, and how it was received."""

import json
from typing import NamedTuple

import pyarrow as pa

from agent_roles_dagster.reading.jsonb import jsonb_holds

# Columns:
#   kind: "row" for a raw row. Any other row is a note about the file, which stands in `problem`:
#       "file" (it was read), "unreadable" (it is no dump), "not read" (the disk did not give it).
#   agent_id, role_id: the ids of a row that the fast path took. Both are valid, the status is
#       absent or assigned, and the other columns are null.
#   agent, role, status: JSON texts, null where the key is absent. A string keeps its quotes, and
#       its escapes are resolved.
#   problem: a rule that the record or the entry breaks.
#   raw: the row as received, null where the row is known to be valid.
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


class Statement(NamedTuple):
    """What a raw row says: JSON texts, None where the key is absent, and a rule that is broken."""

    agent: bytes | None = None
    role: bytes | None = None
    status: bytes | None = None
    problem: str | None = None


class Received(NamedTuple):
    """A raw row as received.

    Attributes:
        record_no: the record's place in the file, from 1.
        record: the record's text; without its list if the row is an entry of it.
        entry_no: the entry's place in the list, from 1.
        entry: the entry's text.
    """

    record_no: int
    record: bytes | str
    entry_no: int | None = None
    entry: bytes | None = None


def raw_record(
    file: str,
    record_no: int,
    record: str,
    entry_no: int | None = None,
    entry: str | None = None,
) -> str:
    """The row as received, as JSON that JSONB takes.

    Where JSONB can't hold a text to the letter, `entry_text` or `record_text` has it as an escaped
    string, instead of `entry` or `record`. A NUL in it is written \\u0000.
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
