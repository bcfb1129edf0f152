"""No report is lost, none harms a run, and no check shows as failed that was merely not reached."""

from collections.abc import Callable

import dagster as dg
import pytest

from agent_roles_dagster.definitions import defs
from agent_roles_dagster.orchestration import retries, stale_reports
from agent_roles_dagster.orchestration.partitions import SYNC_DAY
from tests import CHECKOUT
from tests.conftest import Pipeline
from tests.orchestration.test_reports import (
    STAGING,
    land,
    newest_metadata,
    newest_results,
    run_to_take_back,
    statuses,
)
from tests.worlds import tables

TAKE_BACK = CHECKOUT / "sql" / "admin/take_back_newest_day.sql"


@pytest.fixture
def two_days(pipeline: Pipeline) -> Pipeline:
    """Day 2 and day 3 have the agents 0 to 11, so none is removed, and were run."""
    for day in ("day2", "day3"):
        land(pipeline, day, [*range(12)])
        assert pipeline.run(day).success
    return pipeline


def removed(pipeline: Pipeline, day: str) -> int:
    shown = newest_metadata(pipeline, "stg_agent_roles", day)
    assert shown is not None
    return int(shown["removed"])


def test_what_was_run_where_nobody_was_told_is_reported_by_the_next_run_of_any_day(
    two_days: Pipeline,
) -> None:
    """As after a run that was killed before its reports: the tables say what it did."""
    land(two_days, "day1", [*range(13)])
    told = two_days.instance
    with dg.DagsterInstance.ephemeral() as two_days.instance:
        assert two_days.run("day1").success
    two_days.instance = told
    assert removed(two_days, "day2") == 0
    assert two_days.run("day3").success
    assert removed(two_days, "day2") == 1
    result = newest_results(two_days, "day2")["no_removals_beside_invalid_records"].evaluation
    assert result is not None
    mapping = newest_metadata(two_days, "agent_role_mapping", "day2")
    assert mapping is not None
    assert mapping["dagster/partition_row_count"] == 13
    assert newest_metadata(two_days, "stg_agent_roles", "day1") is None, "it was not run here"


def test_where_everything_is_reported_a_run_reports_its_own_day_only(two_days: Pipeline) -> None:
    land(two_days, "day4", [*range(11)])
    for _ in range(2):
        result = two_days.run("day4")
        assert result.success
        reported = [
            event.partition
            for event in result.all_events
            if event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION
        ]
        assert reported == ["day4"] * 4
        assert {each.partition for each in result.get_asset_check_evaluations()} == {"day4"}


def test_a_report_of_another_day_that_fails_does_not_fail_the_run_and_is_made_later(
    two_days: Pipeline, capfd: pytest.CaptureFixture[str]
) -> None:
    two_days.execute("UPDATE agent_role_sync_days SET raw_rows = NULL WHERE sync_day = 'day2'")
    land(two_days, "day1", [*range(13)])
    assert two_days.run("day1").success
    assert "day2: what is shown of it may be out of date (TypeError)" in capfd.readouterr().err
    assert removed(two_days, "day2") == 0
    assert newest_metadata(two_days, "agent_role_mapping", "day1") is not None
    two_days.execute("UPDATE agent_role_sync_days SET raw_rows = 12 WHERE sync_day = 'day2'")
    assert two_days.run("day3").success
    assert removed(two_days, "day2") == 1


def test_a_day_whose_partition_somebody_deleted_harms_no_run(two_days: Pipeline) -> None:
    two_days.instance.delete_dynamic_partition(SYNC_DAY, "day2")
    land(two_days, "day1", [*range(13)])
    assert two_days.run("day1").success


def test_a_day_that_the_run_of_another_day_applied_shows_that(two_days: Pipeline) -> None:
    land(two_days, "day4", [*range(11)])
    assert two_days.run("day4", select=STAGING).success
    assert newest_metadata(two_days, "agent_role_mapping", "day4") is None
    assert two_days.run("day3").success
    shown = newest_metadata(two_days, "agent_role_mapping", "day4")
    assert shown is not None
    assert shown["dagster/partition_row_count"] == 12
    applied = two_days.instance.get_materialized_partitions(dg.AssetKey("agent_role_mapping"))
    assert applied == {"day2", "day3", "day4"}
    assert statuses(two_days, "day4").keys() == {"SUCCEEDED"}


def test_a_check_of_the_whole_mapping_passes_for_each_day_once_it_is_mended(
    two_days: Pipeline,
) -> None:
    check = "assigned_pairs_are_the_newest_days"
    two_days.execute("DELETE FROM agent_role_mapping WHERE agent_id = 1")
    for day in ("day2", "day3"):
        two_days.run(day)
        assert check in statuses(two_days, day)["FAILED"]
    mend = newest_results(two_days, "day2")[check].evaluation
    assert mend is not None
    two_days.execute(str(mend.metadata["to mend it, run this and materialise again"].value))
    assert two_days.run("day3").success
    for day in ("day2", "day3"):
        assert statuses(two_days, day).keys() == {"SUCCEEDED"}


def lose_the_store(pipeline: Pipeline, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("AGENT_ROLES_LANDING", "s3://dumps/admin_roles")
    patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    patch.setenv("AWS_MAX_ATTEMPTS", "1")
    patch.setenv("AWS_ACCESS_KEY_ID", "a-key")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret")


def lose_the_database(pipeline: Pipeline, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("AGENT_ROLES_DATABASE_URL", "postgresql://somebody@127.0.0.1:1/nowhere")


def be_refused_by_the_database(pipeline: Pipeline, patch: pytest.MonkeyPatch) -> None:
    pipeline.execute("DROP TABLE agent_role_pending CASCADE")


def misspell_a_setting(pipeline: Pipeline, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("AGENT_ROLES_KEEP_DAYS", "many")


@pytest.mark.parametrize("day", ["day3", "day4"])
@pytest.mark.parametrize(
    "go_wrong",
    [
        lose_the_store,
        lose_the_database,
        be_refused_by_the_database,
        misspell_a_setting,
    ],
)
def test_a_run_that_ends_early_leaves_no_check_as_failed(
    two_days: Pipeline,
    monkeypatch: pytest.MonkeyPatch,
    go_wrong: Callable[[Pipeline, pytest.MonkeyPatch], None],
    day: str,
) -> None:
    """Of a day that was run before, and of a new one."""
    monkeypatch.setattr(retries, "RETRIES", 1)
    monkeypatch.setattr(retries, "SECONDS", 0.1)
    land(two_days, "day4", [*range(12)])
    two_days.instance.add_dynamic_partitions(SYNC_DAY, [day])
    go_wrong(two_days, monkeypatch)
    assert not two_days.run(day).success
    for shown in (statuses(two_days, day), statuses(two_days, None)):
        assert shown.keys() == {"SUCCEEDED"}


def test_behind_a_blocking_check_that_fails_no_other_shows_as_failed(two_days: Pipeline) -> None:
    break_a_rule = """
        CREATE FUNCTION break_a_rule() RETURNS TRIGGER LANGUAGE plpgsql AS
        $$ BEGIN NEW.status = 'unheard of'; RETURN NEW; END $$;
        CREATE TRIGGER break_a_rule BEFORE INSERT ON stg_agent_roles
        FOR EACH ROW EXECUTE FUNCTION break_a_rule()
    """
    two_days.execute(break_a_rule)
    land(two_days, "day3", [*range(13)])
    assert not two_days.run("day3").success
    assert statuses(two_days, "day3")["FAILED"] == {"status_is_known", "conservation"}
    assert statuses(two_days, "day3").keys() == {"SUCCEEDED", "FAILED"}


def test_a_day_that_breaks_a_rule_is_not_applied_and_no_check_shows_as_failed(
    two_days: Pipeline,
) -> None:
    two_days.execute(
        "INSERT INTO stg_agent_roles (agent_id, role_id, sync_day) VALUES (99, 10, 'day3')"
    )
    result = two_days.run("day3", select="agent_role_mapping")
    assert two_days.outcome(result) == "not applied"
    assert statuses(two_days, "day3").keys() == {"SUCCEEDED"}


def planned(pipeline: Pipeline, day: str) -> dg.DagsterRun:
    """A run that has not done anything yet."""
    job = defs.resolve_implicit_global_asset_job_def()
    return pipeline.instance.create_run_for_job(job, tags={"dagster/partition": day})


def test_what_a_killed_run_left_as_planned_is_made_good_by_the_next_run_of_any_day(
    two_days: Pipeline,
) -> None:
    two_days.instance.add_dynamic_partitions(SYNC_DAY, ["day4"])
    for day in ("day2", "day4"):
        # Its process is gone.
        two_days.instance.report_run_failed(planned(two_days, day))
        assert statuses(two_days, day).keys() == {"PLANNED"}
    assert two_days.run("day3").success
    for day in ("day2", "day4"):
        assert statuses(two_days, day).keys() == {"SUCCEEDED"}


def test_what_a_run_in_progress_has_planned_is_left_to_it(two_days: Pipeline) -> None:
    planned(two_days, "day2")
    assert two_days.run("day3").success
    assert statuses(two_days, "day2").keys() == {"PLANNED"}


def test_the_newest_day_is_taken_back_by_a_job_which_reports_the_days_concerned(
    two_days: Pipeline,
) -> None:
    """Day 4 was read before day 3, which its page says for as long as day 4 is there."""
    before = tables(two_days.database)
    land(two_days, "day4", [*range(11)], read_on="1")
    assert two_days.run("day4").success
    for day in ("day3", "day4"):
        assert statuses(two_days, day)["FAILED"] == {"observed_at_rises"}
    assert run_to_take_back(two_days, "day4").success
    assert tables(two_days.database) == before
    for asset in ("stg_agent_roles", "agent_role_pipeline_errors", "agent_role_mapping"):
        shown = newest_metadata(two_days, asset, "day4")
        assert shown is not None
        assert shown["summary"].startswith("**day4** is not staged any more: it was taken back")
    for day in ("day3", "day4"):
        assert statuses(two_days, day).keys() == {"SUCCEEDED"}


def failure_text(result: dg.ExecuteInProcessResult) -> str:
    [data] = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    return str(data.user_failure_data and data.user_failure_data.description)


def test_another_day_than_the_newest_is_not_taken_back(two_days: Pipeline) -> None:
    before = tables(two_days.database)
    result = run_to_take_back(two_days, "day2")
    assert two_days.outcome(result) == "not taken back"
    assert failure_text(result) == (
        "day2 is not the newest staged day, nothing was changed. That is day3; take back each day"
        " after day2 first."
    )
    assert tables(two_days.database) == before


@pytest.mark.parametrize("are_others", [True, False])
def test_a_day_that_is_not_staged_is_not_taken_back(
    pipeline: Pipeline, request: pytest.FixtureRequest, are_others: bool
) -> None:
    if are_others:
        request.getfixturevalue("two_days")
    result = run_to_take_back(pipeline, "day4")
    assert pipeline.outcome(result) == "not taken back"
    assert failure_text(result) == (
        "day4 is not staged, so it was not taken back, nothing was changed. agent_role_sync_days"
        " has the staged days."
    )


def test_more_reports_than_one_run_makes_are_made_by_the_next_ones_the_nearest_first(
    two_days: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in ("day2", "day3"):
        two_days.instance.report_runless_asset_event(
            dg.AssetMaterialization("stg_agent_roles", partition=day, metadata={"removed": 99})
        )
    monkeypatch.setattr(stale_reports, "_MOST", 1)
    land(two_days, "day4", [*range(12)])
    for expected in ([99, 99], [99, 0], [0, 0]):
        assert [removed(two_days, day) for day in ("day2", "day3")] == expected
        assert two_days.run("day4", select=STAGING).success


def take_back(pipeline: Pipeline, day: str) -> None:
    pipeline.execute(f"SET agent_roles.sync_day = '{day}'; {TAKE_BACK.read_text()}")


def test_a_day_that_was_taken_back_with_psql_shows_that_after_the_next_run(
    two_days: Pipeline,
) -> None:
    land(two_days, "day4", [None, *range(5)])
    assert two_days.run("day4", accept_removals="they left").success
    assert statuses(two_days, "day4")["FAILED"] == {
        "no_invalid_rows",
        "no_removals_beside_invalid_records",
        "changes_are_usual",
    }
    take_back(two_days, "day4")
    for _ in range(2):
        assert two_days.run("day2").success
        for asset in ("stg_agent_roles", "agent_role_pipeline_errors", "agent_role_mapping"):
            assert newest_metadata(two_days, asset, "day4") == {
                "summary": "**day4** is not staged any more: it was taken back, or this is another"
                " database.",
                "dagster/partition_row_count": 0,
            }
        assert statuses(two_days, "day4").keys() == {"SUCCEEDED"}
    assert two_days.run("day4").success
    assert removed(two_days, "day4") == 7


def test_a_day_that_was_taken_back_and_then_held_is_shown_as_not_staged(two_days: Pipeline) -> None:
    take_back(two_days, "day3")
    land(two_days, "day3", [])
    held = two_days.run("day3")
    assert two_days.outcome(held) == "held"
    assert two_days.run("day2").success
    for result in (held, two_days.results[-1]):
        logged = two_days.instance.all_logs(result.run_id)
        assert not [entry for entry in logged if "out of date" in entry.user_message]
    shown = newest_metadata(two_days, "stg_agent_roles", "day3")
    assert shown is not None
    assert "is not staged any more" in shown["summary"]


@pytest.mark.parametrize("day", ["held", "never run"])
def test_the_mappings_checks_can_be_run_for_a_day_that_is_not_staged(
    two_days: Pipeline, day: str
) -> None:
    if day == "held":
        land(two_days, "day4", [])
        assert two_days.outcome(two_days.run("day4")) == "held"
    two_days.instance.add_dynamic_partitions(SYNC_DAY, ["day4"])
    asset = dg.AssetKey("agent_role_mapping")
    keys = {key for key in defs.resolve_asset_graph().asset_check_keys if key.asset_key == asset}
    job = defs.resolve_implicit_global_asset_job_def()
    result = job.get_subset(asset_selection=set(), asset_check_selection=keys).execute_in_process(
        instance=two_days.instance, partition_key="day4"
    )
    assert result.success
    logged = [entry.user_message for entry in two_days.instance.all_logs(result.run_id)]
    assert "day4: not staged; no warnings" in logged


def test_a_report_is_not_out_of_date_because_the_database_writes_times_otherwise(
    two_days: Pipeline,
) -> None:
    name = two_days.rows("SELECT current_database()")[0][0]
    two_days.execute(f"ALTER DATABASE {name} SET datestyle = German")
    result = two_days.run("day3")
    assert result.success
    made = dg.DagsterEventType.ASSET_MATERIALIZATION
    assert {each.partition for each in result.all_events if each.event_type == made} == {"day3"}
