"""Staging and applying days: what is recorded, what is refused, what a second run leaves alone."""

import json
import queue
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import dagster as dg
import psutil
import psycopg
import pytest

from agent_roles_dagster.engines.start import Engine, spark_resource, started
from agent_roles_dagster.mapping.apply import apply_day
from agent_roles_dagster.outcomes import InvalidSyncDay, LostRows, NotApplied, NotRead, Unreadable
from agent_roles_dagster.postgres.connection import connect
from agent_roles_dagster.postgres.locks import staging_turn
from agent_roles_dagster.postgres.sql_files import sql_file
from agent_roles_dagster.settings import InvalidSetting, Settings
from agent_roles_dagster.staging import snapshots as snapshots_module
from agent_roles_dagster.staging import stage as stage_module
from agent_roles_dagster.staging.load_tables import LOAD_TABLES
from agent_roles_dagster.staging.stage import stage_day
from agent_roles_dagster.staging.staged_day import StagedDay
from agent_roles_dagster.staging.transform import Seen
from tests.conftest import Pipeline
from tests.docs import block
from tests.worlds import dump_for_several_tasks, with_bulk


def _land(pipeline: Pipeline, day: str, agents: list[Any], **manifest: Any) -> None:
    number = int("".join(filter(str.isdigit, day)))
    stated = {"observed_at": f"2026-01-{number:02d}T06:00:00Z", **manifest}
    pipeline.write(
        day,
        {
            "roles.json": json.dumps([{"id": 10, "agents": agents}]),
            "_manifest.json": json.dumps(stated),
        },
    )


def _stage(pipeline: Pipeline, days: dict[str, list[Any]]) -> None:
    for day, agents in days.items():
        _land(pipeline, day, agents)
        assert pipeline.run(day).success, day


def _stage_alone(
    pipeline: Pipeline,
    day: str,
    say: Callable[[str], None] = print,
    before_loading: Callable[[], object] = lambda: None,
) -> StagedDay:
    """Stage a landed day, and apply nothing."""
    settings = Settings.from_env()

    @contextmanager
    def engine() -> Iterator[Engine]:
        before_loading()
        with started(spark_resource(settings), settings) as running:
            yield running

    return stage_day(
        settings,
        pipeline.database,
        engine,
        day,
        sealed=None,
        run_id="a run",
        accept_removals=None,
        say=say,
    )


def _record(pipeline: Pipeline, day: str) -> dict[str, Any]:
    with connect(pipeline.database) as connection:
        query = "SELECT * FROM agent_role_sync_days WHERE sync_day = %s"
        row = connection.execute(query, (day,)).fetchone()
    assert row is not None
    return row


def _text(result: Any) -> str:
    """The sentence of a failed run."""
    events = [event for event in result.all_events if event.is_step_failure]
    return str(events[0].step_failure_data.user_failure_data.description)


def test_the_designs_tables_have_exactly_its_columns_and_types(pipeline: Pipeline) -> None:
    _stage(pipeline, {"day1": [1]})
    found = pipeline.rows(
        "SELECT table_name, column_name, data_type FROM information_schema.columns"
        " WHERE table_name IN"
        " ('stg_agent_roles', 'agent_role_pipeline_errors', 'agent_role_mapping')"
        " ORDER BY table_name, ordinal_position"
    )
    bigint, text, time = "bigint", "text", "timestamp without time zone"
    ids = [("agent_id", bigint), ("role_id", bigint)]
    assert found == [
        (table, *column)
        for table, columns in {
            "agent_role_mapping": [
                *ids,
                ("status", text),
                ("assigned_at", time),
                ("removed_at", time),
            ],
            "agent_role_pipeline_errors": [
                ("id", "integer"),
                *ids,
                ("error_type", text),
                ("error_message", text),
                ("raw_record", "jsonb"),
                ("created_at", time),
                ("sync_day", text),
            ],
            "stg_agent_roles": [
                *ids,
                ("status", text),
                ("sync_day", text),
                ("source", text),
                ("ingested_at", time),
            ],
        }.items()
        for column in columns
    ]


def test_a_file_that_the_disk_does_not_give_to_a_task_is_not_said_to_be_broken(
    pipeline: Pipeline,
) -> None:
    _land(pipeline, "day1", [1, 2])
    folder = pipeline.landing / "day1"

    def lose() -> None:
        folder.rename(pipeline.landing / "elsewhere")
        folder.touch()

    with pytest.raises(NotRead, match=r"^day1/roles\.json: can't be read \(NotADirectoryError\)$"):
        _stage_alone(pipeline, "day1", before_loading=lose)
    assert pipeline.rows("SELECT FROM agent_role_sync_days") == []


COUNTERS = """
    SELECT relname, n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_user_tables
    WHERE relname ~ '^(stg_agent_roles|agent_role_(mapping|changes|pipeline_errors|sync_days))'
    ORDER BY relname
"""


def test_the_same_dump_again_writes_no_row(pipeline: Pipeline) -> None:
    _stage(pipeline, {"day1": [1, 2, None], "day2": [2, 3], "day3": [2, 3, "x"]})
    before = pipeline.rows(COUNTERS)
    assert ("agent_role_mapping", 3) in [row[:2] for row in before], "the counters count"
    for day in ("day3", "day1", "day2"):
        assert pipeline.run(day).success
    assert pipeline.rows(COUNTERS) == before


DAY2 = "public_days.stg_agent_roles_day2"
CHANGES_TO_DAY2 = {
    "a pair is gone": f"DELETE FROM {DAY2} WHERE agent_id = 3",
    "a pair is there twice": f"INSERT INTO {DAY2} SELECT * FROM {DAY2}",
    "a pair is another": f"UPDATE {DAY2} SET agent_id = 9 WHERE agent_id = 3",
    "a pair is another, which PostgreSQL hashes alike": f"UPDATE {DAY2}"
    " SET agent_id = 4294967298 WHERE agent_id = 3",
    "a status is another": f"UPDATE {DAY2} SET status = 'removed' WHERE agent_id = 3",
    "a row without an id": f"INSERT INTO {DAY2} VALUES (NULL, 10, 'assigned', 'day2')",
    "no table": f"DROP TABLE {DAY2}",
    "a removal of the next day": "INSERT INTO public_days.stg_agent_roles_day3"
    " VALUES (3, 10, 'removed', 'day3')",
    "a change": "DELETE FROM agent_role_changes WHERE day_no = 2 AND agent_id = 3",
    "a change is another, which PostgreSQL hashes alike": "UPDATE agent_role_changes"
    " SET role_id = 4294967305 WHERE day_no = 2 AND agent_id = 3",
    "a change of the next day": "INSERT INTO agent_role_changes VALUES (3, 10, 3, 'removed')",
    "an error is gone": "DELETE FROM agent_role_pipeline_errors WHERE sync_day = 'day2'",
    "an error is another": "UPDATE agent_role_pipeline_errors SET error_message = 'mine'",
    "an error has another type": "UPDATE agent_role_pipeline_errors SET error_type = 'mine'",
    "an error has no record": "UPDATE agent_role_pipeline_errors SET raw_record = NULL",
    "an error is there twice": "INSERT INTO agent_role_pipeline_errors"
    " (agent_id, role_id, error_type, error_message, raw_record, created_at, sync_day)"
    " SELECT agent_id, role_id, error_type, error_message, raw_record, created_at, sync_day"
    " FROM agent_role_pipeline_errors",
    "one of two equal errors is gone": "DELETE FROM agent_role_pipeline_errors WHERE id IN"
    " (SELECT max(id) FROM agent_role_pipeline_errors WHERE sync_day = 'day2')",
    "a count": "UPDATE agent_role_sync_days SET duplicates = 7 WHERE sync_day = 'day2'",
    "a count of errors": "UPDATE agent_role_sync_days SET error_rows = 7",
    "the files' counts": "UPDATE agent_role_sync_days SET content = NULL WHERE sync_day = 'day2'",
}
STAGED = {
    "stg_agent_roles": "agent_id, role_id, status, sync_day",
    "agent_role_changes": "agent_id, role_id, day_no, change",
    "agent_role_pipeline_errors": "agent_id, error_type, error_message, raw_record, sync_day",
    "agent_role_sync_days": "sync_day, content, duplicates, assigned, removed, error_rows",
}


@pytest.mark.parametrize("damage", CHANGES_TO_DAY2.values(), ids=CHANGES_TO_DAY2.keys())
def test_the_same_dump_again_mends_what_somebody_changed(pipeline: Pipeline, damage: str) -> None:
    def staged() -> dict[str, list[tuple[Any, ...]]]:
        return {
            table: sorted(pipeline.rows(f"SELECT ({columns})::TEXT FROM {table}"))
            for table, columns in STAGED.items()
        }

    days = {"day1": [1, 2, 4, None], "day2": [2, 3, 3, "x", "x"], "day3": [2, 3]}
    for day, agents in days.items():
        _land(pipeline, day, agents)
        _stage_alone(pipeline, day)
    before = staged()
    pipeline.execute(damage)
    assert staged() != before
    # Some of it is another day's as well.
    for day in ("day2", "day1", "day3"):
        _stage_alone(pipeline, day)
    assert staged() == before


BEFORE_DAY2 = {
    "its rows are there, and no record": "DELETE FROM agent_role_sync_days WHERE sync_day = 'day2'",
    "it counts as never staged": "UPDATE agent_role_sync_days SET staged_at = NULL"
    " WHERE sync_day = 'day2'",
    "a change of another's": "SELECT",
}


@pytest.mark.parametrize("damage", BEFORE_DAY2.values(), ids=BEFORE_DAY2.keys())
def test_a_new_day_that_found_rows_there_is_mended_when_it_is_run_again(
    pipeline: Pipeline, damage: str
) -> None:
    _stage(pipeline, {"day1": [1, 2], "day2": [2, 3]})
    before = _all_pairs(pipeline)
    if damage == "SELECT":
        pipeline.execute(
            f"SET agent_roles.sync_day = 'day2'; {sql_file('admin/take_back_newest_day')}"
        )
        damage = "INSERT INTO agent_role_changes VALUES (8, 10, 2, 'removed')"
    pipeline.execute(damage)
    _stage_alone(pipeline, "day2")
    assert _all_pairs(pipeline) != before
    _stage_alone(pipeline, "day2")
    assert _all_pairs(pipeline) == before


@pytest.mark.parametrize(
    "damage",
    [
        "INSERT INTO public_days.stg_agent_roles_day3 VALUES (3, 10, 'removed', 'day3')",
        "DELETE FROM agent_role_changes WHERE day_no = 3",
    ],
)
def test_a_correction_looks_whether_the_next_day_is_as_it_was(
    pipeline: Pipeline, damage: str
) -> None:
    _stage(pipeline, {"day1": [1], "day2": [2, 3], "day3": [3]})
    before = _all_pairs(pipeline)
    pipeline.execute(damage)
    _stage_alone(pipeline, "day2")
    assert _all_pairs(pipeline) == before


def _all_pairs(pipeline: Pipeline) -> list[tuple[Any, ...]]:
    return sorted(
        pipeline.rows("SELECT agent_id, status, sync_day FROM stg_agent_roles")
        + pipeline.rows("SELECT agent_id, change, day_no::TEXT FROM agent_role_changes")
    )


def test_a_day_without_rows_whose_table_is_gone_gets_it_back(pipeline: Pipeline) -> None:
    _stage(pipeline, {"day1": [], "day2": []})
    pipeline.execute("DROP TABLE public_days.stg_agent_roles_day1")
    _stage_alone(pipeline, "day1")
    assert pipeline.rows("SELECT count(*) FROM public_days.stg_agent_roles_day1") == [(0,)]


TABLES = ("stg_agent_roles", "agent_role_pipeline_errors", "agent_role_mapping")
TABLES += ("agent_role_changes", "agent_role_pending", "agent_role_sync_days")


def _all_rows(pipeline: Pipeline) -> dict[str, list[Any]]:
    """Every column of every row of every table."""
    return {table: sorted(pipeline.rows(f"SELECT {table}::TEXT FROM {table}")) for table in TABLES}


def test_a_publication_that_fails_at_its_last_statement_leaves_every_table_as_before(
    pipeline: Pipeline,
) -> None:
    _stage(pipeline, {"day1": [1, 2, None], "day2": [2, 3], "day3": [1]})
    pipeline.execute(
        """
        CREATE FUNCTION fail() RETURNS TRIGGER LANGUAGE plpgsql
        AS $$ BEGIN RAISE EXCEPTION 'the last statement fails'; END $$;
        CREATE TRIGGER fail AFTER UPDATE OF removed ON agent_role_sync_days
        FOR EACH ROW WHEN (new.sync_day = 'day3') EXECUTE FUNCTION fail()
        """
    )
    before = _all_rows(pipeline)
    _land(pipeline, "day2", [1, 3, "x"])
    with pytest.raises(psycopg.Error, match="the last statement fails"):
        _stage_alone(pipeline, "day2")
    assert _all_rows(pipeline) == before
    pipeline.execute("DROP TRIGGER fail ON agent_role_sync_days")
    _stage_alone(pipeline, "day2")
    after = _all_rows(pipeline)
    assert [table for table in TABLES if after[table] == before[table]] == ["agent_role_mapping"]


def test_a_dump_that_holds_the_history_and_wants_a_load_table_costs_a_run_no_more_than_its_indexes(
    pipeline: Pipeline,
) -> None:
    """PostgreSQL ends one of the two that wait for each other: the run, which goes on otherwise."""
    pipeline = replace(pipeline, database=with_bulk(pipeline.database, "on"))
    with connect(pipeline.database):
        pass  # creates the schema
    _land(pipeline, "day1", list(range(1000)))
    with ThreadPoolExecutor(1) as pool, psycopg.connect(pipeline.database) as dump:
        table = []

        def hold() -> None:
            dump.execute("LOCK TABLE agent_role_changes IN ACCESS SHARE MODE")
            table.append(_load_table(pipeline, "delta"))

        run = pool.submit(_stage_alone, pipeline, "day1", before_loading=hold)
        waiting = (
            "SELECT FROM pg_locks WHERE NOT granted AND relation = 'agent_role_changes'::REGCLASS"
        )
        while not pipeline.rows(waiting):
            assert not run.done()
            time.sleep(0.01)
        with pytest.raises(psycopg.errors.UndefinedTable):
            dump.execute(f"LOCK TABLE {table[0]} IN ACCESS SHARE MODE".encode())
        assert run.result(60).assigned == 1000
    assert pipeline.rows("SELECT count(*) FROM agent_role_changes") == [(1000,)]


@pytest.mark.parametrize("bulk", ["on", "off"])
def test_a_reader_never_sees_a_part_of_a_day(pipeline: Pipeline, bulk: str) -> None:
    versions = [[*range(2_000), None], [*range(500, 3_000), "x", "y"]]
    pipeline = replace(pipeline, database=with_bulk(pipeline.database, bulk))
    with connect(pipeline.database):
        pass  # creates the schema
    seen: Counter[Any] = Counter()
    is_over = threading.Event()

    def read() -> None:
        # Each is one statement: whether a day is staged, and whether it all fits together.
        counts = "SELECT count(*) FROM stg_agent_roles"
        errors = """
            SELECT count(*) FROM agent_role_sync_days AS day
            WHERE raw_rows IS DISTINCT FROM error_raw_rows OR error_rows <> (
                SELECT count(*) FROM agent_role_pipeline_errors AS refused
                WHERE refused.sync_day = day.sync_day
            )
        """
        mapping = """
            SELECT count(*) FROM agent_role_sync_days
            WHERE applied_at IS NOT NULL
            AND assigned <> (SELECT count(*) FROM agent_role_mapping WHERE status = 'assigned')
        """
        with psycopg.connect(pipeline.database, autocommit=True) as reader:
            while not is_over.is_set():
                for name, query in (("rows", counts), ("errors", errors), ("mapping", mapping)):
                    row = reader.execute(query.encode()).fetchone()
                    assert row is not None
                    seen[name, row[0]] += 1

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        try:
            for agents in (*versions, *versions):
                _land(pipeline, "day1", agents)
                _stage_alone(pipeline, "day1")
                apply_day(pipeline.database, "day1", "a run", say=print)
        finally:
            is_over.set()
        reading.result(30)
    assert seen.keys() == {
        ("rows", 0),
        ("rows", 2_000),
        ("rows", 2_500),
        ("errors", 0),
        ("mapping", 0),
    }
    assert min(seen.values()) > 20


@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ"])
def test_a_reader_that_begins_with_the_lock_never_sees_a_new_days_rows_without_its_record(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, level: str
) -> None:
    """Nor the record without the rows, though it reads the one long after the other."""
    _stage(pipeline, {"day1": [1, 2, 3]})
    _land(pipeline, "day2", [3, 4])
    lock = block("sql", "LOCK TABLE agent_role_pending")
    record = "SELECT assigned, removed FROM agent_role_sync_days WHERE sync_day = 'day2'"
    rows = "SELECT status, count(*) FROM stg_agent_roles WHERE sync_day = 'day2' GROUP BY 1"
    seen: Counter[Any] = Counter()
    is_over = threading.Event()

    def read() -> None:
        with psycopg.connect(pipeline.database, autocommit=True) as reader:
            while True:
                is_last = is_over.is_set()
                reader.execute(f"BEGIN ISOLATION LEVEL {level}; {lock}".encode())
                recorded = reader.execute(record.encode()).fetchall()
                time.sleep(0.1)
                staged = sorted(reader.execute(rows.encode()).fetchall())
                reader.execute("COMMIT")
                seen[str(recorded), str(staged)] += 1
                if is_last:
                    return

    publish = stage_module.publish

    def publish_soon(*args: Any) -> Any:
        # Once it is loaded, a reader's snapshot has the rows, though not their place yet.
        before = seen.total()
        while seen.total() == before:
            time.sleep(0.001)
        return publish(*args)

    monkeypatch.setattr(stage_module, "publish", publish_soon)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        try:
            _stage_alone(pipeline, "day2")
        finally:
            is_over.set()
        reading.result(30)
    whole = "[(2, 2)]", "[('assigned', 2), ('removed', 2)]"
    assert seen.keys() == {("[]", "[]"), whole}


def test_pairs_that_changed_and_changed_back_before_they_were_applied_are_not_written(
    pipeline: Pipeline,
) -> None:
    _stage(pipeline, {"day1": [1, 2]})
    query = COUNTERS.replace("ORDER BY", "AND relname = 'agent_role_mapping' ORDER BY")
    before = pipeline.rows(query)
    for agents in ([2, 3], [1, 2]):
        _land(pipeline, "day1", agents)
        _stage_alone(pipeline, "day1")
    assert pipeline.rows("SELECT count(*) FROM agent_role_pending") == [(4,)]
    apply_day(pipeline.database, "day1", "a run", say=print)
    assert pipeline.rows("SELECT count(*) FROM agent_role_pending") == [(0,)]
    assert pipeline.rows(query) == before


READ_IN_FULL = """
    SELECT relname, seq_tup_read FROM pg_stat_user_tables
    WHERE relname IN ('agent_role_mapping', 'agent_role_changes')
"""


def _pages_touched(pipeline: Pipeline) -> Counter[str]:
    """Pages of the mapping and the history, and of their indexes, that were ever looked at."""
    with psycopg.connect(pipeline.database, autocommit=True) as connection:
        # Sessions deliver their counts when they end.
        others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        others += " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        until = time.monotonic() + 30
        while connection.execute(others.encode()).fetchone() != (0,):
            assert time.monotonic() < until, "some session never ends"
            time.sleep(0.05)
        rows = connection.execute(
            "SELECT relname, heap_blks_hit + heap_blks_read + idx_blks_hit + idx_blks_read"
            " FROM pg_statio_user_tables"
            " WHERE relname IN ('agent_role_mapping', 'agent_role_changes')"
        ).fetchall()
    return Counter(dict(rows))


def test_what_a_day_costs_the_mapping_and_the_history_follows_what_it_changes(
    pipeline: Pipeline,
) -> None:
    pairs = 10_000
    for day, first in (("day1", 0), ("day2", 5)):
        if day == "day2":
            # So many more that nobody would read them all for a few. What autovacuum reads counts,
            # too, and it comes when it likes.
            pipeline.execute(
                "ALTER TABLE agent_role_changes SET (autovacuum_enabled = off);"
                "ALTER TABLE agent_role_mapping SET (autovacuum_enabled = off);"
                "INSERT INTO agent_role_changes SELECT n, 99, 1, 'assigned'"
                " FROM generate_series(1, 300000) AS n;"
                "INSERT INTO agent_role_mapping SELECT agent_id, role_id, 'assigned'"
                " FROM agent_role_changes WHERE role_id = 99"
            )
            before, read_before = _pages_touched(pipeline), pipeline.rows(READ_IN_FULL)
        _land(pipeline, day, list(range(first, first + pairs)))
        _stage_alone(pipeline, day)
        written = apply_day(pipeline.database, day, "a run", say=print).written
    assert written == 10, "five pairs went, five came"
    touched = _pages_touched(pipeline) - before
    assert touched.keys() == {"agent_role_mapping", "agent_role_changes"}
    assert max(touched.values()) < 1_000, touched
    assert pipeline.rows(READ_IN_FULL) == read_before, "nothing was read from end to end"


def test_a_snapshot_that_is_read_in_many_ranges_is_read_whole_and_once(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stage(pipeline, {"day1": list(range(2_000))})
    pages = "SELECT pg_relation_size('public_days.stg_agent_roles_day1')"
    pages += " / current_setting('block_size')::INT"
    assert pipeline.rows(pages)[0][0] > 10
    monkeypatch.setattr(snapshots_module, "_PAGES_PER_TASK", 1)
    monkeypatch.setattr(snapshots_module, "_FEW_PAGES", 0)
    monkeypatch.setenv("AGENT_ROLES_HOLD_SHARE", "1")
    _stage(pipeline, {"day2": list(range(1_000, 2_000))})
    removed = "SELECT agent_id FROM stg_agent_roles WHERE status = 'removed' ORDER BY agent_id"
    assert [agent for (agent,) in pipeline.rows(removed)] == list(range(1_000))
    # Its own earlier version and its next day are read so, too.
    before = pipeline.rows(COUNTERS)
    _stage(pipeline, {"day1": list(range(2_000))})
    assert pipeline.rows(COUNTERS) == before


@pytest.mark.parametrize(
    ("seen_as", "read"),
    [
        ((Seen.IN_PREVIOUS, Seen.NOWHERE, Seen.NOWHERE), {1: 2}),
        ((Seen.NEXT_ASSIGNED, Seen.NEXT_REMOVED, Seen.NOWHERE), {1: 4, 2: 8}),
        ((Seen.OLD_ASSIGNED, Seen.OLD_REMOVED, Seen.OLD_OTHER), {1: 16, 2: 32, 3: 64, 4: 64}),
    ],
)
def test_of_a_snapshot_no_row_is_read_that_means_nothing(
    pipeline: Pipeline, seen_as: tuple[Seen, Seen, Seen], read: dict[int, int]
) -> None:
    _plant_days(pipeline, 1)
    pipeline.execute(
        "INSERT INTO stg_agent_roles VALUES (2, 10, 'removed', 'day1'), (3, 10, 'x', 'day1'),"
        " (4, 10, NULL, 'day1')"
    )
    with connect(pipeline.database) as connection:
        part = snapshots_module._partition(connection, "day1")
        [query] = snapshots_module._range_queries(connection, *part, seen_as)
    assert {agent: seen for agent, _, seen in pipeline.rows(query)} == read


def test_rows_that_a_correction_leaves_as_they_were_keep_their_load_time(
    pipeline: Pipeline,
) -> None:
    _stage(pipeline, {"day1": [1, 2]})
    query = "SELECT agent_id, ingested_at FROM stg_agent_roles"
    before = dict(pipeline.rows(query))
    _stage(pipeline, {"day1": [2, 3]})
    after = dict(pipeline.rows(query))
    assert after[2] == before[2]
    assert after[3] > before[2]
    assert 1 not in after


def test_a_correction_keeps_removals_takes_them_back_and_adds_some(pipeline: Pipeline) -> None:
    _stage(pipeline, {"day1": [1, 2], "day2": [1]})
    staged = "SELECT agent_id FROM stg_agent_roles WHERE status = 'removed'"
    ended = "SELECT agent_id FROM agent_role_history WHERE removed_on = 'day2'"
    for agents, removed in (([1, 3], [(2,)]), ([1, 2], []), ([2], [(1,)])):
        _stage(pipeline, {"day2": agents})
        assert pipeline.rows(staged) == pipeline.rows(ended) == removed


def test_a_run_that_waits_to_publish_says_so_and_then_publishes(pipeline: Pipeline) -> None:
    _stage(pipeline, {"day1": [1]})
    _land(pipeline, "day2", [1, 2])
    said: queue.SimpleQueue[str] = queue.SimpleQueue()
    with ThreadPoolExecutor(1) as pool, psycopg.connect(pipeline.database) as other:
        other.execute("LOCK TABLE agent_role_pending IN SHARE ROW EXCLUSIVE MODE")
        run = pool.submit(_stage_alone, pipeline, "day2", said.put)
        assert said.get(timeout=60) == "day2: waiting, since another run is changing the tables"
        assert pipeline.rows("SELECT count(*) FROM agent_role_sync_days") == [(1,)]
        other.rollback()
        assert run.result(30).assigned == 2
    assert said.get().startswith("day2: seconds: waiting")
    assert said.empty()


def test_a_task_locks_what_it_fills_before_it_writes_in_the_order_of_the_publisher(
    pipeline: Pipeline,
) -> None:
    """So one that still runs though its result is known can't deadlock with publishing."""
    _land(pipeline, "day1", [1, None])
    with _tasks_that_wait(pipeline) as (run, waiting):
        held = pipeline.rows(
            "SELECT substring(relation::REGCLASS::TEXT FROM 'agent_roles_load_([a-z]+)_')"
            " FROM pg_locks WHERE pid = %s AND granted AND mode = 'RowExclusiveLock'",
            waiting().pop(),
        )
        before_errors = LOAD_TABLES[: LOAD_TABLES.index("errors")]
        assert sorted(held) == sorted((name,) for name in before_errors)
    assert run.result(60).assigned == 1


def test_no_more_tasks_load_at_once_than_the_setting_says(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_ROLES_CONNECTIONS", "1")
    pipeline.write("day1", dict(dump_for_several_tasks(range(1000))))
    with _tasks_that_wait(pipeline) as (run, waiting):
        # Those that would load at once start at once. So a second one is here soon, or never.
        until = time.monotonic() + 3
        while time.monotonic() < until:
            assert len(waiting()) == 1
            time.sleep(0.05)
    assert run.result(60).assigned == 2000


def test_no_other_machine_reaches_what_a_run_starts(pipeline: Pipeline) -> None:
    _land(pipeline, "day1", [1])
    with _tasks_that_wait(pipeline) as (run, _):
        ours = [psutil.Process(), *psutil.Process().children(recursive=True)]
        places = {
            place.laddr.ip.removeprefix("::ffff:")
            for process in ours
            for place in process.net_connections(kind="inet")
            if place.status == psutil.CONN_LISTEN
        }
        assert places <= {"127.0.0.1", "::1"}
    assert run.result(60).assigned == 1


def _load_table(pipeline: Pipeline, name: str) -> str:
    """The name in SQL of the run's load table."""
    query = "SELECT oid::REGCLASS::TEXT FROM pg_class WHERE relkind = 'r' AND relname LIKE %s"
    ((found,),) = pipeline.rows(query, f"agent\\_roles\\_load\\_{name}\\_%")
    return str(found)


@contextmanager
def _tasks_that_wait(
    pipeline: Pipeline,
) -> Iterator[tuple[Future[StagedDay], Callable[[], set[int]]]]:
    """day1 while it is staged, from when its first task waits to load until the block ends.

    Yields:
        The run, and what tells the process ids of the sessions that wait.
    """

    def waiting() -> set[int]:
        query = "SELECT pid FROM pg_locks INNER JOIN pg_stat_activity USING (pid)"
        query += " WHERE NOT granted AND backend_type = 'client backend'"
        return {pid for (pid,) in pipeline.rows(query)}

    with ThreadPoolExecutor(1) as pool, psycopg.connect(pipeline.database) as other:

        def lock_errors() -> None:
            other.execute(f"LOCK TABLE {_load_table(pipeline, 'errors')} IN SHARE MODE".encode())

        run = pool.submit(_stage_alone, pipeline, "day1", before_loading=lock_errors)
        try:
            while not waiting():
                assert not run.done()
                time.sleep(0.05)
            yield run, waiting
        finally:
            other.rollback()


def test_a_corrected_refused_row_is_shown_as_it_came_last(pipeline: Pipeline) -> None:
    for number in ("1.0", "1.00"):
        pipeline.write("day1", {"roles.json": f'[{{"id": 10, "agents": [{number}]}}]'})
        assert pipeline.run("day1").success
        assert pipeline.rows("SELECT raw_record ->> 'entry' FROM agent_role_pipeline_errors") == [
            (number,)
        ]


def test_a_day_keeps_a_record_of_what_was_read_and_by_which_run(pipeline: Pipeline) -> None:
    _stage(pipeline, {"day1": [1, 1, 2, None], "day2": [2]})
    found = _record(pipeline, "day2")
    assert found["digest"] is not None
    assert found["staged_by"] == found["applied_by"] == pipeline.results[-1].dagster_run.run_id
    names = "raw_rows, valid_pairs, duplicates, invalid_rows, assigned, removed, error_rows"
    query = f"SELECT {names} FROM agent_role_sync_days ORDER BY day_no"
    assert pipeline.rows(query) == [(4, 2, 1, 1, 2, 0, 1), (1, 1, 0, 0, 1, 1, 0)]


def test_a_held_day_says_why_and_leaves_only_its_errors(pipeline: Pipeline) -> None:
    _stage(pipeline, {"day1": list(range(20))})
    _land(pipeline, "day2", ["x"])
    result = pipeline.run("day2")
    assert pipeline.outcome(result) == "held"
    for part in ("no assignment left", "20", "agent 0, role 10", "accept_removals"):
        assert part in _text(result)
    found = _record(pipeline, "day2")
    assert found["staged_at"] is None
    assert found["held_reason"] == _text(result)
    assert found["held_by"] == result.dagster_run.run_id
    assert pipeline.rows("SELECT DISTINCT sync_day FROM stg_agent_roles") == [("day1",)]
    query = "SELECT sync_day, role_id, error_type FROM agent_role_pipeline_errors"
    assert pipeline.rows(query) == [("day2", 10, "VALIDATION_ERROR")]

    assert pipeline.run("day2", accept_removals="the support desk was closed").success
    assert _record(pipeline, "day2")["accepted_reason"] == "the support desk was closed"
    assert pipeline.rows("SELECT count(*) FROM agent_role_mapping WHERE status = 'removed'") == [
        (20,)
    ]


def test_a_reason_is_kept_where_it_was_needed_and_a_blank_one_accepts_nothing(
    pipeline: Pipeline,
) -> None:
    _land(pipeline, "day1", list(range(20)))
    assert pipeline.run("day1", accept_removals="just in case").success
    assert _record(pipeline, "day1")["accepted_reason"] is None
    _land(pipeline, "day2", [])
    for blank in (" ", "\t\n"):
        assert pipeline.outcome(pipeline.run("day2", accept_removals=blank)) == "held"


def test_a_day_accepted_again_has_the_newest_reason(pipeline: Pipeline) -> None:
    _stage(pipeline, {"day1": list(range(20))})
    _land(pipeline, "day2", [])
    assert pipeline.run("day2", accept_removals="A").success
    before = pipeline.rows(COUNTERS)
    assert pipeline.run("day2", accept_removals="A").success
    assert pipeline.rows(COUNTERS) == before
    assert pipeline.outcome(pipeline.run("day2")) == "held"
    assert _record(pipeline, "day2")["accepted_reason"] == "A"
    result = pipeline.run("day2", accept_removals="B")
    assert result.success
    found = _record(pipeline, "day2")
    assert found["accepted_reason"] == "B"
    assert found["staged_by"] == found["applied_by"] == result.dagster_run.run_id


def test_a_day_held_again_after_an_acceptance_names_removals_that_are_staged_already(
    pipeline: Pipeline,
) -> None:
    _stage(pipeline, {"day1": list(range(20))})
    _land(pipeline, "day2", [])
    assert pipeline.run("day2", accept_removals="the support desk was closed").success
    result = pipeline.run("day2")
    assert pipeline.outcome(result) == "held"
    assert "Among them: agent 0, role 10; agent 1, role 10" in _text(result)

    _land(pipeline, "day1", list(range(30)))
    assert pipeline.run("day1").success
    _land(pipeline, "day2", [0])
    assert pipeline.run("day2", accept_removals="the support desk was closed").success
    _land(pipeline, "day2", [None])
    text = _text(pipeline.run("day2"))
    assert "Among them: agent 0, role 10; agent 1, role 10; agent 2, role 10" in text


def test_another_time_of_observation_reaches_the_mapping(pipeline: Pipeline) -> None:
    _stage(pipeline, {"day1": [1, 2], "day2": [1]})
    _land(pipeline, "day1", [1, 2], observed_at="2026-01-01T08:00:00+02:00")
    assert pipeline.run("day1").success
    _land(pipeline, "day1", [1, 2], observed_at="2026-01-01T07:00:00Z")
    assert pipeline.run("day1").success
    found = pipeline.rows("SELECT DISTINCT assigned_at::text FROM agent_role_mapping")
    assert found == [("2026-01-01 07:00:00",)]


def test_the_same_content_landing_again_without_a_manifest_keeps_its_time(
    pipeline: Pipeline,
) -> None:
    files: dict[str, str | bytes] = {"roles.json": '[{"id": 10, "agents": [1]}]'}
    pipeline.write("day1", files)
    assert pipeline.run("day1").success
    before = pipeline.rows("SELECT * FROM agent_role_mapping")
    pipeline.write("day1", files)
    assert pipeline.run("day1").success
    assert pipeline.rows("SELECT * FROM agent_role_mapping") == before


def test_a_dump_that_changed_since_it_was_sealed_is_not_staged(pipeline: Pipeline) -> None:
    _land(pipeline, "day1", [1])
    assert pipeline.run("day1", select="raw_roles").success
    _land(pipeline, "day1", [1, 2])
    result = pipeline.run("day1", select="stg_agent_roles,agent_role_pipeline_errors")
    assert pipeline.outcome(result) == "unreadable"
    assert "changed since raw_roles sealed them" in _text(result)
    assert pipeline.rows("SELECT count(*) FROM stg_agent_roles") == [(0,)]


def test_a_day_that_was_reported_without_a_digest_counts_as_never_sealed(
    pipeline: Pipeline,
) -> None:
    _land(pipeline, "day1", [1])
    pipeline.instance.add_dynamic_partitions("sync_day", ["day1"])
    pipeline.instance.report_runless_asset_event(
        dg.AssetMaterialization("raw_roles", partition="day1")
    )
    assert pipeline.run("day1", select="stg_agent_roles,agent_role_pipeline_errors").success


@pytest.mark.parametrize("name", ["../x", "day01", "2026-02-30", ""])
def test_a_name_that_is_no_days_is_refused_before_anything_is_read(name: str) -> None:
    with pytest.raises(InvalidSyncDay):
        stage_day(
            Settings.from_env({"AGENT_ROLES_LANDING": "nowhere://"}),
            "postgresql://nobody@127.0.0.1:1/nowhere",
            pytest.fail,
            name,
            sealed=None,
            run_id="a run",
            accept_removals=None,
            say=print,
        )


def test_records_that_the_manifest_counts_differently_are_not_staged(pipeline: Pipeline) -> None:
    _land(pipeline, "day1", [1], files=[{"name": "roles.json", "records": 2}])
    result = pipeline.run("day1")
    assert pipeline.outcome(result) == "unreadable"
    assert "day1/roles.json: it has 1 records, but the manifest says 2" in _text(result)


def test_staging_alone_compares_the_files_with_the_manifest(pipeline: Pipeline) -> None:
    """As where somebody runs it without raw_roles; also where the dump is as it was."""
    wrong = {"sha256": "0" * 64}, {"records": 2}
    for is_staged in (False, True):
        for said in wrong:
            _land(pipeline, "day1", [1], files=[{"name": "roles.json", **said}])
            with pytest.raises(Unreadable, match=r"^day1/roles\.json: its? "):
                _stage_alone(pipeline, "day1")
        if not is_staged:
            assert pipeline.rows("SELECT FROM agent_role_sync_days") == []
            _stage(pipeline, {"day1": [1]})


@pytest.mark.parametrize(
    ("table", "loss", "said"),
    [
        ("notes", "RETURN NULL", "1 files landed, 0 were read"),
        (
            "claims",
            "NEW.counts := replace(NEW.counts, '\"valid_rows\": 2', '\"valid_rows\": 1');"
            " RETURN NEW",
            "3 raw rows were read, but 1 valid and 1 invalid ones were loaded",
        ),
    ],
    ids=["a file", "a row"],
)
def test_what_is_lost_on_the_way_is_noticed_before_it_is_published(
    pipeline: Pipeline, table: str, loss: str, said: str
) -> None:
    _land(pipeline, "day1", [1, 2, None])

    def lose() -> None:
        pipeline.execute(
            f"CREATE FUNCTION lose() RETURNS TRIGGER LANGUAGE plpgsql AS $$ BEGIN {loss}; END $$;"
            f"CREATE TRIGGER lose BEFORE INSERT ON {_load_table(pipeline, table)}"
            " FOR EACH ROW EXECUTE FUNCTION lose()"
        )

    with pytest.raises(LostRows, match=said):
        _stage_alone(pipeline, "day1", before_loading=lose)
    assert pipeline.rows("SELECT FROM agent_role_sync_days") == []


def test_two_names_of_one_number_are_refused(pipeline: Pipeline) -> None:
    for day in ("day20260101", "2026-01-01"):
        pipeline.write(day, {"roles.json": '[{"id": 10, "agents": [1]}]'})
    assert pipeline.run("day20260101").success
    result = pipeline.run("2026-01-01")
    assert pipeline.outcome(result) == "refused"
    assert "have the same number" in _text(result)
    assert "land its dump as 'day20260101'" in _text(result)


def test_a_name_that_was_only_held_gives_way_to_another_one_of_its_number(
    pipeline: Pipeline,
) -> None:
    agents = list(range(20))
    pipeline.write("2026-01-01", {"roles.json": json.dumps([{"id": 10, "agents": agents}])})
    assert pipeline.run("2026-01-01").success
    held: dict[str, str | bytes] = {"roles.json": '[{"id": 10, "agents": [null]}]'}
    pipeline.write("day20260102", held)
    pipeline.write("2026-01-02", held)
    for day in ("day20260102", "2026-01-02", "day20260102"):
        assert pipeline.outcome(pipeline.run(day)) == "held"
        query = "SELECT sync_day FROM agent_role_sync_days WHERE day_no = 20260102"
        assert pipeline.rows(query) == [(day,)]
        assert pipeline.rows("SELECT sync_day FROM agent_role_pipeline_errors") == [(day,)]
    pipeline.write("2026-01-02", {"roles.json": '[{"id": 10, "agents": [1]}]'})
    assert pipeline.run("2026-01-02").success
    assert pipeline.outcome(pipeline.run("day20260102")) == "refused"
    query = "SELECT sync_day, error_rows FROM agent_role_sync_days ORDER BY 1"
    assert pipeline.rows(query) == [("2026-01-01", 0), ("2026-01-02", 0)]
    assert pipeline.rows("SELECT sync_day FROM agent_role_pipeline_errors") == []


def test_a_mapping_of_a_day_that_is_not_staged_is_refused(pipeline: Pipeline) -> None:
    _land(pipeline, "day1", [1])
    result = pipeline.run("day1", select="agent_role_mapping")
    assert "day1 is not staged" in _text(result)


def test_only_the_newest_snapshots_are_kept_if_so_set_and_nothing_else_is_lost(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_ROLES_KEEP_DAYS", "2")
    _stage(pipeline, {"day1": [1, 2], "day2": [2], "day3": [2, 3], "day4": [1, 2]})
    assert pipeline.rows("SELECT DISTINCT sync_day FROM stg_agent_roles ORDER BY 1") == [
        ("day3",),
        ("day4",),
    ]
    query = "SELECT agent_id, assigned_on, removed_on FROM agent_role_history ORDER BY 1, 2"
    history = pipeline.rows(query)
    assert history == [
        (1, "day1", "day2"),
        (1, "day4", None),
        (2, "day1", None),
        (3, "day3", "day4"),
    ]
    assert pipeline.run("day4").success, "a kept day whose neighbour is kept can run again"
    for day in ("day1", "day2", "day3"):
        result = pipeline.run(day)
        assert pipeline.outcome(result) == "pruned", day
        assert "was pruned" in _text(result)
    assert pipeline.rows(query) == history


def test_as_many_snapshots_are_kept_as_are_set(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than the last day and the one before, which are needed to run it again."""
    monkeypatch.setenv("AGENT_ROLES_KEEP_DAYS", "3")
    _stage(pipeline, {f"day{number}": [number] for number in range(1, 6)})
    query = "SELECT DISTINCT sync_day FROM stg_agent_roles ORDER BY 1"
    assert pipeline.rows(query) == [("day3",), ("day4",), ("day5",)]


@pytest.mark.parametrize("keep", ["1", "2"])
def test_a_run_keeps_the_snapshots_that_it_needs_to_be_run_again(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, keep: str
) -> None:
    monkeypatch.setenv("AGENT_ROLES_KEEP_DAYS", keep)
    _stage(pipeline, {"day1": [1, 2], "day2": [2], "day4": [2, 3]})
    assert pipeline.run("day4").success
    _stage(pipeline, {"day3": [2, 4]})
    assert pipeline.run("day3").success, "a late day, too"


def test_a_backfill_in_any_order_keeps_what_landed_days_are_going_to_be_compared_with(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_ROLES_KEEP_DAYS", "2")
    days = {"day1": [1], "day10": [4], "day11": [5], "day2": [1, 2], "day3": [3]}
    for day, agents in days.items():
        _land(pipeline, day, agents)
    for day in days:
        assert pipeline.run(day).success, day
    query = "SELECT DISTINCT sync_day FROM stg_agent_roles ORDER BY 1"
    assert pipeline.rows(query) == [("day10",), ("day11",), ("day2",), ("day3",)]
    assert pipeline.run("day11").success
    assert pipeline.rows(query) == [("day10",), ("day11",)], "nothing needs them any more"
    query = "SELECT agent_id, assigned_on, removed_on FROM agent_role_history ORDER BY 1"
    assert pipeline.rows(query) == [
        (1, "day1", "day3"),
        (2, "day2", "day3"),
        (3, "day3", "day10"),
        (4, "day10", "day11"),
        (5, "day11", None),
    ]


def test_nothing_that_a_run_may_be_comparing_with_goes_while_it_stages(
    pipeline: Pipeline,
) -> None:
    """Neither by another run that drops old snapshots, nor by somebody who takes a day back."""
    _stage(pipeline, {"day1": [1], "day2": [2], "day3": [3]})
    there = "SELECT DISTINCT sync_day FROM stg_agent_roles ORDER BY 1"
    take_back = "SET lock_timeout = '500ms'; SET agent_roles.sync_day = 'day3';"

    def meanwhile() -> None:
        apply_day(pipeline.database, "day3", "a run", keep_days=1, say=print)
        with pytest.raises(psycopg.errors.LockNotAvailable):
            pipeline.execute(take_back + sql_file("admin/take_back_newest_day"))
        assert pipeline.rows(there) == [("day1",), ("day2",), ("day3",)]

    _land(pipeline, "day4", [4])
    _stage_alone(pipeline, "day4", before_loading=meanwhile)
    apply_day(pipeline.database, "day4", "a run", keep_days=1, say=print)
    assert pipeline.rows(there) == [("day3",), ("day4",)], "a later run drops them"


def test_two_questions_are_answered_by_sync_day(pipeline: Pipeline) -> None:
    _stage(pipeline, {"day9": [1, 2], "day10": [2, 3], "day11": [1, 2, 4]})
    held_on = "SELECT agent_id, assigned_on FROM agent_roles_on(%s) ORDER BY 1"
    assert pipeline.rows(held_on, "day9") == [(1, "day9"), (2, "day9")]
    assert pipeline.rows(held_on, "day10") == [(2, "day9"), (3, "day10")]
    assert pipeline.rows(held_on, "day11") == [(1, "day11"), (2, "day9"), (4, "day11")]
    changes = "SELECT agent_id, change FROM agent_role_changes_between(%s, %s) ORDER BY 1"
    assert pipeline.rows(changes, "day9", "day10") == [(1, "removed"), (3, "assigned")]
    assert pipeline.rows(changes, "day9", "day11") == [(4, "assigned")]


def test_a_question_about_a_day_that_is_not_staged_or_in_reversed_order_is_refused(
    pipeline: Pipeline,
) -> None:
    _stage(pipeline, {"day1": list(range(20)), "day2": list(range(19))})
    _land(pipeline, "day3", [None])
    assert pipeline.outcome(pipeline.run("day3")) == "held"
    for question, said in {
        "agent_roles_on('day7')": "sync day day7 is not staged",
        "agent_roles_on('day3')": "sync day day3 is not staged",
        "agent_role_changes_between('day0', 'day2')": "sync day day0 is not staged",
        "agent_role_changes_between('day1', 'day3')": "sync day day3 is not staged",
        "agent_role_changes_between('day2', 'day1')": "day2 comes after day1",
    }.items():
        with pytest.raises(psycopg.Error, match=said):
            pipeline.rows(f"SELECT * FROM {question}")
    assert pipeline.rows("SELECT * FROM agent_role_changes_between('day1', 'day1')") == []


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:sec%zzret@127.0.0.1/d",
        "postgresql://u:se@cret@127.0.0.1/d",
        "postgres:/u:secret@127.0.0.1/d",
        "postgresql://u:secret@127.0.0.1:1/d",
    ],
)
def test_no_message_about_the_database_has_its_password(url: str) -> None:
    with pytest.raises(Exception, match="AGENT_ROLES_DATABASE_URL") as raised, connect(url):
        pass
    assert "cret" not in str(raised.value)
    assert "sec" not in str(raised.value)


@pytest.mark.parametrize(("day", "gone"), [("day2", "day1"), ("day2", "day3")])
def test_a_neighbour_whose_table_is_gone_is_not_taken_for_an_empty_day(
    pipeline: Pipeline, day: str, gone: str
) -> None:
    """No pair of it would be seen, so none of them as removed."""
    _stage(pipeline, {"day1": [1, 2, 3], "day2": [1, 2, 3], "day3": [1, 2, 3]})
    before = pipeline.rows("SELECT * FROM agent_role_history ORDER BY 1, 2")
    pipeline.execute(f"DROP TABLE public_days.stg_agent_roles_{gone}")
    _land(pipeline, day, [1, 2])
    result = pipeline.run(day)
    assert pipeline.outcome(result) == "pruned"
    assert f"the snapshot of {gone}" in _text(result)
    assert "Nothing was changed" in _text(result)
    assert pipeline.rows("SELECT * FROM agent_role_history ORDER BY 1, 2") == before


@pytest.mark.parametrize(
    "damage",
    ["DROP TABLE public_days.stg_agent_roles_day2", "DELETE FROM public_days.stg_agent_roles_day2"],
)
def test_a_day_is_corrected_though_its_own_rows_are_gone(pipeline: Pipeline, damage: str) -> None:
    _stage(pipeline, {"day1": [1], "day2": [1, 2, 3], "day3": [1, 2, 3]})
    pipeline.execute(damage)
    _stage(pipeline, {"day2": [1, 3, 4]})
    query = "SELECT agent_id, assigned_on, removed_on FROM agent_role_history ORDER BY 1"
    assert pipeline.rows(query) == [
        (1, "day1", None),
        (2, "day3", None),
        (3, "day2", None),
        (4, "day2", "day3"),
    ]
    query = "SELECT agent_id, status FROM stg_agent_roles WHERE sync_day = %s ORDER BY 1"
    assigned = [(agent, "assigned") for agent in (1, 2, 3)]
    assert pipeline.rows(query, "day3") == [*assigned, (4, "removed")]


@pytest.mark.parametrize(("day", "changed"), [("day3", "day2"), ("day2", "day3")])
def test_a_day_is_not_compared_with_a_snapshot_that_somebody_changed(
    pipeline: Pipeline, day: str, changed: str
) -> None:
    """A pair that is not there any more would come, or go, on another day."""
    _stage(pipeline, {"day1": [1], changed: [1, 2, 3]})
    pipeline.execute(f"DELETE FROM stg_agent_roles WHERE sync_day = '{changed}' AND agent_id = 2")
    _land(pipeline, day, [1, 2, 3])
    result = pipeline.run(day)
    assert pipeline.outcome(result) == "pruned"
    assert f"the snapshot of {changed}, which it is compared with, has 2 assigned pairs" in _text(
        result
    )
    for each in (changed, day):
        assert pipeline.run(each).success, "as the text says"
    query = "SELECT agent_id, assigned_on, removed_on FROM agent_role_history ORDER BY 1"
    assert pipeline.rows(query) == [(1, "day1", None), (2, "day2", None), (3, "day2", None)]


DROP_ALL = "; ".join(f"DROP TABLE public_days.stg_agent_roles_day{n}" for n in (1, 2, 3))
AGENT_2_IS_GONE = "DELETE FROM stg_agent_roles WHERE agent_id = 2"


@pytest.mark.parametrize(
    "damage",
    [
        AGENT_2_IS_GONE,
        f"{AGENT_2_IS_GONE} AND sync_day <> 'day1'",
        f"{AGENT_2_IS_GONE} AND sync_day <> 'day3'",
        "UPDATE stg_agent_roles SET status = 'removed' WHERE sync_day <> 'day2'",
        "INSERT INTO stg_agent_roles SELECT 9, 10, 'assigned', sync_day FROM agent_role_sync_days",
        "DELETE FROM stg_agent_roles",
        "UPDATE stg_agent_roles SET agent_id = 9 WHERE status = 'removed'",
        DROP_ALL,
    ],
)
def test_days_that_somebody_changed_are_mended_if_all_are_run_again_in_order(
    pipeline: Pipeline, damage: str
) -> None:
    _stage(pipeline, {"day1": [1, 2, 3], "day2": [1, 2], "day3": [1, 2, 4]})

    def found() -> list[Any]:
        queries = (
            "SELECT agent_id, status, sync_day, source FROM stg_agent_roles ORDER BY 3, 1",
            "SELECT sync_day, assigned, removed, fingerprint FROM agent_role_sync_days ORDER BY 1",
            "SELECT * FROM agent_role_history ORDER BY 1, 2, 3",
            "SELECT * FROM agent_role_mapping ORDER BY 1, 2",
        )
        return [pipeline.rows(query) for query in queries]

    before = found()
    pipeline.execute(damage)
    assert found() != before
    for day in ("day1", "day2", "day3"):
        assert pipeline.run(day).success, day
        assert found()[2:] == before[2:], "the history and the mapping never follow the damage"
    assert found() == before


def test_a_correction_reaches_a_next_day_that_somebody_changed_and_the_damage_does_not(
    pipeline: Pipeline,
) -> None:
    _stage(pipeline, {"day1": [1, 2, 3], "day2": [1, 2, 3]})
    pipeline.execute(f"{AGENT_2_IS_GONE} AND sync_day = 'day2'")
    _land(pipeline, "day1", [1, 2, 4])
    said: list[str] = []
    _stage_alone(pipeline, "day1", said.append)
    assert any("changed the snapshot of day2" in line for line in said)
    query = "SELECT agent_id, assigned_on, removed_on FROM agent_role_history ORDER BY 1"
    after = [(1, "day1", None), (2, "day1", None), (3, "day2", None), (4, "day1", "day2")]
    assert pipeline.rows(query) == after
    assert pipeline.run("day2").success
    assert pipeline.rows(query) == after


def test_a_correction_of_a_day_whose_table_is_gone_as_is_the_next_days_is_followed_in_order(
    pipeline: Pipeline,
) -> None:
    _stage(pipeline, {"day1": [1, 2, 3], "day2": [1, 2], "day3": [1, 2, 3]})
    pipeline.execute(DROP_ALL)
    _land(pipeline, "day1", [1, 2, 4])
    for day in ("day1", "day2", "day3"):
        assert pipeline.run(day).success, day
    query = "SELECT agent_id, assigned_on, removed_on FROM agent_role_history ORDER BY 1"
    assert pipeline.rows(query) == [
        (1, "day1", None),
        (2, "day1", None),
        (3, "day3", None),
        (4, "day1", "day2"),
    ]
    query = "SELECT agent_id FROM stg_agent_roles WHERE (sync_day, status) = ('day2', 'removed')"
    assert pipeline.rows(query) == [(4,)]


@pytest.mark.parametrize("changed", ["sync_day = 'day3'", "TRUE"])
def test_a_late_day_between_days_that_somebody_changed_says_which_to_run_first(
    pipeline: Pipeline, changed: str
) -> None:
    _stage(pipeline, {"day1": [1, 2, 3], "day3": [1, 2, 3], "day4": [1, 2, 3]})
    before = _history(pipeline)
    pipeline.execute(f"{AGENT_2_IS_GONE} AND {changed}")
    _land(pipeline, "day2", [1, 2, 3])
    first = []
    while pipeline.outcome(result := pipeline.run("day2")) == "pruned":
        assert _history(pipeline) == before
        (day,) = re.findall(r"Materialise (day\d) again, then day2$", _text(result))
        first.append(day)
        assert pipeline.run(day).success, "as the text says"
    assert first == (["day1", "day3"] if changed == "TRUE" else ["day3"])
    assert result.success
    assert _history(pipeline) == before


def _history(pipeline: Pipeline) -> list[tuple[Any, ...]]:
    return pipeline.rows("SELECT * FROM agent_role_history ORDER BY 1, 2, 3")


def test_tables_in_another_schema_than_new_ones_would_be_in_are_refused(database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("CREATE SCHEMA other")
    with connect(database):
        pass
    with (
        pytest.raises(InvalidSetting, match="The tables are in the schema public, but"),
        connect(f"{database}&options=-csearch_path%3Dother,public"),
    ):
        pass


def test_a_day_whose_own_table_is_gone_is_staged_anew(pipeline: Pipeline) -> None:
    _stage(pipeline, {"day1": [1, 2, 3], "day2": [1, 2], "day3": [1]})
    query = "SELECT agent_id, status, sync_day FROM stg_agent_roles ORDER BY 3, 1"
    before = pipeline.rows(query)
    pipeline.execute("DROP TABLE public_days.stg_agent_roles_day2")
    assert pipeline.run("day2").success
    assert pipeline.rows(query) == before


def test_a_reader_holds_up_no_run(pipeline: Pipeline) -> None:
    """Neither by the lock that earlier versions had, nor by all that a reader may lock."""
    _stage(pipeline, {"day1": [1]})
    pipeline.execute(sql_file("schema/015_roles"))
    runner = f"{pipeline.database}&options=-crole%3Dagent_roles_runner"
    with psycopg.connect(pipeline.database) as reader:
        reader.execute("SET ROLE agent_roles_reader")
        reader.execute(
            "SELECT pg_advisory_lock(hashtext('agent_roles staging ' || current_schema()))"
        )
        readable = "SELECT oid::REGCLASS::TEXT FROM pg_class WHERE relkind IN ('r', 'p', 'v')"
        readable += " AND relname ~ 'agent_role' AND has_table_privilege(oid, 'SELECT')"
        for (name,) in reader.execute(readable.encode()).fetchall():
            reader.execute(f"LOCK TABLE {name} IN ACCESS SHARE MODE".encode())
        _land(pipeline, "day2", [2])
        _stage_alone(replace(pipeline, database=runner), "day2")
        apply_day(runner, "day2", "a run", say=print)
        assert reader.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS
    assert pipeline.rows("SELECT agent_id FROM agent_role_mapping WHERE status = 'assigned'") == [
        (2,)
    ]


WHO_HAS_THE_TURN = """
    SELECT pid, backend_xid, backend_xmin FROM pg_locks INNER JOIN pg_stat_activity USING (pid)
    WHERE relation = 'agent_role_turn'::REGCLASS AND mode = 'ShareRowExclusiveLock' AND granted
"""


def test_whoever_loses_the_connection_loses_the_turn_and_publishes_nothing(
    pipeline: Pipeline,
) -> None:
    _stage(pipeline, {"day1": [1, 2]})
    before = _all_rows(pipeline)
    _land(pipeline, "day2", [2, 3])
    seen = []

    def lose() -> None:
        seen.extend(pipeline.rows(WHO_HAS_THE_TURN))
        pipeline.rows("SELECT pg_terminate_backend(%s)", seen[0][0])
        while pipeline.rows(WHO_HAS_THE_TURN):
            time.sleep(0.05)

    with pytest.raises(psycopg.OperationalError):
        _stage_alone(pipeline, "day2", before_loading=lose)
    assert [row[1:] for row in seen] == [(None, None)], "it holds back no VACUUM"
    assert _all_rows(pipeline) == before
    assert _load_tables(pipeline) == []


def _load_tables(pipeline: Pipeline) -> list[str]:
    query = "SELECT tablename FROM pg_tables WHERE tablename LIKE 'agent_roles_load_%' ORDER BY 1"
    return [name for (name,) in pipeline.rows(query)]


def test_a_run_drops_what_killed_runs_left_and_no_other_table(pipeline: Pipeline) -> None:
    _stage(pipeline, {"day1": [1]})
    mine = ["agent_roles_load_archive", "agent_roles_load_rows", "agent_roles_load_rows_2026"]
    for name in (*mine, "agent_roles_load_rows_0123456789ab"):
        pipeline.execute(f"CREATE TABLE public.{name} (id BIGINT)")
    here = ["agent_roles_load_archive", "agent_roles_load_rows_2026"]
    for name in here:
        pipeline.execute(f"CREATE TABLE public_days.{name} (id BIGINT)")
    pipeline.execute("CREATE TABLE public_days.agent_roles_load_day_0123456789ab (id BIGINT)")
    _stage(pipeline, {"day2": [1, 2]})
    mine += [*here, "agent_roles_load_rows_0123456789ab"]
    assert _load_tables(pipeline) == sorted(mine)


def test_a_table_of_a_killed_run_that_a_dump_tool_reads_stays_for_a_later_run(
    pipeline: Pipeline,
) -> None:
    with connect(pipeline.database):
        pass  # creates the schema
    left = [f"agent_roles_load_{name}_0123456789ab" for name in ("delta", "rows")]
    for name in left:
        pipeline.execute(f"CREATE TABLE public_days.{name} (id BIGINT)")
    with psycopg.connect(pipeline.database) as dump:
        dump.execute(f"LOCK TABLE public_days.{left[0]} IN ACCESS SHARE MODE".encode())
        _land(pipeline, "day1", [1])
        with ThreadPoolExecutor(1) as pool:
            try:
                assert pool.submit(_stage_alone, pipeline, "day1").result(60).assigned == 1
            finally:
                dump.rollback()
        assert _load_tables(pipeline) == left[:1]
    _stage_alone(pipeline, "day1")
    assert _load_tables(pipeline) == []


def test_a_dump_tool_that_reads_the_load_tables_holds_up_no_run_that_applies_a_day(
    pipeline: Pipeline,
) -> None:
    """The run that it holds up says so."""
    _land(pipeline, "day1", [1])
    _stage_alone(pipeline, "day1")
    _land(pipeline, "day2", [1, 2])
    said: queue.SimpleQueue[str] = queue.SimpleQueue()
    with ThreadPoolExecutor(2) as pool, psycopg.connect(pipeline.database) as dump:

        def hold() -> None:
            table = _load_table(pipeline, "errors")
            dump.execute(f"LOCK TABLE {table} IN ACCESS SHARE MODE".encode())

        run = pool.submit(_stage_alone, pipeline, "day2", said.put, before_loading=hold)
        try:
            assert said.get(timeout=60) == (
                "day2: waiting, since another session reads its load tables, as a dump tool may:"
                " end the dump, or leave these tables out"
            )
            apply = pool.submit(apply_day, pipeline.database, "day1", "a run", say=print)
            assert apply.result(30).written == 1
            # It wants another one, and PostgreSQL ends neither of the two.
            dump.execute(
                f"LOCK TABLE {_load_table(pipeline, 'rows')} IN ACCESS SHARE MODE".encode()
            )
        finally:
            dump.rollback()
        assert run.result(60).assigned == 2
    assert said.get().startswith("day2: seconds: waiting")


def test_a_run_that_fails_leaves_no_load_table(pipeline: Pipeline) -> None:
    _land(pipeline, "day1", [1], files=[{"name": "roles.json", "records": 2}])
    seen = []
    with pytest.raises(Unreadable):
        _stage_alone(pipeline, "day1", before_loading=lambda: seen.extend(_load_tables(pipeline)))
    assert len(seen) == len(LOAD_TABLES)
    assert _load_tables(pipeline) == []


@pytest.mark.parametrize("detached", ["day1", "day2"])
def test_a_day_that_somebody_detached_is_mended_as_the_text_says(
    pipeline: Pipeline, detached: str
) -> None:
    _stage(pipeline, {"day1": [1, 2, 3], "day2": [1, 2], "day3": [1]})
    query = "SELECT agent_id, status, sync_day FROM stg_agent_roles ORDER BY 3, 1"
    before = pipeline.rows(query)
    table = f"public_days.stg_agent_roles_{detached}"
    rows = pipeline.rows(f"SELECT * FROM {table}")
    pipeline.execute(f"ALTER TABLE stg_agent_roles DETACH PARTITION {table}")
    result = pipeline.run("day3" if detached == "day2" else "day2")
    assert pipeline.outcome(result) == "pruned"
    assert f"Materialise {detached} again, then" in _text(result)
    for day in (detached, "day2", "day3"):
        assert pipeline.run(day).success
    assert pipeline.rows(query) == before
    kept = "SELECT tablename FROM pg_tables WHERE tablename ~ '_detached_'"
    [(name,)] = pipeline.rows(kept)
    assert name.startswith(f"stg_agent_roles_{detached}_detached_")
    assert pipeline.rows(f"SELECT * FROM public_days.{name}") == rows


def test_of_seven_days_four_are_kept_where_four_are_to_be(pipeline: Pipeline) -> None:
    """More than the newest and its neighbour, which stay in any case."""
    _plant_days(pipeline, 7)
    apply_day(pipeline.database, "day7", "a run", keep_days=4, say=print)
    kept = pipeline.rows("SELECT sync_day FROM stg_agent_roles ORDER BY 1")
    assert kept == [("day4",), ("day5",), ("day6",), ("day7",)]


def _plant_days(pipeline: Pipeline, count: int) -> None:
    """Staged and applied days with one row each, by hand."""
    with connect(pipeline.database):
        pass  # creates the schema
    for number in range(1, count + 1):
        pipeline.execute(
            f"CREATE TABLE public_days.stg_agent_roles_day{number}"
            f" PARTITION OF stg_agent_roles FOR VALUES IN ('day{number}');"
            f" INSERT INTO stg_agent_roles VALUES (1, 10, 'assigned', 'day{number}');"
            " INSERT INTO agent_role_sync_days"
            " (sync_day, day_no, staged_at, observed_at, applied_at, assigned, removed)"
            f" VALUES ('day{number}', {number}, now(), '2026-01-0{number}', now(), 1, 0)"
        )


def test_a_day_that_the_mapping_has_yet_to_follow_is_not_pruned(pipeline: Pipeline) -> None:
    _plant_days(pipeline, 5)
    pipeline.execute("UPDATE agent_role_sync_days SET applied_at = NULL WHERE sync_day = 'day2'")
    pipeline.execute(
        "SET agent_roles.keep_days = '1'; SET agent_roles.sync_day = 'day5';"
        f" SET agent_roles.landed_days = '{{}}'; {sql_file('mapping/prune_snapshots')}"
    )
    query = "SELECT sync_day FROM stg_agent_roles ORDER BY 1"
    assert pipeline.rows(query) == [("day2",), ("day4",), ("day5",)]


@pytest.mark.parametrize("file", ["mapping/prune_snapshots", "admin/take_back_newest_day"])
def test_who_takes_a_snapshot_away_waits_for_the_run_that_is_staging(
    pipeline: Pipeline, file: str
) -> None:
    _plant_days(pipeline, 3)
    with ThreadPoolExecutor(1) as pool, connect(pipeline.database) as staging:
        with staging_turn(staging, on_wait=pytest.fail):
            done = pool.submit(
                pipeline.execute,
                "SET agent_roles.keep_days = '1'; SET agent_roles.sync_day = 'day3';"
                f" SET agent_roles.landed_days = '{{}}'; {sql_file(file)}",
            )
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            waiting += " AND relation = 'agent_role_turn'::REGCLASS"
            while pipeline.rows(waiting) != [(1,)]:
                assert not done.done()
                time.sleep(0.05)
            assert pipeline.rows("SELECT count(*) FROM stg_agent_roles") == [(3,)]
        done.result(30)
    assert pipeline.rows("SELECT count(*) FROM stg_agent_roles") == [(2,)]


def test_an_apply_does_not_wait_to_prune_while_a_run_is_staging(pipeline: Pipeline) -> None:
    _plant_days(pipeline, 3)
    with connect(pipeline.database) as staging, staging_turn(staging, on_wait=pytest.fail):
        apply_day(pipeline.database, "day3", "a run", keep_days=1, say=print)
        assert pipeline.rows("SELECT count(*) FROM stg_agent_roles") == [(3,)]
    apply_day(pipeline.database, "day3", "a run", keep_days=1, say=print)
    assert pipeline.rows("SELECT count(*) FROM stg_agent_roles") == [(2,)]


def test_the_time_of_application_is_utc_whatever_the_databases_time_zone(
    pipeline: Pipeline,
) -> None:
    with psycopg.connect(pipeline.database, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f"ALTER DATABASE {name} SET timezone = 'Asia/Kathmandu'".encode())
    _plant_days(pipeline, 1)
    pipeline.execute("UPDATE agent_role_sync_days SET applied_at = NULL")
    apply_day(pipeline.database, "day1", "a run", say=print)
    since = "SELECT abs(extract(epoch FROM now() AT TIME ZONE 'UTC' - applied_at)) < 3600"
    assert pipeline.rows(f"{since} FROM agent_role_sync_days") == [(True,)]


def test_another_pending_day_that_breaks_a_rule_is_not_applied_either(pipeline: Pipeline) -> None:
    _plant_days(pipeline, 2)
    pipeline.execute(
        "UPDATE agent_role_sync_days SET applied_at = NULL;"
        " UPDATE stg_agent_roles SET status = 'paused' WHERE sync_day = 'day1'"
    )
    with pytest.raises(NotApplied, match=r"for day1 breaks rules \(other statuses: 1\)"):
        apply_day(pipeline.database, "day2", "a run", say=print)


def test_what_is_the_same_in_all_rows_of_a_day_takes_no_space_and_shows_in_each(
    pipeline: Pipeline,
) -> None:
    for day, first in (("day1", 0), ("day2", 10)):
        _land(pipeline, day, list(range(first, first + 5_000)))
        _stage_alone(pipeline, day)
    rows = pipeline.rows("SELECT status, sync_day, source, ingested_at FROM stg_agent_roles")
    kinds = {row[:3]: times for row, times in Counter(rows).items()}
    assert kinds == {
        ("assigned", "day1", "api"): 5_000,
        ("assigned", "day2", "api"): 5_000,
        ("removed", "day2", "api"): 10,
    }
    assert None not in {at for *_, at in rows}
    pages = "SELECT (ctid::TEXT::POINT)[0], count(*) FROM public_days.stg_agent_roles_day1"
    on_a_page = max(times for _, times in pipeline.rows(f"{pages} GROUP BY 1"))
    assert 8192 / on_a_page <= 46, "bytes a row"
    # Whoever puts a row there says all of it.
    pipeline.execute("INSERT INTO public_days.stg_agent_roles_day1 (sync_day) VALUES ('day1')")
    assert pipeline.rows(
        "SELECT status, source, ingested_at FROM stg_agent_roles WHERE agent_id IS NULL"
    ) == [(None, None, None)]


def test_what_is_pending_is_a_day_or_a_pair_that_no_pending_day_has(pipeline: Pipeline) -> None:
    def pending() -> list[tuple[Any, ...]]:
        return sorted(pipeline.rows("SELECT * FROM agent_role_pending"), key=repr)

    for day, agents in (("day3", [1, 2, 3]), ("day5", [2, 3, 4])):
        _land(pipeline, day, agents)
        _stage_alone(pipeline, day)
    assert pending() == [(None, None, 3), (None, None, 5)]
    apply_day(pipeline.database, "day5", "a run", say=print)
    assert pending() == []
    # Late: 2 comes, no more on day3; 9 comes, which day3 takes back.
    _land(pipeline, "day1", [2, 9])
    _stage_alone(pipeline, "day1")
    assert pending() == [(None, None, 1)]
    apply_day(pipeline.database, "day1", "a run", say=print)
    # Corrected: 9 never was, 7 was.
    _land(pipeline, "day1", [2, 7])
    _stage_alone(pipeline, "day1")
    assert {row[:2] for row in pending()} == {(7, 10), (9, 10)}
    apply_day(pipeline.database, "day1", "a run", say=print)
    # Observed at another time.
    _land(pipeline, "day1", [2, 7], observed_at="2026-01-01T07:00:00Z")
    _stage_alone(pipeline, "day1")
    assert pending() == [(None, None, 1)]
    apply_day(pipeline.database, "day1", "a run", say=print)
    mapping = "SELECT agent_id, status, extract(day FROM assigned_at)::INT,"
    mapping += " extract(hour FROM assigned_at)::INT, extract(day FROM removed_at)::INT"
    assert sorted(pipeline.rows(f"{mapping} FROM agent_role_mapping")) == [
        (1, "removed", 3, 6, 5),
        (2, "assigned", 1, 7, None),
        (3, "assigned", 3, 6, None),
        (4, "assigned", 5, 6, None),
        (7, "removed", 1, 7, 3),
    ]
