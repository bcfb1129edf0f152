"""The guarantees of the pipeline, on random histories of landings, against a slow, obvious model.

After every step of a history the tables must be those that `tests/model.py` computes from scratch
out of the dumps that are staged by then, whatever came before: late days, corrections, re-runs,
held and unreadable days, runs that died before they were applied, old snapshots dropped.

    AGENT_ROLES_TEST_HISTORIES  how many histories (default 60)
    AGENT_ROLES_TEST_STEPS      how many landings at most in each (default 4)

Thousands, overnight:

    AGENT_ROLES_TEST_HISTORIES=5000 AGENT_ROLES_TEST_STEPS=10 pytest tests/test_guarantees.py
"""

import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from psycopg import sql

from agent_roles_dagster.engines.start import spark_resource, started
from agent_roles_dagster.landing.days import landed_days
from agent_roles_dagster.landing.find import find_dump
from agent_roles_dagster.landing.seal import seal
from agent_roles_dagster.mapping.apply import apply_day
from agent_roles_dagster.outcomes import Held, Pruned, Unreadable
from agent_roles_dagster.postgres import connection as connection_module
from agent_roles_dagster.settings import Settings
from agent_roles_dagster.staging.stage import stage_day
from tests import model
from tests.conftest import empty_database
from tests.dump_strategies import DAYS, FEW_PAIRS, PAIRS, Dump, dumps, manifest, pages
from tests.worlds import with_bulk

HISTORIES = int(os.environ.get("AGENT_ROLES_TEST_HISTORIES", "60"))
STEPS = int(os.environ.get("AGENT_ROLES_TEST_STEPS", "4"))
INDEXES = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"
GUARD = model.Guard(min_previous=3, min_removals=2, share=0.5)

_SETTINGS = settings(
    max_examples=HISTORIES,
    stateful_step_count=STEPS,
    deadline=None,
    derandomize=False,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)

pytestmark = pytest.mark.timeout(900 + 20 * HISTORIES)


class World:
    """One database and one landing folder, emptied for each history, and the code under test."""

    def __init__(self, landing: Path, url: str) -> None:
        self._landing = landing
        self._server_url = self._url = url
        self._settings = Settings.from_env()
        self._spark = spark_resource(self._settings)
        with connection_module.connect(url):
            pass  # creates the schema
        self._connection = psycopg.connect(url, autocommit=True)

        self._indexes = self.rows(INDEXES)

    def build_indexes_at_the_end(self, is_bulk: bool) -> None:
        """Whether what is written goes into tables without indexes, as many rows do."""
        self._url = with_bulk(self._server_url, "on" if is_bulk else "off")

    def close(self) -> None:
        self._connection.close()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(query.encode()).fetchall()

    def clear(self) -> None:
        """Nothing landed, nothing staged."""
        shutil.rmtree(self._landing, ignore_errors=True)
        self._landing.mkdir()
        names = self.rows(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname LIKE 'public%'"
            " AND tablename <> 'agent_role_schema_version'"
        )
        # In a session of its own, whose counts are delivered when it ends; see `written`.
        with psycopg.connect(self._url) as connection:
            # agent_role_pending refuses to be emptied without it.
            connection.execute("SET agent_roles.days_are_followed = 'on'")
            for name in names:
                empty = sql.SQL("DROP TABLE {}" if name[0] == "public_days" else "DELETE FROM {}")
                connection.execute(empty.format(sql.Identifier(*name)))

    def land(self, day: str, files: Dump) -> None:
        """Land files, replacing what the day held."""
        folder = self._landing / day
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, data in files.items():
            (folder / name).write_bytes(data)

    def stage(self, day: str, *, accept_removals: bool, is_sealed: bool) -> str:
        """Do what the assets do up to staging, and say how it ended."""
        try:
            stage_day(
                self._settings,
                self._url,
                lambda: started(self._spark, self._settings),
                day,
                sealed=seal(find_dump(str(self._landing), day)) if is_sealed else None,
                run_id="a run",
                accept_removals="the test accepts them" if accept_removals else None,
                say=note,
            )
        except Unreadable as error:
            note(f"unreadable: {error}")
            return model.UNREADABLE
        except Held as error:
            note(f"held: {error}")
            return model.HELD
        except Pruned as error:
            note(f"pruned: {error}")
            return model.PRUNED
        return model.STAGED

    def apply(self, day: str, *, keep_days: int = 0) -> None:
        landed = landed_days(str(self._landing))
        apply_day(self._url, day, "a run", keep_days=keep_days, landed=landed, say=print)

    def written(self) -> dict[str, tuple[int, ...]]:
        """How many rows were ever written in each table, as PostgreSQL counts them."""
        # Backends deliver their counts when they end, so wait until the last has.
        until = time.monotonic() + 30
        while self.rows(
            "SELECT FROM pg_stat_activity WHERE datname = current_database()"
            " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        ):
            assert time.monotonic() < until, "some session never ends"
            time.sleep(0.005)
        self._connection.execute(b"SELECT pg_stat_clear_snapshot()")
        counts = self.rows(
            "SELECT relname, n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_user_tables WHERE"
            " relname LIKE 'stg_agent_roles%' OR relname IN ('agent_role_mapping',"
            " 'agent_role_changes', 'agent_role_pipeline_errors', 'agent_role_sync_days')"
        )
        return {table: tuple(numbers) for table, *numbers in counts}

    def loaded_at(self) -> dict[tuple[Any, ...], Any]:
        """When the content of each staged row was loaded."""
        rows = self.rows(
            "SELECT agent_id, role_id, status, sync_day, ingested_at FROM stg_agent_roles"
        )
        return {tuple(row): at for *row, at in rows}

    def assert_tables(self, expected: model.Model, *, is_applied: bool) -> None:
        """All tables are the model's; the mapping only if what is staged was applied."""
        tables = {
            "stg_agent_roles": "SELECT agent_id, role_id, status, sync_day FROM stg_agent_roles",
            "history": "SELECT agent_id, role_id, assigned_on, assigned_at, removed_on, removed_at"
            " FROM agent_role_history",
            "agent_role_sync_days": "SELECT sync_day, files, records, raw_rows, valid_pairs,"
            " duplicates, invalid_rows, assigned, removed, error_rows, observed_at"
            " FROM agent_role_sync_days WHERE staged_at IS NOT NULL",
        }
        if is_applied:
            tables["agent_role_mapping"] = (
                "SELECT agent_id, role_id, status, assigned_at, removed_at FROM agent_role_mapping"
            )
        for table, query in tables.items():
            _assert_same(table, self.rows(query), getattr(expected, table)())
        assert self.rows(INDEXES) == self._indexes
        errors = self.rows(
            "SELECT sync_day, agent_id, role_id, error_type, error_message, raw_record::text"
            " FROM agent_role_pipeline_errors"
        )
        _assert_same(
            "agent_role_pipeline_errors",
            [_error(*row) for row in errors],
            expected.agent_role_pipeline_errors(),
        )
        assert self.rows("SELECT DISTINCT source FROM stg_agent_roles") in ([], [("api",)])
        assert not self.rows(
            "SELECT FROM agent_role_sync_days"
            " WHERE raw_rows <> valid_pairs + duplicates + invalid_rows"
        )


def _assert_same(table: str, actual: list[Any], expected: list[Any]) -> None:
    there, wanted = Counter(map(tuple, actual)), Counter(map(tuple, expected))
    assert there == wanted, (
        f"{table}: too many {dict(there - wanted)}, missing {dict(wanted - there)}"
    )


def _error(
    day: str, agent: int | None, role: int | None, kind: str, message: str, raw_record: str
) -> tuple[Any, ...]:
    """A row of the errors table, as the model says it."""
    assert kind == "VALIDATION_ERROR"
    raw = model.parsed(raw_record)
    parts = {}
    for key in ("entry", "record"):
        assert not (key in raw and f"{key}_text" in raw)
        if f"{key}_text" in raw:
            parts[key] = model.canonical_text(raw[f"{key}_text"])
        else:
            parts[key] = model.canonical(raw.get(key, model.MISSING))
    named = [re.match(r"(agent_id|role_id|status) is ", rule) for rule in message.split("; ")]
    broken = frozenset(match[1] if match else model.RECORD for match in named)
    return (day, agent, role, broken, raw["file"], parts["entry"], parts["record"])


@pytest.fixture(scope="module")
def world(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The one world of this module; small worlds need a guard with small limits."""
    landing = tmp_path_factory.mktemp("landing") / "admin_roles"
    with empty_database(server) as url, pytest.MonkeyPatch.context() as patch:
        with psycopg.connect(url) as connection:
            name = sql.Identifier(connection.info.dbname)
            connection.execute(
                sql.SQL("ALTER DATABASE {} SET synchronous_commit = off").format(name)
            )
        patch.setenv("AGENT_ROLES_LANDING", str(landing))
        patch.setenv("AGENT_ROLES_DATABASE_URL", url)
        patch.setenv("AGENT_ROLES_HOLD_MIN_PREVIOUS", str(GUARD.min_previous))
        patch.setenv("AGENT_ROLES_HOLD_MIN_REMOVALS", str(GUARD.min_removals))
        patch.setenv("AGENT_ROLES_HOLD_SHARE", str(GUARD.share))
        made = World(landing, url)
        yield made
        made.close()


class History(RuleBasedStateMachine):
    """Any days land, in any order, any number of times."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world
        self._model = model.Model(GUARD)
        self._landed: dict[str, Dump] = {}
        self._staged: dict[str, Dump] = {}  # the files of the days whose last run staged them
        self._days: list[str] = []
        self._is_applied = True
        world.clear()

    @initialize(days=st.lists(st.sampled_from(DAYS), min_size=2, max_size=4, unique=True))
    def few_days(self, days: list[str]) -> None:
        """Few, so that days are often each other's neighbours and often corrected."""
        self._days = days

    @rule(data=st.data())
    def a_day_lands(self, data: st.DataObject) -> None:
        """Any day, new or again, with any snapshot."""
        day = data.draw(st.sampled_from(self._days))
        self._land(data, day, data.draw(dumps(data.draw(FEW_PAIRS))))

    @rule(data=st.data())
    def a_day_lands_with_a_few_changes(self, data: st.DataObject) -> None:
        """Much as the day before, or as it was before itself: what is usual, and never held."""
        day = data.draw(st.sampled_from(self._days))
        pairs = self._model.assigned_before(day)
        if day in self._model.staged and data.draw(st.booleans()):
            pairs = self._model.staged[day].assigned()
        pairs = pairs ^ data.draw(st.sets(PAIRS, max_size=2))
        self._land(data, day, data.draw(dumps(pairs)))

    @rule(data=st.data())
    def half_of_the_day_before_is_gone(self, data: st.DataObject) -> None:
        """The very edge of the guard: this share, or a little more."""
        day = data.draw(st.sampled_from(self._days))
        before = sorted(self._model.assigned_before(day))
        self._land(data, day, data.draw(dumps(set(before[: len(before) // 2]))))

    @precondition(lambda self: self._landed)
    @rule(data=st.data())
    def a_day_is_run_again(self, data: st.DataObject) -> None:
        """The same files; if they are what is staged, nothing is written."""
        day = data.draw(st.sampled_from(sorted(self._landed)))
        self._land(data, day, self._landed[day])

    @precondition(lambda self: self._landed)
    @rule(data=st.data())
    def a_day_lands_with_another_manifest(self, data: st.DataObject) -> None:
        """The same content, said to be read at another time."""
        day = data.draw(st.sampled_from(sorted(self._landed)))
        files = {k: v for k, v in self._landed[day].items() if k != "_manifest.json"}
        said = data.draw(manifest(files, may_be_wrong=False))
        self._land(data, day, {**files, "_manifest.json": said})

    def _land(self, data: st.DataObject, day: str, files: Dump) -> None:
        accept_removals = data.draw(st.integers(0, 2)) == 2
        is_sealed = data.draw(st.integers(0, 3)) < 3
        dies_before_applying = data.draw(st.integers(0, 9)) == 9
        keep_days = data.draw(st.sampled_from([0, 0, 0, 1, 2]))
        self._world.build_indexes_at_the_end(data.draw(st.booleans()))
        note(f"{day}: {files}")
        loaded_before = self._world.loaded_at()
        is_repeated = self._staged.pop(day, None) == files and self._is_applied
        written_before = self._world.written() if is_repeated else {}

        expected = self._model.land(day, files, accept_removals)
        self._landed[day] = files
        self._world.land(day, files)
        outcome = self._world.stage(day, accept_removals=accept_removals, is_sealed=is_sealed)
        if expected == model.UNREADABLE and self._model.needs_pruned(day):
            assert outcome in (model.UNREADABLE, model.PRUNED), "whichever is found first"
        else:
            assert outcome == expected
        if outcome == model.STAGED:
            self._staged[day] = files
            self._is_applied = not dies_before_applying
            if self._is_applied:
                # A repeated run may still drop a snapshot, which is no row that it writes.
                keep_days = 0 if is_repeated else keep_days
                self._world.apply(day, keep_days=keep_days)
                if keep_days:
                    self._model.prune(day, keep_days, set(self._landed))

        self._world.assert_tables(self._model, is_applied=self._is_applied)
        for row, at in self._world.loaded_at().items():
            assert loaded_before.get(row, at) == at, f"{row} was loaded again"
        if is_repeated and outcome == model.STAGED:
            written = self._world.written()
            if accept_removals:  # its reason may be new, and is kept with the day
                for counts in (written, written_before):
                    counts.pop("agent_role_sync_days", None)
            assert written == written_before


def test_after_any_history_the_tables_are_those_of_the_staged_days(world: World) -> None:
    """Order does not matter, re-running changes nothing, a held or unreadable day never was."""
    run_state_machine_as_test(lambda: History(world), settings=_SETTINGS)


@settings(_SETTINGS, max_examples=max(1, HISTORIES // 10))
@given(many=st.lists(FEW_PAIRS.flatmap(pages), min_size=15, max_size=40))
def test_every_shape_and_every_flaw_is_read_as_the_model_reads_it(
    world: World, many: list[Dump]
) -> None:
    """Many little dumps as the pages of one day."""
    world.clear()
    files = {f"{n}-{name}": data for n, dump in enumerate(many) for name, data in dump.items()}
    files["_manifest.json"] = b'{"observed_at": "2026-01-01T00:00:00Z"}'
    expected = model.Model(GUARD)
    outcome = expected.land("day1", files, accept_removals=False)
    world.land("day1", files)
    assert world.stage("day1", accept_removals=False, is_sealed=True) == outcome
    if outcome == model.STAGED:
        world.apply("day1")
    world.assert_tables(expected, is_applied=True)
