"""The command line: a day that has landed runs, any other name is refused with what is expected."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from click import UsageError
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
)

from agent_roles_dagster.definitions import defs
from agent_roles_dagster.orchestration.checks import MAY_BE_STAGED
from agent_roles_dagster.orchestration.partitions import SYNC_DAY, sync_day_partitions
from agent_roles_dagster.sync_days import EXPECTED
from tests import CHECKOUT
from tests.conftest import Pipeline
from tests.orchestration.test_reports import statuses

RECORDS = [{"id": 10, "agents": [1, 2, 2, "x"]}, {"id": 11, "agents": []}]


@pytest.fixture
def landing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A landing folder where day1 and day12 have landed."""
    folder = tmp_path / "admin_roles"
    for day in ("day1", "day12"):
        (folder / day).mkdir(parents=True)
        (folder / day / "roles.json").write_text(json.dumps(RECORDS))
    monkeypatch.setenv("AGENT_ROLES_LANDING", str(folder))
    return folder


# What the command line asks


def test_a_landed_day_registers_itself_when_it_is_asked_for(landing: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        for _ in range(2):
            assert sync_day_partitions.has_partition_key("day12", dynamic_partitions_store=instance)
        assert instance.get_dynamic_partitions(SYNC_DAY) == ["day12"]


def test_a_registered_day_is_known_though_its_folder_is_gone(landing: Path) -> None:
    shutil.rmtree(landing / "day1")
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(SYNC_DAY, ["day1"])
        assert sync_day_partitions.has_partition_key("day1", dynamic_partitions_store=instance)


@pytest.mark.parametrize("name", ["day2", "day01", "DAY1", "../day1", "", "day1\n", "2026-02-30"])
def test_any_other_name_is_refused_and_not_registered(landing: Path, name: str) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        with pytest.raises(UsageError) as refused:
            sync_day_partitions.has_partition_key(name, dynamic_partitions_store=instance)
        assert instance.get_dynamic_partitions(SYNC_DAY) == []
    text = str(refused.value)
    assert EXPECTED in text
    assert text.endswith(": day1, day12")


# The command line itself


def materialize(
    sync_day: str,
    folder: Path,
    landing: Path,
    database: str,
    option: str = "--partition",
    select: str = "*",
    module: str = "agent_roles_dagster.definitions",
) -> subprocess.CompletedProcess[str]:
    """Run the design's command in the folder, without a DAGSTER_HOME."""
    env = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
    env |= {
        "AGENT_ROLES_LANDING": str(landing),
        "AGENT_ROLES_DATABASE_URL": database,
        "AGENT_ROLES_HOME": str(folder / "home"),
        "PYTHONPATH": f"{CHECKOUT}:{folder}",
    }
    command = ["asset", "materialize", "-m", module, "--select", select]
    return subprocess.run(
        [sys.executable, "-m", "dagster", *command, *([option, sync_day] if sync_day else [])],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.mark.parametrize("name", ["day01", "day7"])
def test_the_command_refuses_what_has_not_landed_before_anything_is_read(
    tmp_path: Path, landing: Path, database: str, name: str
) -> None:
    (landing / "day1" / "roles.json").write_text("no JSON")
    ended = materialize(name, tmp_path, landing, database)
    assert ended.returncode != 0
    said = " ".join((ended.stdout + ended.stderr).split())
    assert f"{name!r}" in said
    assert EXPECTED in said
    assert ": day1, day12" in said
    assert "Traceback" not in said
    assert "ASSET_MATERIALIZATION" not in said
    with psycopg.connect(database) as connection:
        tables = connection.execute("SELECT relname FROM pg_class WHERE relname LIKE 'agent_role%'")
        assert tables.fetchall() == []


@pytest.mark.parametrize(
    ("day", "select", "sentence"),
    [
        ("", "*", "--partition is missing: the sync day to run. Landed so far under {landing}:"),
        ("day1", "raw_rols", "['raw_rols'] were selected, but no AssetsDefinition objects supply"),
        ("day1", "raw_rols", 'did you mean one of the following? ["raw_roles"]'),
        ("day1", "raw_roles)", "Invalid selection string: raw_roles)"),
    ],
)
def test_the_command_answers_a_wrong_option_with_a_sentence(
    tmp_path: Path, landing: Path, database: str, day: str, select: str, sentence: str
) -> None:
    ended = materialize(day, tmp_path, landing, database, select=select)
    assert ended.returncode == 2
    said = " ".join((ended.stdout + ended.stderr).replace("│", " ").split())
    assert sentence.format(landing=landing) in said
    assert "Traceback" not in said


def test_a_location_that_has_these_definitions_among_others_keeps_its_command(
    tmp_path: Path, landing: Path, database: str
) -> None:
    (tmp_path / "company.py").write_text(
        "import dagster as dg\n"
        "from agent_roles_dagster import definitions as roles\n"
        "@dg.asset\ndef sales() -> None: ...\n"
        "defs = dg.Definitions.merge(roles.defs, dg.Definitions(assets=[sales]))\n"
    )
    ended = materialize("", tmp_path, landing, database, select="sales", module="company")
    assert ended.returncode == 0, ended.stderr[-2000:]


def test_a_job_that_is_run_without_a_day_says_so(pipeline: Pipeline) -> None:
    result = defs.resolve_job_def("load_day").execute_in_process(
        instance=pipeline.instance, raise_on_error=False
    )
    [step] = [event for event in result.all_events if event.is_step_failure]
    assert step.step_failure_data.user_failure_data is not None
    assert step.step_failure_data.user_failure_data.description == (
        "The run is for no day. Nothing was changed in any table. Run it again with the sync day"
        " as its partition."
    )


def test_the_command_runs_a_landed_day_and_says_what_it_came_to(
    tmp_path: Path, landing: Path, database: str
) -> None:
    shutil.copy(CHECKOUT / "dagster.yaml", tmp_path)
    ended = materialize("day12", tmp_path, landing, database)
    said = ended.stdout + ended.stderr
    assert ended.returncode == 0, said[-4000:]
    assert "day12: 4 raw rows = 2 valid pairs + 1 duplicate + 1 invalid; 2 assigned" in said
    assert "day12: mapping: 2 rows changed, 0 deleted" in said
    assert "DEBUG" not in said
    assert len(said.splitlines()) < 60
    with psycopg.connect(database) as connection:
        mapping = connection.execute("SELECT agent_id, role_id, status FROM agent_role_mapping")
        assert sorted(mapping.fetchall()) == [(1, 10, "assigned"), (2, 10, "assigned")]


# A range of days


def test_the_command_refuses_a_range_and_names_the_job_that_loads_it(
    tmp_path: Path, landing: Path, database: str
) -> None:
    ended = materialize("day1...day12", tmp_path, landing, database, option="--partition-range")
    assert ended.returncode != 0
    said = " ".join((ended.stdout + ended.stderr).replace("│", " ").split())
    assert "Run the job load_landed_days with the config from: day1, to: day12" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("selection", [["raw_roles"], ["stg_agent_roles"], ["agent_role_mapping"]])
@pytest.mark.parametrize(("first", "last"), [("day1", "day12"), ("day12", "day1")])
def test_a_run_over_a_range_fails_at_once_and_names_the_job_that_loads_it(
    pipeline: Pipeline, landing: Path, selection: list[str], first: str, last: str
) -> None:
    """As the interface launches it; the second range holds no day, by the order of registration."""
    pipeline.instance.add_dynamic_partitions(SYNC_DAY, ["day1", "day12"])
    keys = {*selection, *(["agent_role_pipeline_errors"] if "stg_agent_roles" in selection else [])}
    result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=pipeline.instance,
        asset_selection=[dg.AssetKey(key) for key in keys],
        tags={ASSET_PARTITION_RANGE_START_TAG: first, ASSET_PARTITION_RANGE_END_TAG: last},
        raise_on_error=False,
    )
    assert not result.success
    [step] = [event for event in result.all_events if event.is_step_failure]
    failure = step.step_failure_data.user_failure_data
    assert failure is not None
    assert f"load_landed_days with the config from: {first}, to: {last}" in failure.description
    assert not result.get_asset_materialization_events()


def test_days_of_a_refused_range_show_no_failed_check(pipeline: Pipeline) -> None:
    for day in ("day1", "day2"):
        pipeline.write(day, {"roles.json": json.dumps([{"id": 10, "agents": [1, 2]}])})
    pipeline.instance.add_dynamic_partitions(SYNC_DAY, ["day1", "day2"])
    assert pipeline.run("day1").success
    result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=pipeline.instance,
        tags={ASSET_PARTITION_RANGE_START_TAG: "day1", ASSET_PARTITION_RANGE_END_TAG: "day2"},
        raise_on_error=False,
    )
    assert not result.success
    for day in ("day1", "day2"):
        assert statuses(pipeline, day).keys() == {"SUCCEEDED"}, day


def test_checks_alone_over_a_range_of_days_are_refused_and_none_shows_as_failed(
    pipeline: Pipeline,
) -> None:
    for day in ("day1", "day2"):
        pipeline.write(day, {"roles.json": json.dumps([{"id": 10, "agents": [1, 2]}])})
        assert pipeline.run(day).success
    of_steps = dg.AssetSelection.all_asset_checks() - dg.AssetSelection.checks(MAY_BE_STAGED.key)
    checks = dg.define_asset_job("checks", of_steps)
    job = dg.Definitions.merge(defs, dg.Definitions(jobs=[checks])).resolve_job_def("checks")
    result = job.execute_in_process(
        instance=pipeline.instance,
        tags={ASSET_PARTITION_RANGE_START_TAG: "day1", ASSET_PARTITION_RANGE_END_TAG: "day2"},
        raise_on_error=False,
    )
    failed = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert len(failed) == 3
    for step in failed:
        assert step.user_failure_data is not None, step.error
        assert "the config from: day1, to: day2" in (step.user_failure_data.description or "")
    for day in ("day1", "day2"):
        assert statuses(pipeline, day).keys() == {"SUCCEEDED"}, day
