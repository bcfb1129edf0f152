import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from agent_roles_dagster.mapping.apply import apply_day
from agent_roles_dagster.outcomes import NotApplied
from agent_roles_dagster.postgres.connection import connect
from agent_roles_dagster.postgres.sql_files import run_file, sql_file
from tests.conftest import Pipeline
from tests.worlds import with_bulk, write_day

STAGING = "raw_roles,stg_agent_roles,agent_role_pipeline_errors"


def test_a_run_that_waits_for_another_one_says_so_and_then_applies(pipeline: Pipeline) -> None:
    write_day(pipeline.landing, "day1", seed=1)
    assert pipeline.run("day1", select=STAGING).success
    has_said, said = threading.Event(), []

    def say(line: str) -> None:
        said.append(line)
        has_said.set()

    with psycopg.connect(pipeline.database) as other:
        other.execute("LOCK TABLE agent_role_pending IN SHARE ROW EXCLUSIVE MODE")
        run = threading.Thread(
            target=apply_day, args=(pipeline.database, "day1", "a run"), kwargs={"say": say}
        )
        run.start()
        assert has_said.wait(30)
        assert pipeline.rows("SELECT count(*) FROM agent_role_mapping") == [(0,)]
    run.join(30)
    assert said == ["day1: waiting, since another run is changing the tables"]
    assert pipeline.rows(
        "SELECT (SELECT count(*) FROM agent_role_mapping)"
        " - (SELECT count(*) FROM stg_agent_roles WHERE status = 'assigned')"
    ) == [(0,)]


@pytest.mark.parametrize("bulk", ["on", "off"])
def test_a_reader_in_an_open_transaction_keeps_no_run_waiting(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, bulk: str
) -> None:
    write_day(pipeline.landing, "day1", seed=1)
    monkeypatch.setenv("AGENT_ROLES_DATABASE_URL", with_bulk(pipeline.database, bulk))
    with psycopg.connect(pipeline.database) as reader:
        with connect(pipeline.database):
            pass  # creates the schema
        reader.execute("SELECT FROM agent_role_pending, agent_role_mapping, agent_role_history")
        assert pipeline.run("day1").success
        assert reader.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS
    assert pipeline.rows("SELECT count(*) FROM agent_role_pending") == [(0,)]


def test_a_run_that_is_blocked_in_the_middle_waits_and_does_not_begin_anew(
    pipeline: Pipeline,
) -> None:
    write_day(pipeline.landing, "day1", seed=1)
    assert pipeline.run("day1").success
    pipeline.execute("UPDATE agent_role_sync_days SET applied_at = NULL")
    said: list[str] = []
    with psycopg.connect(pipeline.database) as other, ThreadPoolExecutor(1) as pool:
        other.execute("SELECT FROM agent_role_sync_days FOR UPDATE")
        run = pool.submit(apply_day, pipeline.database, "day1", "a run", say=said.append)
        time.sleep(3)  # longer than a run is silent about waiting for its turn
        assert not run.done()
        other.rollback()
        run.result(30)
    assert said == []
    assert pipeline.rows("SELECT applied_by FROM agent_role_sync_days") == [("a run",)]


def test_the_rows_of_a_day_are_what_it_says_and_not_what_it_changed(pipeline: Pipeline) -> None:
    for day, agents in (("day1", "1, 2, 3"), ("day2", "2, 3, 4")):
        pipeline.write(day, {"roles.json": f'[{{"id": 10, "agents": [{agents}]}}]'})
        assert pipeline.run(day).success
    for changed in (2, 0):
        (found,) = pipeline.results[-1].asset_materializations_for_node("agent_role_mapping")
        assert found.metadata["dagster/partition_row_count"].value == 4, "3 assigned, 1 removed"
        assert found.metadata["rows changed"].value == changed
        assert pipeline.run("day2").success


def test_a_day_that_waits_beside_one_that_breaks_a_rule_is_not_applied(pipeline: Pipeline) -> None:
    """Applying a day applies all that wait, whose changes the mapping would follow."""
    for day in ("day1", "day2"):
        write_day(pipeline.landing, day, seed=int(day[-1]))
        assert pipeline.run(day, select=STAGING).success
    pipeline.execute("UPDATE stg_agent_roles SET role_id = NULL WHERE sync_day = 'day1'")
    with pytest.raises(NotApplied, match="what is staged for day1 breaks rules"):
        apply_day(pipeline.database, "day2", "a run", say=print)
    assert pipeline.rows("SELECT FROM agent_role_mapping") == []


def test_a_day_that_is_staged_while_a_run_waits_to_apply_is_looked_at_too(
    pipeline: Pipeline,
) -> None:
    for day in ("day1", "day2"):
        write_day(pipeline.landing, day, seed=int(day[-1]))
        assert pipeline.run(day, select=STAGING).success
    later = "UPDATE agent_role_sync_days SET staged_at = {} WHERE sync_day = 'day2'"
    pipeline.execute(later.format("NULL"))
    has_said = threading.Event()
    with psycopg.connect(pipeline.database) as other, ThreadPoolExecutor(1) as pool:
        other.execute("LOCK TABLE agent_role_pending IN SHARE ROW EXCLUSIVE MODE")
        run = pool.submit(
            apply_day, pipeline.database, "day1", "a run", say=lambda _: has_said.set()
        )
        assert has_said.wait(30)
        other.execute(later.format("now()").encode())
        other.execute("UPDATE stg_agent_roles SET role_id = NULL WHERE sync_day = 'day2'")
        other.commit()
        with pytest.raises(NotApplied, match="what is staged for day2 breaks rules"):
            run.result(30)
    assert pipeline.rows("SELECT FROM agent_role_mapping") == []


def test_a_day_that_waits_to_be_applied_keeps_its_snapshot(pipeline: Pipeline) -> None:
    """Or it could not be checked before it is applied."""
    for number in (1, 2, 3):
        write_day(pipeline.landing, f"day{number}", seed=number)
        assert pipeline.run(f"day{number}").success
    pipeline.execute("UPDATE agent_role_sync_days SET applied_at = NULL WHERE day_no = 1")
    _prune(pipeline, "day3")
    pruned = "SELECT sync_day FROM agent_role_sync_days WHERE pruned_at IS NOT NULL"
    assert pipeline.rows(pruned) == []
    apply_day(pipeline.database, "day3", "a run", keep_days=1, say=print)
    assert pipeline.rows(pruned) == [("day1",)]


def _prune(pipeline: Pipeline, day: str) -> None:
    """What a run does last that keeps one snapshot, without applying what waits."""
    parameters = {"sync_day": day, "keep_days": "1", "landed_days": "{}"}
    with connect(pipeline.database) as connection:
        for name, value in parameters.items():
            connection.execute("SELECT set_config(%s, %s, FALSE)", (f"agent_roles.{name}", value))
        run_file(connection, "mapping/prune_snapshots")


def test_times_are_utc_whatever_the_sessions_time_zone_is(pipeline: Pipeline) -> None:
    for number in (1, 2, 3):
        write_day(pipeline.landing, f"day{number}", seed=number)
        assert pipeline.run(f"day{number}", select=STAGING).success
    far = f"{pipeline.database}&options=-ctimezone%3DAsia/Tokyo"
    apply_day(far, "day3", "a run", keep_days=1, say=print)
    late = "SELECT FROM agent_role_sync_days WHERE abs(extract(epoch FROM %s - timezone('UTC',"
    late += " now()))) > 3600"
    for column in ("staged_at", "applied_at", "pruned_at"):
        assert pipeline.rows(late % column) == [], column
    assert pipeline.rows(
        "SELECT count(applied_at), count(pruned_at) FROM agent_role_sync_days"
    ) == [(3, 1)]


def test_a_day_that_is_not_staged_is_not_applied(pipeline: Pipeline) -> None:
    with pytest.raises(NotApplied, match="day1 is not staged"):
        apply_day(pipeline.database, "day1", "a run", say=print)


def test_a_mapping_is_filled_at_once_with_what_it_would_follow_day_by_day(
    pipeline: Pipeline,
) -> None:
    found = []
    for bulk in ("off", "on"):
        url = with_bulk(pipeline.database, bulk)
        for number in (2, 1, 3):
            write_day(pipeline.landing, f"day{number}", seed=number)
            assert pipeline.run(f"day{number}", select=STAGING).success
        written = apply_day(url, "day3", "a run", say=print).written
        assert pipeline.rows("SELECT * FROM agent_role_pending") == []
        found.append((written, sorted(pipeline.rows("SELECT * FROM agent_role_mapping"), key=repr)))
        pipeline.execute(
            "DELETE FROM agent_role_mapping; UPDATE agent_role_sync_days SET applied_at = NULL;"
            " INSERT INTO agent_role_pending (day_no) SELECT day_no FROM agent_role_sync_days"
        )
    assert found[0] == found[1]
    assert len(found[0][1]) == found[0][0] > 100


# With psql, in a database or as a role that has such a default.
LEVELS = pytest.mark.parametrize("level", ["read committed", "repeatable read", "serializable"])


def _run_while_day3_is_published(pipeline: Pipeline, level: str, file: str) -> None:
    """Run a SQL file that has to wait, since another run is publishing day3, which removes (1, 10).

    day1 and day2 are staged and applied, with the pair (1, 10).
    """
    with connect(pipeline.database) as connection:
        for number in (1, 2):
            connection.execute(
                f"CREATE TABLE public_days.stg_agent_roles_day{number}"
                f" PARTITION OF stg_agent_roles FOR VALUES IN ('day{number}');"
                " INSERT INTO agent_role_sync_days"
                " (sync_day, day_no, staged_at, observed_at, applied_at)"
                f" VALUES ('day{number}', {number}, now(), '2026-01-0{number}', now())"
            )
        connection.execute(
            "INSERT INTO agent_role_changes VALUES (1, 10, 1, 'assigned');"
            "INSERT INTO agent_role_mapping VALUES (1, 10, 'assigned', '2026-01-01')"
        )
    isolation = level.replace(" ", "\\ ")
    options = f"-cdefault_transaction_isolation={isolation} -cagent_roles.sync_day=day2"
    with (
        ThreadPoolExecutor(1) as pool,
        psycopg.connect(pipeline.database) as run,
        psycopg.connect(pipeline.database, autocommit=True, options=options) as waiting,
    ):
        run.execute("LOCK TABLE agent_role_turn, agent_role_pending IN SHARE ROW EXCLUSIVE MODE")
        done = pool.submit(waiting.execute, sql_file(file).encode())
        while not pipeline.rows("SELECT FROM pg_locks WHERE NOT granted"):
            assert not done.done()
            time.sleep(0.01)
        run.execute(
            "INSERT INTO agent_role_sync_days (sync_day, day_no, staged_at, observed_at)"
            " VALUES ('day3', 3, now(), '2026-01-03');"
            "INSERT INTO agent_role_changes VALUES (1, 10, 3, 'removed');"
            "INSERT INTO agent_role_pending (day_no) VALUES (3)"
        )
        run.commit()
        done.result(30)


@LEVELS
def test_a_day_that_is_not_the_newest_any_more_is_not_taken_back(
    pipeline: Pipeline, level: str
) -> None:
    with pytest.raises(psycopg.errors.RaiseException, match="day2 is not the newest staged day"):
        _run_while_day3_is_published(pipeline, level, "admin/take_back_newest_day")
    days = "SELECT sync_day FROM agent_role_sync_days ORDER BY 1"
    assert pipeline.rows(days) == [("day1",), ("day2",), ("day3",)]


@LEVELS
def test_the_mapping_follows_a_day_that_was_published_while_it_waited(
    pipeline: Pipeline, level: str
) -> None:
    _run_while_day3_is_published(pipeline, level, "mapping/012_upsert_agent_roles")
    assert pipeline.rows("SELECT status FROM agent_role_mapping") == [("removed",)]
    assert pipeline.rows("SELECT FROM agent_role_pending") == []


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_no_snapshot_is_dropped_by_what_was_to_be_seen_before_the_wait(
    pipeline: Pipeline, level: str
) -> None:
    with connect(pipeline.database):
        pass  # creates the schema
    with psycopg.connect(pipeline.database, autocommit=True) as connection:
        connection.execute(
            f"SET default_transaction_isolation = '{level}'; SET agent_roles.keep_days = '1';"
            " SET agent_roles.sync_day = 'day3'; SET agent_roles.landed_days = '{}'".encode()
        )
        with pytest.raises(psycopg.errors.RaiseException, match="no snapshot was dropped"):
            connection.execute(sql_file("mapping/prune_snapshots").encode())
