"""What a step that lasts says of itself: it moves, it ends with the step, and it harms nothing."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from agent_roles_dagster import progress
from agent_roles_dagster.engines.start import Engine, spark_resource, started
from agent_roles_dagster.engines.tasks import add_rows_read, rows_read
from agent_roles_dagster.mapping.apply import apply_day
from agent_roles_dagster.postgres.connection import connect
from agent_roles_dagster.progress import Progress, lasting, loading, writing
from agent_roles_dagster.settings import Settings
from agent_roles_dagster.staging.load_tables import Load, create_load_tables
from agent_roles_dagster.staging.stage import stage_day
from tests.conftest import Pipeline
from tests.worlds import with_bulk, write_day

SOON = 0.001


class Heard:
    """Takes lines, and waits for one."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._more = threading.Condition()

    def __call__(self, line: str) -> None:
        with self._more:
            self.lines.append(line)
            self._more.notify_all()

    def wait_for(self, pattern: str) -> None:
        with self._more:
            assert self._more.wait_for(lambda: self.match(pattern), 30), self.lines

    def match(self, pattern: str) -> bool:
        return any(re.fullmatch(pattern, line) for line in self.lines)


def test_nothing_is_said_of_what_is_soon_over() -> None:
    heard = Heard()
    with Progress(heard, lasting("day1: waiting")):
        pass
    assert heard.lines == []


def test_what_is_said_follows_what_is_done_and_ends_with_it() -> None:
    heard = Heard()
    with Progress(heard, lasting("day1: waiting"), SOON) as told:
        heard.wait_for(r"day1: waiting, 0 s so far")
        told.begin(lasting("day1: publishing"))
        heard.wait_for(r"day1: publishing, 0 s so far")
    said = len(heard.lines)
    assert "progress" not in {thread.name for thread in threading.enumerate()}
    assert len(heard.lines) == said


def test_what_cannot_be_told_ends_neither_the_step_nor_the_telling() -> None:
    heard = Heard()
    unreachable = loading("postgresql://nobody@/x?host=/nowhere", "day1", "x", None)
    asked = threading.Event()

    def describe(seconds: float) -> str:
        if not asked.is_set():
            asked.set()
            return unreachable(seconds)
        return "day1: and yet"

    with Progress(heard, describe, SOON):
        heard.wait_for("day1: and yet")


def test_an_error_of_the_step_is_the_steps_own() -> None:
    with pytest.raises(KeyError), Progress(print, lasting("day1: waiting"), SOON):
        raise KeyError
    assert "progress" not in {thread.name for thread in threading.enumerate()}


@pytest.fixture
def target(pipeline: Pipeline) -> Load:
    with connect(pipeline.database):
        pass  # creates the schema
    made = Load(pipeline.database, "public_days", "0123456789ab", None, True)  # type: ignore[arg-type]
    create_load_tables(made)
    return made


def test_what_is_loaded_is_counted_while_it_is_loaded_also_by_another_process(
    pipeline: Pipeline, target: Load
) -> None:
    table = f"public_days.{target.name('rows')}"
    describe = loading(pipeline.database, "day1", table, 120_000)
    assert describe(10) == "day1: reading and comparing, 10 s so far", "as Apache Spark's tasks do"
    add_rows_read(50_000)
    assert describe(20) == "day1: read 50,000 raw rows, 5,000 a second"
    with psycopg.connect(pipeline.database) as task:
        with task.cursor().copy(f"COPY {table} FROM STDIN".encode()) as copy:
            for number in range(100_000):
                copy.write_row((number, 10))
        line = describe(30)
        found = re.fullmatch(
            r"day1: loaded about ([\d,]+) of 120,000 pairs, ([\d,]+) a second", line
        )
        assert found, line
        count, rate = (int(number.replace(",", "")) for number in found.groups())
        assert count == pytest.approx(100_000, rel=0.15)
        assert rate == count // 10 or rate == round(count / 10)
    assert ", 0 a second" in describe(40)


def test_the_index_that_is_being_built_is_named(pipeline: Pipeline) -> None:
    with connect(pipeline.database):
        pass  # creates the schema
    pipeline.execute("INSERT INTO agent_role_changes SELECT n, 1, 1, 'assigned' FROM"
                     " generate_series(1, 1000) AS n")  # fmt: skip
    # An index on a function that waits is being built for as long as somebody has its lock.
    pipeline.execute(
        "CREATE FUNCTION held(BIGINT) RETURNS BIGINT LANGUAGE plpgsql IMMUTABLE AS"
        " $$ BEGIN PERFORM pg_advisory_lock_shared(1); RETURN $1; END $$"
    )
    heard = Heard()
    describe = writing(pipeline.database, "day1: publishing")
    assert describe(20) == "day1: publishing, 20 s so far"
    with psycopg.connect(pipeline.database) as other:
        other.execute("SELECT pg_advisory_lock(1)")
        build = threading.Thread(
            target=pipeline.execute,
            args=("CREATE INDEX ON agent_role_changes (held(agent_id))",),
        )
        build.start()
        with Progress(heard, describe, SOON):
            heard.wait_for(
                r"day1: publishing, \d+ s so far: building index: scanning table of"
                r" agent_role_changes, \d+ %"
            )
    build.join()


@pytest.mark.parametrize("bulk", ["on", "off"])
def test_a_run_says_what_it_does_from_its_beginning_to_its_end(
    pipeline: Pipeline, bulk: str
) -> None:
    write_day(pipeline.landing, "day1", seed=1)
    settings, heard = Settings.from_env(), Heard()
    url = with_bulk(pipeline.database, bulk)

    def hold(table: str) -> None:
        with psycopg.connect(pipeline.database) as other:
            other.execute(f"LOCK TABLE public_days.{table} IN SHARE MODE".encode())
            has_lock.set()
            heard.wait_for(r"day1: (reading and comparing, \d+ s so far|read .* a second)")

    has_lock = threading.Event()

    @contextmanager
    def engine() -> Iterator[Engine]:
        heard.wait_for(r"day1: starting the engine, \d+ s so far")
        query = "SELECT tablename FROM pg_tables WHERE tablename LIKE 'agent_roles_load_rows_%'"
        [(table,)] = pipeline.rows(query)
        holding = threading.Thread(target=hold, args=(table,))
        holding.start()
        assert has_lock.wait(30)
        with started(spark_resource(settings), settings) as running:
            yield running
        holding.join()

    read = rows_read()
    staged = stage_day(
        settings, url, engine, "day1",
        sealed=None, run_id="a run", accept_removals=None, say=heard, say_every=SOON,
    )  # fmt: skip
    assert rows_read() - read == staged.raw_rows
    with psycopg.connect(pipeline.database) as other:
        other.execute("SELECT FROM agent_role_sync_days FOR UPDATE")
        run = threading.Thread(
            target=apply_day,
            args=(url, "day1", "a run"),
            kwargs={"say": heard, "say_every": SOON},
        )
        run.start()
        heard.wait_for(r"day1: applying, \d+ s so far")
    run.join()
    assert pipeline.rows("SELECT applied_at IS NOT NULL FROM agent_role_sync_days") == [(True,)]


def test_what_a_step_says_is_in_the_page_of_its_run(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "EVERY", SOON)
    pipeline.write("day1", {"roles.json": json.dumps([{"id": 10, "agents": [1]}])})
    result = pipeline.run("day1")
    assert result.success
    page = pipeline.instance.all_logs(result.run_id)
    lines = {entry.user_message for entry in page if not entry.is_dagster_event}
    for part in (
        "starting the engine",
        "checking stg_agent_roles",
        "checking agent_role_mapping",
    ):
        assert any(line.startswith(f"day1: {part}, ") for line in lines), part
