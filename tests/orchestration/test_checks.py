"""Each asset check passes on what the job wrote, and fails once somebody damages the tables."""

import json
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest

from agent_roles_dagster.orchestration import checks, steps
from agent_roles_dagster.postgres.connection import connect
from agent_roles_dagster.postgres.sql_files import rows_of_file
from tests.conftest import Pipeline
from tests.docs import block

DAY1 = [{"id": 10, "agents": [1, 2, 3]}, {"id": 20, "agents": [1]}]
DAY2 = [{"id": 10, "agents": [1, 2]}, {"id": 20, "agents": [1]}]
STAGING_CHECKS = {
    "day_may_be_staged",
    "agent_id_is_not_null",
    "role_id_is_not_null",
    "status_is_not_null",
    "status_is_known",
    "no_pair_twice",
    "conservation",
    "no_removals_beside_invalid_records",
    "changes_are_usual",
}
SWAP = """
    UPDATE stg_agent_roles SET status = CASE agent_id WHEN 2 THEN 'removed' ELSE 'assigned' END
    WHERE sync_day = 'day2' AND agent_id IN (2, 3)
"""
Results = dict[str, Any]
CheckResults = Callable[[dg.ExecuteInProcessResult], Results]


def _land(pipeline: Pipeline, day: str, roles: list[Any], observed_at: str) -> None:
    pipeline.write(
        day,
        {
            "roles.json": json.dumps(roles),
            "_manifest.json": json.dumps({"observed_at": observed_at}),
        },
    )


@pytest.fixture
def two_days(pipeline: Pipeline) -> Pipeline:
    """day1 and day2 applied."""
    for day, roles in (("day1", DAY1), ("day2", DAY2)):
        _land(pipeline, day, roles, f"2026-01-0{day[-1]}T06:00:00Z")
        assert pipeline.run(day).success
    return pipeline


@pytest.fixture
def damage_after_staging(monkeypatch: pytest.MonkeyPatch) -> Callable[[Pipeline, str], None]:
    """Lets somebody else do something to the tables right after each staging."""

    def install(pipeline: Pipeline, statement: str) -> None:
        stage_day = steps.stage_day

        def stage_and_damage(*args: Any, **kwargs: Any) -> Any:
            staged = stage_day(*args, **kwargs)
            pipeline.execute(statement)
            return staged

        monkeypatch.setattr(steps, "stage_day", stage_and_damage)

    return install


Damage = Callable[[Pipeline, str], None]


def test_all_checks_pass_on_sound_days_and_are_recorded_for_their_partition(
    two_days: Pipeline, check_results: CheckResults
) -> None:
    results = check_results(two_days.results[-1])
    assert {name for name, result in results.items() if not result.passed} == set()
    assert set(results) == STAGING_CHECKS | {
        "no_invalid_rows",
        "assigned_pairs_are_the_newest_days",
        "times_fit_status",
        "observed_at_rises",
    }
    assert {result.partition for result in results.values()} == {"day2"}


@pytest.mark.parametrize(
    ("damage", "caught_by"),
    [
        (
            "UPDATE stg_agent_roles SET agent_id = NULL WHERE sync_day = 'day2' AND agent_id = 2",
            "agent_id_is_not_null",
        ),
        (
            "UPDATE stg_agent_roles SET role_id = NULL WHERE sync_day = 'day2' AND agent_id = 2",
            "role_id_is_not_null",
        ),
        (
            "UPDATE stg_agent_roles SET status = NULL WHERE sync_day = 'day2' AND agent_id = 2",
            "status_is_not_null",
        ),
        (
            "UPDATE stg_agent_roles SET status = 'paused' WHERE sync_day = 'day2'",
            "status_is_known",
        ),
        (
            "INSERT INTO stg_agent_roles SELECT * FROM stg_agent_roles WHERE sync_day = 'day2'",
            "no_pair_twice",
        ),
        (
            "DELETE FROM stg_agent_roles WHERE sync_day = 'day2' AND agent_id = 2",
            "conservation",
        ),
        (
            "DELETE FROM stg_agent_roles WHERE sync_day = 'day2' AND status = 'removed'",
            "conservation",
        ),
        (SWAP, "conservation"),
        (
            "UPDATE stg_agent_roles SET agent_id = 99 WHERE sync_day = 'day2' AND agent_id = 2",
            "conservation",
        ),
        (
            "INSERT INTO agent_role_pipeline_errors (error_message, sync_day) VALUES ('x', 'day2')",
            "conservation",
        ),
        (
            "UPDATE agent_role_sync_days SET duplicates = duplicates + 1 WHERE sync_day = 'day2'",
            "conservation",
        ),
    ],
)
def test_a_damaged_staged_day_fails_its_check_and_is_not_applied(
    two_days: Pipeline,
    check_results: CheckResults,
    damage_after_staging: Damage,
    monkeypatch: pytest.MonkeyPatch,
    damage: str,
    caught_by: str,
) -> None:
    before = two_days.rows("SELECT * FROM agent_role_mapping ORDER BY 1, 2")
    damage_after_staging(two_days, damage)
    result = two_days.run("day2")
    failed = check_results(result)[caught_by]
    assert (failed.passed, failed.blocking) == (False, True)
    assert not result.success
    assert two_days.rows("SELECT * FROM agent_role_mapping ORDER BY 1, 2") == before

    if caught_by != "conservation" or damage == SWAP:
        # Somebody materialises the mapping alone, where no check stands in the way.
        assert two_days.outcome(two_days.run("day2", select="agent_role_mapping")) == "not applied"

    monkeypatch.undo()
    two_days.use(monkeypatch)
    result = two_days.run("day2")
    assert result.success, "staging the day again mends it"
    assert all(result.passed for result in check_results(result).values())


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE stg_agent_roles SET agent_id = 1 WHERE (agent_id, sync_day) = (2, 'day2')",
        "UPDATE stg_agent_roles SET agent_id = 1 WHERE (agent_id, sync_day) = (3, 'day2')",
        "UPDATE stg_agent_roles SET agent_id = 1 WHERE agent_id = 2",
    ],
)
def test_a_pair_in_the_place_of_another_one_is_found_although_the_numbers_fit(
    two_days: Pipeline, check_results: CheckResults, damage_after_staging: Damage, damage: str
) -> None:
    damage_after_staging(two_days, damage)
    results = check_results(two_days.run("day2"))
    assert not results["no_pair_twice"].passed
    shown = [record.data for record in results["no_pair_twice"].metadata["sample"].records]
    assert {(row["agent_id"], row["role_id"]) for row in shown} == {("1", "10")}


@pytest.mark.parametrize("fingerprint", ["fingerprint", "NULL"])
def test_pairs_whose_statuses_were_swapped_are_named(two_days: Pipeline, fingerprint: str) -> None:
    """The numbers fit, and so does the fingerprint, if the day has one."""
    two_days.execute(f"{SWAP}; UPDATE agent_role_sync_days SET fingerprint = {fingerprint}")
    with connect(two_days.database) as connection:
        results = checks.of_staging(connection, "day2")
    [found] = [result for result in results if not result.passed]
    assert checks.finding(found).endswith(
        "Found: removed pairs that are only recorded or only staged: 2 is not 0."
    )
    shown = [record.data for record in found.metadata["sample"].records]
    assert [(row["agent_id"], row["status"]) for row in shown] == [
        ("2", "removed"),
        ("3", "assigned"),
    ]


def test_a_swap_of_statuses_is_not_applied(two_days: Pipeline) -> None:
    two_days.execute(SWAP)
    result = two_days.run("day2", select="agent_role_mapping")
    assert two_days.outcome(result) == "not applied"
    [failed] = [event for event in result.all_events if event.is_step_failure]
    text = failed.step_failure_data.user_failure_data.description
    assert "breaks rules (removals only recorded or only staged: 2)" in text


def test_the_checks_of_a_sound_day_read_its_rows_and_the_mapping_once(two_days: Pipeline) -> None:
    query = "SELECT relname, seq_tup_read FROM pg_stat_user_tables WHERE relname IN"
    query += " ('stg_agent_roles_day2', 'agent_role_mapping')"
    others = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
    others += " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"

    def rows_read() -> Counter[str]:
        # Sessions deliver their counts when they end.
        while two_days.rows(others):
            time.sleep(0.05)
        return Counter(dict(two_days.rows(query)))

    before = rows_read()
    with connect(two_days.database) as connection:
        results = [*checks.of_staging(connection, "day2"), *checks.of_mapping(connection)]
    assert all(result.passed for result in results)
    assert rows_read() - before == {"stg_agent_roles_day2": 4, "agent_role_mapping": 4}


def test_a_day_that_has_no_fingerprint_on_record_is_checked_pair_by_pair(
    two_days: Pipeline,
) -> None:
    """As one that an early version staged."""

    def failed() -> set[str | None]:
        with connect(two_days.database) as connection:
            results = [*checks.of_staging(connection, "day2"), *checks.of_mapping(connection)]
        return {result.check_name for result in results if not result.passed}

    two_days.execute("UPDATE agent_role_sync_days SET fingerprint = NULL")
    assert failed() == set()
    two_days.execute("UPDATE stg_agent_roles SET agent_id = 1 WHERE agent_id = 2")
    assert failed() == {"no_pair_twice", "assigned_pairs_are_the_newest_days"}


def test_a_mapping_without_a_staged_day_has_no_assigned_pair(pipeline: Pipeline) -> None:
    with connect(pipeline.database) as connection:
        assert all(result.passed for result in checks.of_mapping(connection))
        connection.execute("INSERT INTO agent_role_mapping VALUES (1, 10, 'assigned', now(), NULL)")
        failed = [each.check_name for each in checks.of_mapping(connection) if not each.passed]
    assert failed == ["assigned_pairs_are_the_newest_days"]


def test_a_late_day_leaves_the_next_one_sound(
    two_days: Pipeline, check_results: CheckResults
) -> None:
    """The removals that the next day says are others now, and so is their number on record."""
    for agents in ([1, 2, 3, 7, 8], [1]):
        _land(two_days, "day1", [{"id": 10, "agents": agents}], "2026-01-01T06:00:00Z")
        assert two_days.run("day1").success
        with connect(two_days.database) as connection:
            [facts] = rows_of_file(connection, "checks/staging", sync_day="day2")
        assert facts["removed_recorded"] == facts["removed_stored"] == max(len(agents) - 2, 0)


def test_offenders_are_shown_as_a_bounded_sample(
    two_days: Pipeline, check_results: CheckResults, damage_after_staging: Damage
) -> None:
    damage_after_staging(
        two_days,
        "INSERT INTO stg_agent_roles"
        " SELECT n, 10, 'paused', 'day2' FROM generate_series(100, 200) AS n",
    )
    found = check_results(two_days.run("day2"))["status_is_known"]
    assert found.metadata["offenders"].value == 101
    assert len(found.metadata["sample"].records) == 20


def test_each_check_shows_its_own_offenders(
    two_days: Pipeline, check_results: CheckResults, damage_after_staging: Damage
) -> None:
    damage_after_staging(
        two_days,
        """
        INSERT INTO stg_agent_roles (agent_id, role_id, status, sync_day)
        SELECT n, 10, 'paused', 'day2' FROM generate_series(100, 200) AS n
        UNION ALL SELECT n, 10, NULL, 'day2' FROM generate_series(300, 400) AS n
        UNION ALL SELECT NULL, n, 'assigned', 'day2' FROM generate_series(1, 30) AS n
        UNION ALL SELECT 500, NULL, 'assigned', 'day2'
        UNION ALL SELECT 600, 10, 'assigned', 'day2' FROM generate_series(1, 3)
        UNION ALL SELECT 700, 10, status, 'day2' FROM unnest('{assigned,removed}'::TEXT[]) AS status
        """,
    )
    results = check_results(two_days.run("day2"))
    shown = {
        name: [record.data for record in result.metadata["sample"].records]
        for name, result in results.items()
        if "sample" in result.metadata
    }
    assert {name: len(rows) for name, rows in shown.items()} == {
        "agent_id_is_not_null": 20,
        "role_id_is_not_null": 1,
        "status_is_not_null": 20,
        "status_is_known": 20,
        "no_pair_twice": 3,
        "conservation": 1,
    }
    assert {row["agent_id"] for row in shown["agent_id_is_not_null"]} == {""}
    assert {row["role_id"] for row in shown["role_id_is_not_null"]} == {""}
    assert {row["status"] for row in shown["status_is_not_null"]} == {""}
    assert {row["status"] for row in shown["status_is_known"]} == {"paused"}
    assert {row["agent_id"] for row in shown["no_pair_twice"]} == {"600", "700"}


def test_removals_beside_invalid_records_of_the_same_role_are_a_warning(
    two_days: Pipeline, check_results: CheckResults, capfd: pytest.CaptureFixture[str]
) -> None:
    _land(two_days, "day3", [{"id": 10, "agents": [1, "?"]}, *DAY2[1:]], "2026-01-03T06:00:00Z")
    result = two_days.run("day3")
    assert result.success
    assert (
        "WARNING - __ASSET_JOB - " + result.run_id + " - check_stg_agent_roles - day3: the check"
        " no_removals_beside_invalid_records of stg_agent_roles failed (warning). What it expects:"
        " No role lost agents on a day when records of that role were invalid: that may be damage"
        " in the dump, not removals. Found: roles: 1, removals: 1.\n"
    ) in capfd.readouterr().err, "the terminal, too"
    found = check_results(result)["no_removals_beside_invalid_records"]
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert found.metadata["removals"].value == 1


def test_grants_beyond_the_days_before_are_a_warning_by_the_settings_limits(
    two_days: Pipeline, check_results: CheckResults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_ROLES_WARN_MIN_GRANTS", "4")
    monkeypatch.setenv("AGENT_ROLES_WARN_GRANT_SHARE", "1.5")
    for new, passed in ((4, True), (5, False)):
        agents = [1, 2, *range(10, 10 + new)]
        _land(two_days, "day3", [{"id": 10, "agents": agents}, *DAY2[1:]], "2026-01-03T06:00:00Z")
        result = two_days.run("day3")
        assert result.success
        found = check_results(result)["changes_are_usual"]
        assert (found.passed, found.severity) == (passed, dg.AssetCheckSeverity.WARN)
        assert found.metadata["newly assigned"].value == new
    assert found.description == (
        "day3: it newly assigns 5 pairs, where the previous day had 3 assignments (warned from 4"
        " and more than 150% on)."
    )


@pytest.mark.parametrize(
    ("agents", "severity"),
    [
        ([1, 2, 3, 4, 5, 6, 7, 8, 9, None], dg.AssetCheckSeverity.WARN),
        ([1, 2, 3, 4, None], dg.AssetCheckSeverity.WARN),  # a fifth, to the row
        ([1, 2, 3, None], dg.AssetCheckSeverity.ERROR),
    ],
)
def test_invalid_rows_are_a_warning_and_above_a_fifth_an_error_but_valid_rows_go_on(
    pipeline: Pipeline,
    check_results: CheckResults,
    agents: list[Any],
    severity: dg.AssetCheckSeverity,
) -> None:
    _land(pipeline, "day1", [{"id": 10, "agents": agents}], "2026-01-01T06:00:00Z")
    result = pipeline.run("day1")
    assert result.success
    found = check_results(result)["no_invalid_rows"]
    assert (found.passed, found.severity) == (False, severity)
    assert found.metadata["by rule"].records[0].data["broken"] == "agent_id is null"
    assert pipeline.rows("SELECT count(*) FROM agent_role_mapping") == [(len(agents) - 1,)]


def _no_invalid_rows(pipeline: Pipeline, day: str) -> dg.AssetCheckResult:
    """What the check says when it is run alone, as after a held run."""
    with connect(pipeline.database) as connection:
        (result,) = checks.of_errors(connection, day)
    return result


def test_the_share_of_invalid_rows_is_of_the_run_that_they_are_of(pipeline: Pipeline) -> None:
    for day in ("day1", "day2"):
        _land(pipeline, day, [{"id": 10, "agents": list(range(100))}], f"2026-01-0{day[-1]}T06:00Z")
        assert pipeline.run(day).success
    _land(pipeline, "day2", [{"id": 10, "agents": ["x"] * 5}], "2026-01-02T06:00:00Z")
    assert pipeline.outcome(pipeline.run("day2")) == "held"
    found = _no_invalid_rows(pipeline, "day2")
    assert found.metadata["invalid rows"].value == 5
    assert found.metadata["share of raw rows"].value == 1.0
    assert found.severity == dg.AssetCheckSeverity.ERROR


def test_errors_beside_no_known_raw_row_are_not_a_small_share(pipeline: Pipeline) -> None:
    with connect(pipeline.database):
        pass  # creates the schema
    assert _no_invalid_rows(pipeline, "day1").metadata["share of raw rows"].value == 0.0
    pipeline.execute(
        "INSERT INTO agent_role_pipeline_errors (error_message, sync_day) VALUES ('x', 'day1')"
    )
    assert _no_invalid_rows(pipeline, "day1").metadata["share of raw rows"].value == 1.0


@pytest.mark.parametrize(
    ("damage", "caught_by"),
    [
        ("DELETE FROM agent_role_mapping WHERE agent_id = 2", "assigned_pairs_are_the_newest_days"),
        (
            "INSERT INTO agent_role_mapping VALUES (99, 10, 'assigned', now(), NULL)",
            "assigned_pairs_are_the_newest_days",
        ),
        (  # as many pairs as before
            "UPDATE agent_role_mapping SET agent_id = 99 WHERE agent_id = 2",
            "assigned_pairs_are_the_newest_days",
        ),
        (  # the same ids, otherwise paired
            "UPDATE agent_role_mapping SET agent_id = role_id, role_id = agent_id",
            "assigned_pairs_are_the_newest_days",
        ),
        (
            "UPDATE agent_role_mapping SET status = 'removed', removed_at = now()",
            "assigned_pairs_are_the_newest_days",
        ),
        # PostgreSQL's own hash of a BIGINT is the same for both.
        (
            "UPDATE agent_role_mapping SET agent_id = 4294967296 WHERE agent_id = 1",
            "assigned_pairs_are_the_newest_days",
        ),
        ("UPDATE agent_role_mapping SET removed_at = now()", "times_fit_status"),
        ("UPDATE agent_role_mapping SET assigned_at = NULL", "times_fit_status"),
        ("UPDATE agent_role_mapping SET status = NULL", "times_fit_status"),
        ("UPDATE agent_role_sync_days SET observed_at = '2026-01-01 06:00'", "observed_at_rises"),
    ],
)
def test_a_damaged_mapping_fails_its_check(
    two_days: Pipeline, check_results: CheckResults, damage: str, caught_by: str
) -> None:
    two_days.execute(damage)
    result = two_days.run("day2", select="agent_role_mapping")
    assert not check_results(result)[caught_by].passed


@pytest.mark.parametrize("any_day", ["day1", "day2"])
def test_a_mapping_that_somebody_changed_is_mended_as_the_check_and_the_readme_say(
    two_days: Pipeline, check_results: CheckResults, any_day: str
) -> None:
    mapping = "SELECT * FROM agent_role_mapping ORDER BY 1, 2"
    before = two_days.rows(mapping)
    two_days.execute(
        "DELETE FROM agent_role_mapping WHERE agent_id = 1;"
        " UPDATE agent_role_mapping SET removed_at = NULL;"
        " INSERT INTO agent_role_mapping VALUES (99, 10, 'assigned', now(), NULL)"
    )
    damaged = two_days.rows(mapping)
    results = check_results(two_days.run(any_day, select="agent_role_mapping"))
    assert two_days.rows(mapping) == damaged, "running again alone does not mend it"
    recipes = {
        results[name].metadata["to mend it, run this and materialise again"].value
        for name in ("assigned_pairs_are_the_newest_days", "times_fit_status")
    }
    (recipe,) = recipes
    assert f'"{recipe}"' in block("sh", "INSERT INTO agent_role_pending")

    two_days.execute(recipe)
    results = check_results(two_days.run(any_day, select="agent_role_mapping"))
    assert two_days.rows(mapping) == before
    assert all(result.passed for result in results.values())


def test_a_slip_of_times_is_warned_of_on_the_two_days_that_it_is_between(
    pipeline: Pipeline, check_results: CheckResults
) -> None:
    for day, hour in (("day1", 6), ("day2", 8), ("day3", 7), ("day4", 9)):
        _land(pipeline, day, DAY1, f"2026-01-01T{hour:02d}:00:00Z")
        assert pipeline.run(day).success
    warned = []
    for day in ("day1", "day2", "day3", "day4"):
        result = pipeline.run(day, select="agent_role_mapping")
        found = check_results(result)["observed_at_rises"]
        if not found.passed:
            (record,) = found.metadata["sample"].records
            warned.append((day, record.data["previous_day"], record.data["sync_day"]))
    assert warned == [("day2", "day2", "day3"), ("day3", "day2", "day3")]


def test_a_day_staged_but_not_applied_yet_is_no_fault_of_the_mapping(two_days: Pipeline) -> None:
    _land(two_days, "day3", DAY1, "2026-01-03T06:00:00Z")
    staged = two_days.run("day3", select="raw_roles,stg_agent_roles,agent_role_pipeline_errors")
    assert staged.success
    with connect(two_days.database) as connection:
        assert rows_of_file(connection, "checks/mapping_offenders") == []
        connection.execute("SET agent_roles.days_are_followed = 'on'")
        connection.execute("DELETE FROM agent_role_pending")
        assert rows_of_file(connection, "checks/mapping_offenders") != []


def test_the_day_before_of_a_days_errors_is_a_staged_one(pipeline: Pipeline) -> None:
    with connect(pipeline.database) as connection:
        connection.execute(
            """
            INSERT INTO agent_role_sync_days (sync_day, day_no, staged_at, held_at) VALUES
            ('day1', 1, now(), NULL), ('day2', 2, NULL, now()), ('day3', 3, now(), NULL);
            INSERT INTO agent_role_pipeline_errors (error_message, sync_day) VALUES
            ('x', 'day1'), ('x', 'day2'), ('x', 'day2'), ('x', 'day3')
            """
        )
        [found] = rows_of_file(connection, "checks/errors", sync_day="day3")
    assert (found["rows_refused"], found["day_before"]) == (1, 1)
