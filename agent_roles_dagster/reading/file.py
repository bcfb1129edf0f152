"""A dump file as raw rows: the one way in."""

import hashlib
import json
from collections.abc import Iterator
from io import BytesIO

import pyarrow as pa

from agent_roles_dagster.display import plain
from agent_roles_dagster.landing.content import BLANKS, content
from agent_roles_dagster.landing.files import DumpFile
from agent_roles_dagster.outcomes import NotRead, Unreadable
from agent_roles_dagster.reading.envelopes import document_records, failure_of_line
from agent_roles_dagster.reading.exact_json import (
    NotJson,
    breaks_off,
)
from agent_roles_dagster.reading.raw_rows import Rows, note

# A document, or a line of JSON Lines, is held in memory as a whole.
LONGEST = 2 << 30


def read_file(sync_day: str, file: DumpFile) -> Iterator[pa.RecordBatch]:
    """The file's raw rows, then one row of kind "file", or "unreadable", or "not read".

    The row of kind "file" has in `problem` a JSON object: name, sha256, records, rows.
    """
    where = f"{sync_day}/{plain(file.name)}"
    rows = Rows(file.name)
    digest = hashlib.sha256()
    try:
        chunks = content(file, digest)
        is_lines = file.name.removesuffix(".gz").endswith(("jsonl", "ndjson"))
        for _ in _read_lines(chunks, rows) if is_lines else _read_document(chunks, rows):
            if rows.is_full:
                yield from rows.flush()
    except Unreadable as error:
        yield note("unreadable", f"{where}: {error}")
        return
    except NotRead as error:
        yield note("not read", f"{where}: {error}")
        return
    yield from rows.flush()
    summary = {
        "name": file.name,
        "sha256": digest.hexdigest(),
        "records": rows.records,
        "rows": rows.rows,
    }
    yield note("file", json.dumps(summary))


def _read_document(chunks: Iterator[bytes], rows: "Rows") -> Iterator[None]:
    text = _document(chunks)
    try:
        records = document_records(text)
        del text
        for number, record in enumerate(records, start=1):
            rows.add_record(record, number)
            yield
    except NotJson as error:
        raise Unreadable(f"not JSON, or cut short ({error})") from error


def _read_lines(chunks: Iterator[bytes], rows: "Rows") -> Iterator[None]:
    failure = None
    for number, line in enumerate(_lines(chunks), start=1):
        if not rows.records:
            failure = failure_of_line(line)
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
