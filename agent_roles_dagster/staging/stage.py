"""Staging a day: read the dump, compare it with the neighbours, load, and publish in one go."""

import gc
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from itertools import pairwise

import psycopg

from agent_roles_dagster.engines.start import Engine, Start
from agent_roles_dagster.landing.dump import Dump
from agent_roles_dagster.landing.find import find_dump
from agent_roles_dagster.postgres.connection import connect, days_schema
from agent_roles_dagster.postgres.locks import staging_turn
from agent_roles_dagster.postgres.sql_files import Connection, run_file
from agent_roles_dagster.progress import Progress, lasting, loading, writing
from agent_roles_dagster.settings import Settings
from agent_roles_dagster.staging.context import Staging
from agent_roles_dagster.staging.load import load
from agent_roles_dagster.staging.load_tables import Load, create_load_tables, drop_load_tables
from agent_roles_dagster.staging.neighbours import Neighbours, find_neighbours
from agent_roles_dagster.staging.publish import publish
from agent_roles_dagster.staging.read_dump import read_roles_raw
from agent_roles_dagster.staging.snapshots import read_snapshots
from agent_roles_dagster.staging.staged_day import StagedDay
from agent_roles_dagster.staging.transform import transform_agent_roles
from agent_roles_dagster.staging.verify import check_loaded
from agent_roles_dagster.sync_days import day_number

# Small enough that the pairs of a few partitions, hashed, fit into Spark's default memory.
_BYTES_PER_PARTITION = 4 << 20
_BYTES_PER_STAGED_ROW = 16
_PHASES = ("waiting", "starting the engine", "reading and loading", "publishing")


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
        engine: enters the engine. It is called once there is something to compute.
        sealed: the content digest of the dump that is expected. None accepts any dump.
        run_id, accept_removals, approver, say: see `Staging`.
        say_every: seconds between lines about progress. None means the default.

    Raises: (of all but `Held`, no table was changed)
        Unreadable: the dump is damaged or incomplete.
        NotRead: the disk or the store does not give it.
        Pruned: a neighbour's snapshot is not there any more.
        Held: the guard finds that the day looks like damage. Only its invalid rows were recorded.
        InvalidSyncDay: the name is not valid for a sync day.
        SameNumber: another staged day has the same number.
        LostRows: rows were lost on the way.
        psycopg.Error: the database.
    """
    day_number(sync_day)  # Refuses any other name before a folder of that name is looked for.
    run = Staging(settings, url, sync_day, run_id, accept_removals, approver, say)
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
            progress.begin(lasting(f"{sync_day}: preparing"))
            dump = find_dump(settings.landing, sync_day)
            neighbours = find_neighbours(connection, sync_day)
            neighbours.require_kept(sync_day)
            now = datetime.now(UTC).replace(tzinfo=None)
            schema, token = days_schema(connection), uuid.uuid4().hex[:12]
            target = Load(url, schema, token, now, neighbours.is_first())
            create_load_tables(target)
            progress.begin(lasting(f"{sync_day}: starting the engine"))
            _spare_the_collector()
            with engine() as started:
                marks.append(time.monotonic())
                rows = target.table("rows").as_string(connection)
                progress.begin(loading(url, sync_day, rows, neighbours.expected()))
                _compute_and_load(run, started, connection, dump, neighbours, target)
            marks.append(time.monotonic())
            progress.begin(writing(url, f"{sync_day}: publishing"))
            staged = check_loaded(connection, dump, neighbours, target, sealed)
            held = publish(run, connection, staged, neighbours, target)
    except BaseException:
        # After the transaction, which may hold locks on these tables. If they can't be dropped now,
        # the next run drops them.
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
    """Keep Python's garbage collector from visiting imported objects, as parsing triggers it often.

    It runs once in a process. What is garbage by then is never freed.
    """
    gc.freeze()


def record_unreadable(url: str, sync_day: str, run_id: str, reason: str) -> None:
    """Put on record that the day is unreadable, when and why, and which run found it."""
    with connect(url) as connection, connection.transaction():
        run_file(
            connection,
            "load/record_unreadable",
            sync_day=sync_day,
            day_no=str(day_number(sync_day)),
            run_id=run_id,
            reason=reason,
        )


def _seconds(sync_day: str, marks: list[float], say: Callable[[str], None]) -> dict[str, float]:
    """How long each phase took, from mark to mark. It goes to the user, too."""
    taken = (round(end - start, 1) for start, end in pairwise(marks))
    seconds = dict(zip(_PHASES, taken, strict=True))
    said = ", ".join(f"{phase} {seconds[phase]}" for phase in seconds)
    say(f"{sync_day}: seconds: {said}")
    return seconds


def _compute_and_load(
    run: Staging,
    engine: Engine,
    connection: Connection,
    dump: Dump,
    neighbours: Neighbours,
    target: Load,
) -> None:
    """Have Spark read the dump, compare it with the neighbours, and fill the load tables."""
    connections = run.settings.connections
    tasks = min(connections, engine.tasks or connections)
    size = dump.size + neighbours.rows() * _BYTES_PER_STAGED_ROW
    partitions = 1 + size // _BYTES_PER_PARTITION
    if engine.tasks is not None:
        partitions = min(partitions, engine.tasks)
    raw = read_roles_raw(engine.session, dump.sync_day, dump.files, most_tasks=engine.tasks)
    snapshots = read_snapshots(
        engine.session, connection, run.url, neighbours.snapshots(), neighbours.changes(), tasks
    )
    decided = transform_agent_roles(
        raw, snapshots, has_next=neighbours.next is not None, partitions=partitions
    )
    load(decided, target, min(tasks, partitions))
