"""Staging a day: read, compare with the neighbours, load, and publish all of it or nothing."""

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

from agent_roles_dagster.engines import Engine, Start
from agent_roles_dagster.landing.dump import Dump
from agent_roles_dagster.landing.find import find_dump
from agent_roles_dagster.postgres.connection import connect, days_schema
from agent_roles_dagster.postgres.locks import staging_turn
from agent_roles_dagster.postgres.sql_files import Connection, run_file
from agent_roles_dagster.progress import Progress, lasting, loading, writing
from agent_roles_dagster.settings import Settings
from agent_roles_dagster.staging.load import load
from agent_roles_dagster.staging.load_tables import (
    Load,
    create_load_tables,
    drop_load_tables,
)
from agent_roles_dagster.staging.neighbours import Neighbours, find_neighbours
from agent_roles_dagster.staging.publish import publish
from agent_roles_dagster.staging.snapshots import read_snapshots
from agent_roles_dagster.staging.staged_day import StagedDay
from agent_roles_dagster.staging.transform import read_roles_raw, transform_agent_roles
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
        InvalidSyncDay: the name is not valid for a sync day.
        SameNumber: another staged day has the same number.
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
            neighbours = find_neighbours(connection, sync_day)
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
            staged = check_loaded(connection, dump, neighbours, target, sealed)
            held = publish(
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


def _load(
    engine: Engine,
    connection: Connection,
    dump: Dump,
    neighbours: Neighbours,
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
