"""What Dagster shows of a day is what the tables say, whatever was run since, and nothing else."""

import json
import os
import random
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationPlanned,
)
from dagster._core.definitions.partitions.subset import DefaultPartitionsSubset
from dagster._core.event_api import PartitionKeyFilter
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecord

from agent_roles_dagster.definitions import defs
from agent_roles_dagster.orchestration.checks.history import was_so_before
from agent_roles_dagster.postgres.connection import connect
from tests.conftest import Pipeline, empty_database

EVERYTHING = {"raw_roles", "stg_agent_roles", "agent_role_pipeline_errors", "agent_role_mapping"}
STAGING = "raw_roles,stg_agent_roles,agent_role_pipeline_errors"
REFUSED = "day_may_be_staged"
HISTORIES = int(os.environ.get("AGENT_ROLES_TEST_SHOWN_HISTORIES", "4"))


def land(pipeline: Pipeline, day: str, agents: list[Any], *, read_on: str | None = None) -> None:
    """A dump of one role, whose source was read on that day of January, or on the day itself."""
    records = [{"id": 10, "agents": agents}]
    moment = {"observed_at": f"2026-01-0{read_on or day[-1]}T06:00:00Z"}
    pipeline.write(day, {"roles.json": json.dumps(records), "_manifest.json": json.dumps(moment)})


def newest_results(pipeline: Pipeline, day: str | None) -> dict[str, AssetCheckExecutionRecord]:
    """Each check's newest result for the day, or as the list of checks has it, for any day."""
    found = pipeline.instance.event_log_storage.get_latest_asset_check_execution_by_key(
        list(defs.resolve_asset_graph().asset_check_keys),
        PartitionKeyFilter(key=day) if day else None,
    )
    return {key.name: record for key, record in found.items()}


def statuses(pipeline: Pipeline, day: str | None) -> dict[str, set[str]]:
    """The checks by the status of their newest result; PLANNED shows as failed in the end."""
    by_status: dict[str, set[str]] = {}
    for name, record in newest_results(pipeline, day).items():
        by_status.setdefault(record.status.value, set()).add(name)
    return by_status


def failing_event(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    (failure,) = [
        event.step_failure_data.user_failure_data
        for event in result.all_events
        if event.event_type == dg.DagsterEventType.STEP_FAILURE
        and event.step_failure_data.user_failure_data
    ]
    return {name: value.value for name, value in failure.metadata.items()}


def hold(pipeline: Pipeline) -> str:
    land(pipeline, "day3", [])
    return "day3"


def cut_short(pipeline: Pipeline) -> str:
    pipeline.write("day3", {"roles.json": '[{"id": 10, "agents": [1'})
    return "day3"


def empty(pipeline: Pipeline) -> str:
    """Which raw_roles sees, without reading."""
    pipeline.write("day3", {"roles.json": ""})
    return "day3"


def nowhere(pipeline: Pipeline) -> str:
    pipeline.instance.add_dynamic_partitions("sync_day", ["day3"])
    return "day3"


def prune(pipeline: Pipeline) -> str:
    pipeline.execute("UPDATE agent_role_sync_days SET pruned_at = now() WHERE sync_day = 'day2'")
    land(pipeline, "day3", [1, 2])
    return "day3"


def take_a_number_twice(pipeline: Pipeline) -> str:
    land(pipeline, "day20260102", [*range(12)])
    assert pipeline.run("day20260102").success
    land(pipeline, "2026-01-02", [*range(12)])
    return "2026-01-02"


@pytest.mark.parametrize(
    ("do", "outcome", "text"),
    [
        (hold, "held", "day3 is held: it has no assignment left, and the previous day had 12."),
        (cut_short, "unreadable", "day3/roles.json: not JSON, or cut short"),
        (empty, "unreadable", "day3/roles.json: the file is empty. Nothing was changed"),
        (nowhere, "unreadable", "'day3' has not landed: there is no such folder"),
        (prune, "pruned", "day3 can't be staged: the snapshot of day2"),
        (take_a_number_twice, "refused", "'2026-01-02' and 'day20260102' have the same number"),
    ],
)
def test_a_refused_day_reddens_one_check_which_says_why(
    pipeline: Pipeline, do: Callable[[Pipeline], str], outcome: str, text: str
) -> None:
    for day in ("day1", "day2"):
        land(pipeline, day, [*range(12)])
        assert pipeline.run(day).success
    day = do(pipeline)
    result = pipeline.run(day)
    assert not result.success
    assert pipeline.outcome(result) == outcome
    for shown in (statuses(pipeline, day), statuses(pipeline, None)):
        assert shown["FAILED"] == {REFUSED}
        assert shown.keys() == {"FAILED", "SUCCEEDED"}, "none is left as planned"
    said = newest_results(pipeline, day)[REFUSED].evaluation
    assert said is not None
    assert (said.description or "").startswith(text)
    assert said.metadata["outcome"].value == outcome
    assert failing_event(result)["outcome"] == outcome
    assert not pipeline.instance.get_materialized_partitions(dg.AssetKey("stg_agent_roles")) & {day}
    if outcome == "held":
        shown = {name: value.value for name, value in said.metadata.items()}
        assert (shown["removals held"], shown["assigned on the previous day"]) == (12, "12")
        assert shown["sample of the removals"].startswith("agent 0, role 10; ")
        assert "accept" in shown["why, and what to do"]


def test_of_a_held_day_the_refused_rows_are_told_by_their_own_check(pipeline: Pipeline) -> None:
    """They are in the errors table, so that check is not as before."""
    land(pipeline, "day1", [*range(12)])
    assert pipeline.run("day1").success
    land(pipeline, "day1", ["x"])
    land(pipeline, "day2", ["x"])
    assert pipeline.outcome(pipeline.run("day2")) == "held"
    assert statuses(pipeline, "day2")["FAILED"] == {REFUSED, "no_invalid_rows"}


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo"])
def test_a_refusal_ends_with_the_day_staged_whatever_zone_dagsters_storage_is_in(
    pipeline: Pipeline, server: str, tmp_path: Path, zone: str
) -> None:
    with empty_database(server) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                f"ALTER ROLE CURRENT_USER IN DATABASE {connection.info.dbname}"
                f" SET timezone = '{zone}'".encode()
            )
        (tmp_path / "dagster.yaml").write_text(
            f"storage: {{postgres: {{postgres_url: '{url}'}}}}\n"
        )
        with dg.DagsterInstance.from_config(str(tmp_path)) as pipeline.instance:
            for day in ("day1", "day2"):
                land(pipeline, day, [*range(12)])
                assert pipeline.run(day).success
            pipeline.execute(
                "UPDATE agent_role_sync_days SET pruned_at = now() WHERE sync_day = 'day1'"
            )
            land(pipeline, "day2", [*range(11)])
            assert pipeline.outcome(pipeline.run("day2")) == "pruned"
            # Another run tells of it again, and stays with it.
            pipeline.execute("UPDATE agent_role_sync_days SET pruned_at = NULL")
            land(pipeline, "day1", [*range(13)])
            assert pipeline.run("day1").success
            assert REFUSED in statuses(pipeline, "day2")["FAILED"]
            assert pipeline.failed_days("stg_agent_roles") == {"day2"}
            # It was staged since, by a run that could not say so.
            with dg.DagsterInstance.ephemeral() as elsewhere:
                assert replace(pipeline, instance=elsewhere).run("day2").success
            land(pipeline, "day1", [*range(12)])
            assert pipeline.run("day1").success
            assert "FAILED" not in statuses(pipeline, "day2")


def test_a_check_that_a_killed_run_only_planned_makes_the_same_result_no_news(
    pipeline: Pipeline,
) -> None:
    land(pipeline, "day1", [1, "x"])
    assert pipeline.run("day1").success
    known = newest_results(pipeline, "day1")["no_invalid_rows"]
    assert isinstance(known.evaluation, dg.AssetCheckEvaluation)
    killed = pipeline.instance.create_run_for_job(defs.resolve_job_def("load_day"))
    planned = AssetCheckEvaluationPlanned(
        asset_key=known.evaluation.asset_key,
        check_name="no_invalid_rows",
        partitions_subset=DefaultPartitionsSubset({"day1"}),
    )
    pipeline.instance.report_dagster_event(
        dg.DagsterEvent(
            event_type_value=dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED.value,
            job_name=killed.job_name,
            event_specific_data=planned,
        ),
        killed.run_id,
    )
    assert statuses(pipeline, "day1")["PLANNED"] == {"no_invalid_rows"}
    again = pipeline.run("day1")
    assert was_so_before(pipeline.instance, again.run_id, known.evaluation)
    assert not was_so_before(pipeline.instance, known.run_id, known.evaluation)


def test_a_held_day_reddens_no_asset_that_its_run_was_not_to_make(pipeline: Pipeline) -> None:
    for day in ("day1", "day2"):
        land(pipeline, day, [*range(12)])
        assert pipeline.run(day).success
    land(pipeline, "day2", ["x"])
    assert pipeline.outcome(pipeline.run("day2", select=STAGING)) == "held"
    assert pipeline.failed_days("stg_agent_roles") == {"day2"}
    assert pipeline.failed_days("agent_role_pipeline_errors") == {"day2"}
    assert pipeline.failed_days("agent_role_mapping") == set()


def test_a_day_that_was_refused_and_then_staged_is_all_green(pipeline: Pipeline) -> None:
    land(pipeline, "day1", [*range(12)])
    assert pipeline.run("day1").success
    land(pipeline, "day2", [])
    assert pipeline.outcome(pipeline.run("day2")) == "held"
    land(pipeline, "day2", [1, *range(3, 14)])
    assert pipeline.run("day2").success
    assert statuses(pipeline, "day2").keys() == {"SUCCEEDED"}
    said = newest_results(pipeline, "day2")[REFUSED].evaluation
    assert said is not None
    assert {name: value.value for name, value in said.metadata.items()} == {
        "outcome": "staged",
        "previous day": "day1",
        "assigned on the previous day": 12,
        "assigned": 12,
        "removed": 2,
    }


def test_an_unreadable_day_is_on_record_and_changes_nothing_else(pipeline: Pipeline) -> None:
    land(pipeline, "day1", [*range(12), None])
    assert pipeline.run("day1").success
    tables = [
        "SELECT * FROM stg_agent_roles",
        "SELECT * FROM agent_role_pipeline_errors",
        "SELECT * FROM agent_role_mapping",
        "SELECT * FROM agent_role_changes",
        "SELECT sync_day, digest, staged_at, error_rows, applied_at FROM agent_role_sync_days"
        " WHERE staged_at IS NOT NULL",
    ]
    before = [sorted(pipeline.rows(query), key=repr) for query in tables]
    record = (
        "SELECT unreadable_by, unreadable_reason, unreadable_at IS NOT NULL, staged_at IS NOT NULL"
        " FROM agent_role_sync_days WHERE sync_day = %s"
    )
    for day in ("day1", "day2"):
        reasons = {"": "the file is empty", '[{"id": 10, "agents": [1': "not JSON, or cut short"}
        for content, reason in reasons.items():
            pipeline.write(day, {"roles.json": content})
            result = pipeline.run(day)
            assert pipeline.outcome(result) == "unreadable"
            [(run, why, has_time, is_staged)] = pipeline.rows(record, day)
            assert (run, has_time, is_staged) == (result.run_id, True, day == "day1")
            assert why.startswith(f"{day}/roles.json: {reason}")
    assert [sorted(pipeline.rows(query), key=repr) for query in tables] == before


def test_of_two_names_of_one_number_an_unreadable_one_gives_way(pipeline: Pipeline) -> None:
    names = "SELECT sync_day FROM agent_role_sync_days"
    for day in ("2026-01-02", "day20260102"):
        pipeline.write(day, {"roles.json": ""})
        assert pipeline.outcome(pipeline.run(day)) == "unreadable"
        assert pipeline.rows(names) == [(day,)]
    land(pipeline, "2026-01-02", [1])
    assert pipeline.run("2026-01-02").success
    assert pipeline.outcome(pipeline.run("day20260102")) == "unreadable"
    assert pipeline.rows(names) == [("2026-01-02",)]


def test_that_the_database_is_gone_does_not_hide_that_a_day_is_unreadable(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_ROLES_DATABASE_URL", "postgresql://somebody@127.0.0.1:1/x")
    pipeline.write("day1", {"roles.json": ""})
    assert pipeline.outcome(pipeline.run("day1")) == "unreadable"


def run_to_accept(pipeline: Pipeline, day: str, /, **accept: str) -> dg.ExecuteInProcessResult:
    """Run the job for the day as the launchpad does, with what somebody filled in there."""
    job = defs.resolve_job_def("accept_held_day")
    assert job.partitioned_config is not None
    config: Any = job.partitioned_config.get_run_config_for_partition_key(day)
    to_fill_in = config["ops"]["stage_agent_roles"]["config"]["accept"]
    assert to_fill_in == {"day": day, "reason": "", "approver": ""}
    pipeline.instance.add_dynamic_partitions("sync_day", [day])
    return job.execute_in_process(
        instance=pipeline.instance,
        partition_key=day,
        run_config={"ops": {"stage_agent_roles": {"config": {"accept": {**to_fill_in, **accept}}}}},
        raise_on_error=False,
    )


def test_a_day_whose_snapshot_was_pruned_shows_that(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_ROLES_KEEP_DAYS", "1")
    for day in ("day1", "day2", "day3"):
        land(pipeline, day, [*range(12)])
        assert pipeline.run(day).success
    assert pipeline.rows("SELECT DISTINCT sync_day FROM stg_agent_roles ORDER BY 1") == [
        ("day2",),
        ("day3",),
    ]
    for day, rows in (("day1", 0), ("day2", 12)):
        shown = newest_metadata(pipeline, "stg_agent_roles", day)
        assert shown is not None
        assert ("snapshot pruned at" in shown) == (rows == 0)
        assert (shown["dagster/partition_row_count"], shown["assigned"]) == (rows, 12)
        assert statuses(pipeline, day).keys() == {"SUCCEEDED"}
    said = newest_results(pipeline, "day1")["no_pair_twice"].evaluation
    assert said is not None
    assert said.description == "There is nothing to check: the snapshot of day1 was pruned."


ACCEPTED = (
    "SELECT accepted_reason, accepted_by, accepted_run, accepted_what FROM agent_role_sync_days"
    " WHERE sync_day = 'day2'"
)
WHAT = "it has no assignment left, and the previous day had 12"


@pytest.fixture
def held(pipeline: Pipeline) -> Pipeline:
    land(pipeline, "day1", [*range(12)])
    assert pipeline.run("day1").success
    land(pipeline, "day2", ["x"])
    assert pipeline.outcome(pipeline.run("day2")) == "held"
    return pipeline


def test_a_held_day_is_accepted_with_a_reason_and_an_approver_which_are_shown(
    held: Pipeline,
) -> None:
    result = run_to_accept(held, "day2", reason=" closed, see 4711 ", approver="A. Turing")
    assert result.success
    evidence = ("closed, see 4711", "A. Turing", result.run_id, WHAT)
    assert held.rows(ACCEPTED) == [evidence]
    shown = newest_metadata(held, "stg_agent_roles", "day2")
    assert shown is not None
    assert shown["accepted"] == (
        "| Accepted |  |\n| --- | --- |\n"
        "| Reason | `closed, see 4711` |\n"
        f"| Approver | `A. Turing` |\n| Run | `{result.run_id}` |\n| What was accepted |"
        f" `{WHAT}` |"
    )
    judged = newest_results(held, "day2")[REFUSED].evaluation
    assert judged is not None
    assert judged.metadata["accepted"].value == shown["accepted"]

    # As the docs tell reviewers to ask: with what was removed, and of all days.
    removals = held.rows(
        "SELECT count(*), accepted_reason, accepted_by FROM agent_role_history"
        " INNER JOIN agent_role_sync_days ON removed_on = sync_day GROUP BY 2, 3"
    )
    assert removals == [(12, "closed, see 4711", "A. Turing")]

    # The same again is no other acceptance; another reason is.
    assert run_to_accept(held, "day2", reason="closed, see 4711", approver="A. Turing").success
    assert held.rows(ACCEPTED) == [evidence]
    again = run_to_accept(held, "day2", reason="closed", approver="A. Turing")
    assert held.rows(ACCEPTED) == [("closed", "A. Turing", again.run_id, WHAT)]

    # A dump that needs no acceptance has none.
    land(held, "day2", [*range(11)])
    assert held.run("day2").success
    assert held.rows(ACCEPTED) == [(None, None, None, None)]
    shown = newest_metadata(held, "stg_agent_roles", "day2")
    assert shown is not None
    assert "accepted" not in shown


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"approver": "A. Turing"}, "the reason is empty"),
        ({"reason": "closed", "approver": " "}, "the approver is empty"),
        ({}, "the reason is empty and the approver is empty"),
        (
            {"reason": "closed", "approver": "A. Turing", "day": "day1"},
            "it is of 'day1', and the run's partition is 'day2'",
        ),
    ],
)
def test_an_acceptance_that_lacks_something_is_none(
    held: Pipeline, given: dict[str, str], why: str
) -> None:
    result = run_to_accept(held, "day2", **given)
    failures = [
        event.step_failure_data.user_failure_data
        for event in result.all_events
        if event.event_type == dg.DagsterEventType.STEP_FAILURE
    ]
    assert [failure.description for failure in failures if failure] == [
        f"day2 is not accepted: {why}. Nothing was changed in any table. Run the job"
        " accept_held_day again with the day, the reason and the approver."
    ]
    assert held.rows(ACCEPTED) == [(None, None, None, None)]
    assert newest_metadata(held, "stg_agent_roles", "day2") is None


def test_what_the_launchpad_asks_for_is_required_and_described() -> None:
    job = defs.resolve_job_def("accept_held_day")
    fields = job.get_node_named("stage_agent_roles").definition.config_schema.config_type.fields  # type: ignore[union-attr]
    asked = fields["accept"].config_type.inner_type.fields
    assert {name: field.is_required for name, field in asked.items()} == {
        "day": True,
        "reason": True,
        "approver": True,
    }
    assert all(field.description for field in asked.values())


# The order in which the interface lists metadata is not looked at: it may differ.
METADATA = """
    SELECT
        day.sync_day,
        day.assigned,
        day.removed,
        (
            SELECT count(*) FROM agent_role_changes AS change
            WHERE change.day_no = day.day_no AND change.change = 'assigned'
        ),
        (
            SELECT count(*) FROM stg_agent_roles AS staged
            WHERE staged.sync_day = day.sync_day
        ),
        coalesce(
            (
                SELECT earlier.sync_day FROM agent_role_sync_days AS earlier
                WHERE earlier.day_no < day.day_no AND earlier.staged_at IS NOT NULL
                ORDER BY earlier.day_no DESC LIMIT 1
            ), 'none'
        ),
        day.raw_rows,
        day.invalid_rows,
        (
            SELECT count(*) FROM agent_role_pipeline_errors AS refused
            WHERE refused.sync_day = day.sync_day
        ),
        day.observed_at
    FROM agent_role_sync_days AS day WHERE day.staged_at IS NOT NULL
    ORDER BY day.day_no
"""
CHANGED_PAIRS = """
    SELECT change, agent_id, role_id FROM agent_role_changes
    INNER JOIN agent_role_sync_days USING (day_no) WHERE sync_day = %s
    ORDER BY change DESC, role_id, agent_id
"""
SUSPECTS = """
    SELECT count(*) FROM agent_role_changes AS change
    WHERE
        change.change = 'removed'
        AND change.day_no = (
            SELECT day_no FROM agent_role_sync_days WHERE sync_day = %(day)s
        )
        AND change.role_id IN (
            SELECT role_id FROM agent_role_pipeline_errors WHERE sync_day = %(day)s
        )
"""


def newest_metadata(pipeline: Pipeline, asset: str, day: str) -> dict[str, Any] | None:
    records = pipeline.instance.fetch_materializations(
        dg.AssetRecordsFilter(dg.AssetKey(asset), asset_partitions=[day]), limit=1
    ).records
    if not records or not (event := records[0].asset_materialization):
        return None
    return {name: value.value for name, value in event.metadata.items()}


def assert_shown_is_what_the_tables_say(pipeline: Pipeline, refused: set[str]) -> None:
    """Of every day that is staged; asked by queries of the test's own."""
    for entry in pipeline.instance.all_logs(pipeline.results[-1].run_id):
        # A report that fails does not end its run.
        assert not entry.user_message.endswith("Error)"), entry.user_message
    known = pipeline.rows(METADATA)
    times = [(day, observed) for day, *_, observed in known]
    slips = {
        name
        for (one, early), (two, late) in pairwise(times)
        if late <= early
        for name in (one, two)
    }
    waiting = "SELECT FROM agent_role_sync_days WHERE staged_at IS NOT NULL AND applied_at IS NULL"
    is_all_applied = not pipeline.rows(waiting)
    assigned_on = {"none": 0} | {day: assigned for day, assigned, *_ in known}
    run_here = pipeline.instance.get_materialized_partitions(dg.AssetKey("raw_roles"))
    for day, assigned, removed, newly, rows, before, raw, invalid, errors, observed in known:
        if day not in run_here:
            continue
        shown = newest_metadata(pipeline, "stg_agent_roles", day)
        assert shown is not None
        names = ("assigned", "removed", "newly assigned", "dagster/partition_row_count")
        names += ("previous day", "invalid rows", "observed at")
        expected = [
            assigned,
            removed,
            newly,
            rows,
            before,
            invalid,
            f"{observed:%Y-%m-%d %H:%M:%S} UTC",
        ]
        assert [shown[name] for name in names] == expected, day
        versus = f" since {before}." if before != "none" else "; no day before it is staged."
        assert shown["summary"].startswith(
            f"**{day}**: {newly} newly assigned, {removed} removed{versus}"
            f" {invalid} of {raw} raw rows are invalid."
        )
        assert f"| {raw} |" in shown["what was read"]
        changed = [
            f"| {change} | {agent} | {role} |"
            for change, agent, role in pipeline.rows(CHANGED_PAIRS, day)
        ]
        listed = shown.get("changed pairs", "").splitlines()[4:]
        assert listed == (changed if before != "none" else []), day
        waits = pipeline.rows(f"{waiting} AND sync_day = %s", day)
        assert ("preview" in shown) == bool(waits), day
        of_errors = newest_metadata(pipeline, "agent_role_pipeline_errors", day)
        assert of_errors is not None
        assert of_errors["invalid rows"] == errors, day
        [(suspects,)] = pipeline.rows(SUSPECTS.replace("%(day)s", f"'{day}'"))
        assert ("may be damage" in of_errors["summary"]) == bool(suspects), day
        of_mapping = newest_metadata(pipeline, "agent_role_mapping", day)
        if of_mapping and is_all_applied:
            assert of_mapping["dagster/partition_row_count"] == assigned + removed, day

        results = {
            name: {key: value.value for key, value in record.evaluation.metadata.items()}
            for name, record in newest_results(pipeline, day).items()
            if record.evaluation
        }
        failed = statuses(pipeline, day).get("FAILED", set())
        assert failed == {
            *({REFUSED} if day in refused else ()),
            *({"no_invalid_rows"} if errors else ()),
            *({"no_removals_beside_invalid_records"} if suspects else ()),
            *({"changes_are_usual"} if removed * 2 > assigned_on[before] else ()),
            *({"observed_at_rises"} if "observed_at_rises" in results and day in slips else ()),
        }, day
        assert results["no_invalid_rows"]["invalid rows"] == errors
        assert results["no_removals_beside_invalid_records"]["removals"] == suspects
        conserved = results["conservation"]
        assert conserved["removed pairs recorded = staged"] == f"{removed} = {removed}"
        if day not in refused:
            judged = results[REFUSED]
            assert (judged["previous day"], judged["removed"]) == (before, removed)
    for asset in ("stg_agent_roles", "agent_role_pipeline_errors"):
        assert pipeline.failed_days(asset) == refused, asset
    for day in pipeline.instance.get_materialized_partitions(dg.AssetKey("stg_agent_roles")):
        if day not in assigned_on:
            shown = newest_metadata(pipeline, "stg_agent_roles", day)
            assert shown is not None
            assert shown["summary"].startswith(f"**{day}** is not staged any more")
            errors = pipeline.rows(
                "SELECT FROM agent_role_pipeline_errors WHERE sync_day = %s", day
            )
            assert statuses(pipeline, day).get("FAILED", set()) == {
                *({REFUSED} if day in refused else ()),
                *({"no_invalid_rows"} if errors else ()),
            }


def run_to_take_back(pipeline: Pipeline, day: str) -> dg.ExecuteInProcessResult:
    """Run the job as the launchpad does."""
    return defs.resolve_job_def("take_back_newest_day").execute_in_process(
        instance=pipeline.instance,
        run_config={"ops": {"take_back": {"config": {"day": day}}}},
        raise_on_error=False,
    )


def newest_staged(pipeline: Pipeline) -> str | None:
    days = pipeline.rows(
        "SELECT sync_day FROM agent_role_sync_days WHERE staged_at IS NOT NULL"
        " ORDER BY day_no DESC LIMIT 1"
    )
    return days[0][0] if days else None


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(HISTORIES))
def test_after_any_history_each_day_shows_what_the_tables_say(
    pipeline: Pipeline, seed: int
) -> None:
    """Days come late, are corrected, held, accepted, unreadable, staged without being applied.

    They are taken back, and run where nobody is told, as by a run that was killed after its work.
    """
    chance = random.Random(seed)
    days = ["day1", "day2", "day3", "day4"]
    refused: set[str] = set()
    told = pipeline.instance
    is_told = True
    untold: set[str] = set()
    with connect(pipeline.database):
        pass  # creates the schema
    for _ in range(14):
        newest = newest_staged(pipeline)
        if newest and chance.random() < 0.15:
            assert run_to_take_back(pipeline, newest).success
            is_told = True
            assert_shown_is_what_the_tables_say(pipeline, refused)
            continue
        day = chance.choice(days)
        agents: list[Any] = chance.sample(range(14), chance.choice([0, 3, 11, 12]))
        agents += [None] * chance.choice([0, 0, 1, 2])
        land(pipeline, day, agents, read_on=chance.choice([None, None, None, "1", "4"]))
        if chance.random() < 0.15:
            pipeline.write(day, {"roles.json": "["})
        accepts = "they left" if chance.random() < 0.5 else None
        select = "*" if chance.random() < 0.8 else STAGING
        if chance.random() < 0.1:
            with dg.DagsterInstance.ephemeral() as pipeline.instance:
                outcome = pipeline.outcome(
                    pipeline.run(day, accept_removals=accepts, select=select)
                )
            pipeline.instance, is_told = told, False
            # The record says that it was staged since it was refused.
            refused -= {day} if outcome == "staged" else set()
            untold.add(day)
            continue
        outcome = pipeline.outcome(pipeline.run(day, accept_removals=accepts, select=select))
        assert outcome in ("staged", "held", "unreadable")
        refused = refused - {day} if outcome == "staged" else refused | {day}
        if outcome == "unreadable":
            # It makes nothing good, and from now on the day counts as run here.
            is_told = is_told and day not in untold
        else:
            is_told = True
            untold.discard(day)
        if outcome == "staged" and select == "*":
            assert day not in pipeline.failed_days("agent_role_mapping")
        if is_told:
            assert_shown_is_what_the_tables_say(pipeline, refused)
