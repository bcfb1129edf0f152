"""A dump file as raw rows: the way in to this folder."""

import hashlib
import json
from collections.abc import Iterator
from io import BytesIO

import pyarrow as pa

from agent_roles_dagster.landing.content import BLANKS, read_text
from agent_roles_dagster.landing.files import DumpFile
from agent_roles_dagster.landing.names import is_json_lines, shown_path
from agent_roles_dagster.outcomes import NotRead, Unreadable
from agent_roles_dagster.reading.batches import RawRows, note
from agent_roles_dagster.reading.envelopes import document_records, line_failure
from agent_roles_dagster.reading.exact_json import NotJson, breaks_off
from agent_roles_dagster.reading.records import Records

# A document, or a line of JSON Lines, is held in memory as a whole.
LONGEST = 2 << 30


def read_file(sync_day: str, file: DumpFile) -> Iterator[pa.RecordBatch]:
    """The file's raw rows, then one row of kind "file", or "unreadable", or "not read".

    The row of kind "file" has in `problem` a JSON object: name, sha256, records, rows.
    """
    where = shown_path(sync_day, file.name)
    rows = RawRows(file.name)
    records = Records(rows)
    digest = hashlib.sha256()
    read = _read_lines if is_json_lines(file.name) else _read_document
    try:
        for _ in read(read_text(file, digest), records):
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
        "records": records.count,
        "rows": rows.count,
    }
    yield note("file", json.dumps(summary))


def _read_document(chunks: Iterator[bytes], records: Records) -> Iterator[None]:
    """Add a document's records, with a pause after each."""
    text = _joined(chunks)
    try:
        found = document_records(text)
        del text
        for number, record in enumerate(found, start=1):
            records.add_record(record, number)
            yield
    except NotJson as error:
        raise Unreadable(f"not JSON, or cut short ({error})") from error


def _read_lines(chunks: Iterator[bytes], records: Records) -> Iterator[None]:
    """Add a record for each line, with a pause after each."""
    failure = None
    for number, line in enumerate(_lines(chunks), start=1):
        if not records.count:
            failure = line_failure(line)
        records.add_line(line, number)
        yield
    if records.count == records.broken_lines:
        raise Unreadable("no line of it is JSON")
    # The last line has no line feed. If it breaks off, the file was cut short. If nothing
    # that could follow makes it JSON, it is an invalid row.
    if line.strip(BLANKS) and breaks_off(line):
        raise Unreadable("cut short: the last line breaks off")
    if failure and records.count == 1:
        raise Unreadable(failure)


def _joined(chunks: Iterator[bytes]) -> bytes:
    """The whole text. One that would not fit into memory is refused."""
    # It grows in place and is handed out without a copy. Joined parts would be in memory twice.
    text = BytesIO()
    for chunk in chunks:
        if text.tell() + len(chunk) > LONGEST:
            raise _too_long("document")
        text.write(chunk)
    return text.getvalue()


def _lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The lines. One that would not fit into memory is refused."""
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
        f"a {what} of more than {LONGEST >> 20} MiB, which is held in memory as a whole. Land"
        " several shorter ones"
    )
