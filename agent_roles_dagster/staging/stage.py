"""Staging a day: read, compare with the neighbours, load, and publish all of it or nothing."""

import gc
import json
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache, partial
from itertools import pairwise
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from agent_roles_dagster.display import plain
from agent_roles_dagster.engines import Engine, Start
from agent_roles_dagster.landing.find import (
    Dump,
    NotRead,
    Unreadable,
    check_digests,
    content_digest,
    find_dump,
)
from agent_roles_dagster.postgres.connection import (
    Connection,
    connect,
    days_schema,
    lock_tables,
    one,
    rows_of_file,
    run_file,
    staging_turn,
)
from agent_roles_dagster.progress import Progress, lasting, loading, writing
from agent_roles_dagster.settings import Settings
from agent_roles_dagster.staging.guard import why_held
from agent_roles_dagster.staging.load import (
    Load,
    SeenAs,
    create_load_tables,
    drop_load_tables,
    drop_used_tables,
    load,
    loaded_counts,
    loaded_notes,
    read_snapshots,
    removal_sample,
    use_load_tables,
)
from agent_roles_dagster.staging.transform import Seen, read_roles_raw, transform_agent_roles
from agent_roles_dagster.sync_days import InvalidSyncDay, day_number

# Small enough that the pairs of a few partitions, hashed, fit into Spark's default memory.
_BYTES_PER_PARTITION = 4 << 20
_BYTES_PER_STAGED_ROW = 16
_SAMPLE = 10
_PHASES = ("waiting", "starting the engine", "reading and loading", "publishing")

# Whether rows of the day are going to be others, or are of a version that took no fingerprint.
_IS_CHANGED = """
    SELECT EXISTS (SELECT FROM agent_roles_load_rows)
        OR EXISTS (SELECT FROM agent_roles_load_delta WHERE NOT is_next AND (stage OR unstage))
        OR NOT EXISTS (
            SELECT FROM agent_role_sync_days WHERE sync_day = %s AND fingerprint IS NOT NULL
        )
"""


class Held(Exception):
    """The day is implausible and was not staged. Its text is for the user.

    Attributes:
        day: what staging it would have come to.
        sample: some of the removals.
    """

    def __init__(self, text: str, day: "StagedDay", sample: list[str]) -> None:
        super().__init__(text)
        self.day = day
        self.sample = sample


class Pruned(Exception):
    """Staging the day needs a snapshot that is not kept any more. Its text is for the user."""


class LostRows(RuntimeError):
    """The counts don't add up: rows were lost or doubled on the way. Nothing was published."""


@dataclass(frozen=True)
class StagedDay:
    """What staging a day came to.

    The counts are rows or distinct pairs, `content` has the files and their counts, `seconds` are
    by phase. Those that are columns of agent_role_sync_days go there under their names.
    """

    sync_day: str
    previous_day: str | None
    previous_assigned: int
    digest: str
    files: int
    content: list[dict[str, Any]]
    observed_at: datetime
    records: int
    raw_rows: int
    valid_pairs: int
    duplicates: int
    invalid_rows: int
    assigned: int
    removed: int
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def newly_assigned(self) -> int:
        """Pairs that the previous staged day did not assign."""
        return self.assigned - (self.previous_assigned - self.removed)


@dataclass(frozen=True)
class _Neighbours:
    previous: dict[str, Any] | None
    old: dict[str, Any] | None
    next: dict[str, Any] | None

    def require_kept(self, sync_day: str) -> None:
        """Refuse to compare with a snapshot that was pruned, or whose table somebody dropped.

        The day's own earlier version may be gone: the day is staged anew then.
        """
        for day in (self.previous, self.old, self.next):
            if day is not None and day["pruned_at"] is not None:
                raise Pruned(
                    f"{sync_day} can't be staged: the snapshot of {day['sync_day']}, which it is"
                    f" compared with, was pruned on {day['pruned_at']:%Y-%m-%d} (setting"
                    " AGENT_ROLES_KEEP_DAYS). Nothing was changed in any table. To load old days"
                    " again, load all days into an empty database"
                )
        for day in (self.previous, self.next):
            # No row of it would be seen, so none of its pairs would be seen as removed.
            if day is not None and not day["is_there"]:
                raise Pruned(
                    f"{sync_day} can't be staged: the snapshot of {day['sync_day']}, which it is"
                    " compared with, is gone, though no run dropped it. Nothing was changed in any"
                    f" table. Materialise {day['sync_day']} again, then {sync_day}"
                )

    def snapshots(self) -> dict[str, SeenAs]:
        """The days to compare with, and what their rows mean: assigned, removed, neither."""
        days = (
            (self.previous, (Seen.IN_PREVIOUS, Seen.NOWHERE, Seen.NOWHERE)),
            (self.old, (Seen.OLD_ASSIGNED, Seen.OLD_REMOVED, Seen.OLD_OTHER)),
            (self.next, (Seen.NEXT_ASSIGNED, Seen.NEXT_REMOVED, Seen.NOWHERE)),
        )
        return {day["sync_day"]: seen_as for day, seen_as in days if day is not None}

    def changes(self) -> dict[int, tuple[Seen, Seen]]:
        """The days, by number, whose changes may be others now, and what these are called."""
        days = (
            (self.old, (Seen.KNOWN_ASSIGNED, Seen.KNOWN_REMOVED)),
            (self.next, (Seen.NEXT_KNOWN_ASSIGNED, Seen.NEXT_KNOWN_REMOVED)),
        )
        return {day["day_no"]: seen_as for day, seen_as in days if day is not None}

    def is_first(self) -> bool:
        """Whether the day has neither an earlier version nor a pair of a day before it."""
        return self.old is None and (self.previous is None or not self.previous["assigned"])

    def expected(self) -> int | None:
        """About how many pairs are going to be loaded; None if nobody knows."""
        is_new = self.old is None and self.previous is not None
        return self.previous["assigned"] if is_new and self.previous else None

    def rows(self) -> int:
        """How many rows these days have staged."""
        days = (self.previous, self.old, self.next)
        return sum(day["assigned"] + day["removed"] for day in days if day is not None)


def stage_day(
    settings: Settings,
    url: str,
    engine: Start,
    sync_day: str,
    *,
    sealed: str | None,
    run_id: str,
    accept_removals: str | None,
    approver: str | None = None,
    say: Callable[[str], None],
    say_every: float | None = None,
) -> StagedDay:
    """Stage the day that landed, and correct what the next staged day says about removals.

    Args:
        engine: enters the engine, once there is something to compute.
        sealed: content digest of the dump that is meant, None for whatever is there.
        accept_removals: why the removals are right although the guard would hold the day.
        approver: who says so.
        say: takes a line for the user.
        say_every: seconds between lines about how far it is; None for the usual.

    Raises:
        Unreadable: the day is no snapshot; no table was changed.
        NotRead: the disk or the store does not give it; no table was changed.
        Pruned: a neighbour's snapshot is not kept any more; no table was changed.
        Held: the day is implausible; only its validation errors were recorded.
        InvalidSyncDay: the name is no sync day's, or another staged day has the same number.
        LostRows: rows were lost on the way; no table was changed.
        psycopg.Error: the database; no table was changed.
    """
    day_number(sync_day)  # a name that is no day's is no folder to look into
    marks = [time.monotonic()]
    target = None
    try:
        wait = f"{sync_day}: waiting, since another run is staging a day"
        with (
            connect(url) as connection,
            Progress(say, lasting(f"{sync_day}: waiting for its turn"), say_every) as progress,
            staging_turn(connection, on_wait=lambda: say(wait)),
        ):
            marks.append(time.monotonic())
            dump = find_dump(settings.landing, sync_day)
            neighbours = _neighbours(connection, sync_day)
            neighbours.require_kept(sync_day)
            now = datetime.now(UTC).replace(tzinfo=None)
            schema, token = days_schema(connection), uuid.uuid4().hex[:12]
            target = Load(url, schema, token, sync_day, now, neighbours.is_first())
            create_load_tables(target)
            progress.begin(lasting(f"{sync_day}: starting the engine"))
            _spare_the_collector()
            with engine() as started:
                marks.append(time.monotonic())
                rows = target.table("rows").as_string(connection)
                progress.begin(loading(url, sync_day, rows, neighbours.expected()))
                _load(started, connection, dump, neighbours, target, settings.connections)
            marks.append(time.monotonic())
            progress.begin(writing(url, f"{sync_day}: publishing"))
            staged = _checked(connection, dump, neighbours, target, sealed)
            held = _publish(
                settings,
                connection,
                staged,
                neighbours,
                target,
                run_id,
                accept_removals,
                approver,
                say,
            )
    except BaseException:
        # If it can't be done now, the next run does it. Not before the transaction has ended, which
        # has looked into them.
        if target is not None:
            with suppress(psycopg.Error), connect(url) as connection:
                drop_load_tables(connection, target)
        raise
    if held is not None:
        raise held
    marks.append(time.monotonic())
    return replace(staged, seconds=_seconds(sync_day, marks, say))


@cache
def _spare_the_collector() -> None:
    """Have Python's garbage collector pass over what was imported: parsing calls it all the time.

    Once in a process, as what is garbage by then stays, too.
    """
    gc.freeze()


def record_unreadable(url: str, sync_day: str, run_id: str, reason: str) -> None:
    """Put on record that the day is no snapshot, when, and which run found it; nothing else."""
    about = {"sync_day": sync_day, "day_no": day_number(sync_day), "run_id": run_id}
    with connect(url) as connection, connection.transaction():
        for name, value in {**about, "reason": reason}.items():
            connection.execute(
                "SELECT set_config(%s, %s, TRUE)", (f"agent_roles.{name}", str(value))
            )
        run_file(connection, "load/record_unreadable")


def _seconds(sync_day: str, marks: list[float], say: Callable[[str], None]) -> dict[str, float]:
    """How long each phase took, from mark to mark; says so, too."""
    taken = (round(end - start, 1) for start, end in pairwise(marks))
    seconds = dict(zip(_PHASES, taken, strict=True))
    said = ", ".join(f"{phase} {seconds[phase]}" for phase in seconds)
    say(f"{sync_day}: seconds: {said}")
    return seconds


def _neighbours(connection: Connection, sync_day: str) -> _Neighbours:
    number = day_number(sync_day)
    same = connection.execute(
        "SELECT sync_day FROM agent_role_sync_days"
        " WHERE day_no = %s AND sync_day <> %s AND staged_at IS NOT NULL",
        (number, sync_day),
    ).fetchone()
    if same:
        raise InvalidSyncDay(
            f"{sync_day!r} and {same['sync_day']!r} have the same number, so neither comes first,"
            f" and {same['sync_day']!r} is staged. Nothing was changed in any table. If both are"
            f" one day, land its dump as {same['sync_day']!r}; if not, under a number of its own"
        )

    def staged(condition: str, order: str) -> dict[str, Any] | None:
        query = sql.SQL(
            "SELECT sync_day, day_no, pruned_at, digest, observed_at, assigned, removed,"
            " agent_role_partition(sync_day) IS NOT NULL AS is_there"
            " FROM agent_role_sync_days"
            " WHERE staged_at IS NOT NULL AND day_no {} %s ORDER BY day_no {} LIMIT 1"
        ).format(sql.SQL(condition), sql.SQL(order))
        return connection.execute(query, (number,)).fetchone()

    return _Neighbours(staged("<", "DESC"), staged("=", "ASC"), staged(">", "ASC"))


def _load(
    engine: Engine,
    connection: Connection,
    dump: Dump,
    neighbours: _Neighbours,
    target: Load,
    connections: int,
) -> None:
    tasks = min(connections, engine.tasks or connections)
    size = dump.size + neighbours.rows() * _BYTES_PER_STAGED_ROW
    partitions = 1 + size // _BYTES_PER_PARTITION
    if engine.tasks is not None:
        partitions = min(partitions, engine.tasks)
    raw = read_roles_raw(engine.session, dump.sync_day, dump.files, most_tasks=engine.tasks)
    snapshots = read_snapshots(
        engine.session, connection, target.url, neighbours.snapshots(), neighbours.changes(), tasks
    )
    decided = transform_agent_roles(
        raw,
        snapshots,
        has_next=neighbours.next is not None,
        partitions=partitions,
    )
    load(decided, target, min(tasks, partitions))


def _checked(
    connection: Connection,
    dump: Dump,
    neighbours: _Neighbours,
    target: Load,
    sealed: str | None,
) -> StagedDay:
    """What was loaded, if all of it was read and nothing was lost."""
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
    previous = neighbours.previous
    if previous is not None and counts["in_previous"] != previous["assigned"]:
        raise Pruned(
            f"{dump.sync_day} can't be staged: the snapshot of {previous['sync_day']}, which it is"
            f" compared with, has {counts['in_previous']:,} assigned pairs, and had"
            f" {previous['assigned']:,} when it was staged: somebody changed it. Nothing was"
            f" changed in any table. Materialise {previous['sync_day']} again, then"
            f" {dump.sync_day}"
        )
    raw_rows = sum(file["rows"] for file in files)
    if raw_rows != counts["valid_rows"] + counts["invalid_rows"]:
        raise LostRows(
            f"{dump.sync_day}: {raw_rows} raw rows were read, but {counts['valid_rows']} valid"
            f" and {counts['invalid_rows']} invalid ones were loaded"
        )
    observed_at = dump.observed_at
    if observed_at is None:
        # The same content landing again keeps the time it had.
        same = neighbours.old is not None and neighbours.old["digest"] == digest
        observed_at = neighbours.old["observed_at"] if same and neighbours.old else dump.modified_at
    return StagedDay(
        sync_day=dump.sync_day,
        previous_day=neighbours.previous["sync_day"] if neighbours.previous else None,
        previous_assigned=counts["in_previous"],
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


def _publish(
    settings: Settings,
    connection: Connection,
    staged: StagedDay,
    neighbours: _Neighbours,
    target: Load,
    run_id: str,
    accept_removals: str | None,
    approver: str | None,
    say: Callable[[str], None],
) -> Held | None:
    """Publish the loaded day in the turn's transaction; or its errors only, and say why."""
    reason = why_held(
        settings.guard,
        records=staged.records,
        assigned=staged.assigned,
        previous=staged.previous_assigned,
        removals=staged.removed,
    )
    held = None
    if reason and not accept_removals:
        sample = removal_sample(connection, target, _SAMPLE)
        held = Held(_held_text(staged, reason, sample), staged, sample)
    following = neighbours.next["sync_day"] if neighbours.next else None
    wait = f"{staged.sync_day}: waiting, since another run is changing the tables"
    lock_tables(connection, on_wait=lambda: say(wait))
    use_load_tables(connection, target)
    connection.execute(
        "INSERT INTO agent_roles_load_day"
        " SELECT * FROM jsonb_populate_record(NULL::agent_roles_load_day, %s)",
        (
            Jsonb(
                {
                    **vars(staged),
                    "day_no": day_number(staged.sync_day),
                    "next_day": following,
                    "next_day_no": None if following is None else day_number(following),
                    "is_first": target.is_first,
                    "loaded_at": target.loaded_at,
                    "run_id": run_id,
                    "accepted_reason": accept_removals if reason else None,
                    "held_reason": None if held is None else str(held),
                },
                partial(json.dumps, default=str),
            ),
        ),
    )
    run_file(connection, "load/021_publish_errors")
    if held is None:
        is_changed = one(connection, _IS_CHANGED, (staged.sync_day,))
        if reason:
            _record_acceptance(
                connection, staged.sync_day, accept_removals, approver, reason, run_id
            )
        run_file(connection, "load/022_publish_day")
        connection.execute(
            "UPDATE agent_role_sync_days"
            " SET accepted_by = NULL, accepted_run = NULL, accepted_what = NULL"
            " WHERE sync_day = %s AND accepted_reason IS NULL AND accepted_run IS NOT NULL",
            (staged.sync_day,),
        )
        if is_changed:
            _record_fingerprint(connection, staged.sync_day)
    drop_used_tables(connection, target)
    return held


def _record_fingerprint(connection: Connection, sync_day: str) -> None:
    """Not in one statement: several processes take part in a sum only where nothing is written."""
    [found] = rows_of_file(connection, "load/fingerprint", sync_day=sync_day)
    connection.execute(
        "UPDATE agent_role_sync_days SET fingerprint = %s WHERE sync_day = %s",
        (found["fingerprint"], sync_day),
    )


def _record_acceptance(
    connection: Connection, day: str, reason: str | None, approver: str | None, what: str, run: str
) -> None:
    """Who accepted what in which run, unless that is known; before the reason is published."""
    connection.execute(
        """
        UPDATE agent_role_sync_days
        SET accepted_by = %(approver)s, accepted_run = %(run)s, accepted_what = %(what)s
        WHERE
            sync_day = %(day)s
            AND (accepted_reason, accepted_by, accepted_what)
            IS DISTINCT FROM (%(reason)s, %(approver)s, %(what)s)
        """,
        {"day": day, "reason": reason, "approver": approver, "what": what, "run": run},
    )


def _held_text(staged: StagedDay, reason: str, sample: list[str]) -> str:
    shown = f" Among them: {'; '.join(sample)}." if sample else ""
    return (
        f"{staged.sync_day} is held: {reason}.{shown} Nothing was staged, the tables are as before;"
        f" of its rows only those refused were recorded ({staged.invalid_rows:,}). If a page is"
        " missing, land the whole dump again and materialise the day. If the removals are right,"
        " run the job accept_held_day for the day, which asks why and who says so, or"
        ' materialise it with the run config accept_removals: "..." of the op'
        " stage_agent_roles."
    )
