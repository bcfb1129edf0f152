"""Checks before publishing: all that landed was read, and all that was read was loaded."""

import json

from agent_roles_dagster.display import plain
from agent_roles_dagster.landing.dump import Dump
from agent_roles_dagster.landing.seal import check_digests, content_digest
from agent_roles_dagster.outcomes import LostRows, NotRead, Unreadable
from agent_roles_dagster.postgres.sql_files import Connection
from agent_roles_dagster.staging.load_tables import Load, loaded_counts, loaded_notes
from agent_roles_dagster.staging.neighbours import Neighbours
from agent_roles_dagster.staging.staged_day import StagedDay


def check_loaded(
    connection: Connection,
    dump: Dump,
    neighbours: Neighbours,
    target: Load,
    sealed: str | None,
) -> StagedDay:
    """What staging the day came to.

    Raises:
        Unreadable, NotRead, Pruned, LostRows: see `stage.stage_day`.
    """
    if unreadable := loaded_notes(connection, target, "unreadable"):
        raise Unreadable(unreadable[0])
    if not_read := loaded_notes(connection, target, "not read"):
        raise NotRead(not_read[0])
    files = [json.loads(note) for note in loaded_notes(connection, target, "file")]
    digests = {file["name"]: file["sha256"] for file in files}
    if digests.keys() != {file.name for file in dump.files}:
        raise LostRows(f"{dump.sync_day}: {len(dump.files)} files landed, {len(files)} were read")
    check_digests(dump, digests)
    _check_records(dump, {file["name"]: file["records"] for file in files})
    digest = content_digest(digests)
    if sealed is not None and digest != sealed:
        raise Unreadable(
            f"{dump.sync_day}: the files changed since raw_roles sealed them; materialise"
            " raw_roles again, together with what follows"
        )
    counts = loaded_counts(connection, target)
    neighbours.require_whole(
        dump.sync_day, in_previous=counts["in_previous"], in_next=counts["in_next"]
    )
    raw_rows = sum(file["rows"] for file in files)
    if raw_rows != counts["valid_rows"] + counts["invalid_rows"]:
        raise LostRows(
            f"{dump.sync_day}: {raw_rows} raw rows were read, but {counts['valid_rows']} valid"
            f" and {counts['invalid_rows']} invalid ones were loaded"
        )
    observed_at = dump.observed_at
    if observed_at is None:
        # A dump that lands again with the same content keeps its time.
        same = neighbours.old is not None and neighbours.old["digest"] == digest
        observed_at = neighbours.old["observed_at"] if same and neighbours.old else dump.modified_at
    return StagedDay(
        sync_day=dump.sync_day,
        previous_day=neighbours.previous["sync_day"] if neighbours.previous else None,
        previous_assigned=counts["in_previous"],
        next_assigned=counts["in_next"],
        digest=digest,
        files=len(files),
        content=files,
        observed_at=observed_at,
        records=sum(file["records"] for file in files),
        raw_rows=raw_rows,
        valid_pairs=counts["valid_pairs"],
        duplicates=counts["valid_rows"] - counts["valid_pairs"],
        invalid_rows=counts["invalid_rows"],
        assigned=counts["in_day"],
        removed=counts["removals"],
    )


def _check_records(dump: Dump, records: dict[str, int]) -> None:
    for name, entry in (dump.listed or {}).items():
        if "records" in entry and entry["records"] != records[name]:
            raise Unreadable(
                f"{dump.sync_day}/{plain(name)}: it has {records[name]} records, but the manifest"
                f" says {entry['records']}"
            )
