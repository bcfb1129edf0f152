"""What a materialisation tells the person who reads it in the web interface."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import yaml

from tests.conftest import Pipeline
from tests.docs import block

STAGING = "raw_roles,stg_agent_roles,agent_role_pipeline_errors"


def land(pipeline: Pipeline, day: str, *roles: tuple[int, list[Any]]) -> None:
    records = [{"id": role, "agents": agents} for role, agents in roles]
    moment = {"observed_at": f"2026-01-0{day[-1]}T06:00:00Z"}
    pipeline.write(day, {"roles.json": json.dumps(records), "_manifest.json": json.dumps(moment)})


def told(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    """Metadata of the run's materialisation of the asset for its own day, by name."""
    (found,) = [
        event.step_materialization_data.materialization
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey(asset)
        and event.partition == result.dagster_run.tags["dagster/partition"]
    ]
    return values(found.metadata)


def values(metadata: Mapping[str, dg.MetadataValue[Any]]) -> dict[str, Any]:
    return {name: value.value for name, value in metadata.items()}


def test_a_day_that_is_only_staged_shows_what_applying_it_would_change(pipeline: Pipeline) -> None:
    land(pipeline, "day1", (10, [1, 2, 3]), (20, [4]))
    day1 = pipeline.run("day1")
    assert "preview" not in told(day1, "stg_agent_roles"), "the same run says what it changed"
    land(pipeline, "day2", (10, [2, 3, 5]), (20, [4]))
    assert pipeline.run("day2").success
    before = pipeline.rows("SELECT * FROM agent_role_mapping ORDER BY role_id, agent_id")

    # Agents 3 and 4 begin with day2 now, 6 was there and left.
    land(pipeline, "day1", (10, [1, 2, 6]))
    corrected = told(pipeline.run("day1", select=STAGING), "stg_agent_roles")
    land(pipeline, "day3", (10, [1, 2, 3, 7]), (20, [4]))
    preview = told(pipeline.run("day3", select=STAGING), "stg_agent_roles")["preview"]
    assert pipeline.rows("SELECT * FROM agent_role_mapping ORDER BY role_id, agent_id") == before

    assert corrected["preview"] == (
        "Applying would change 3 rows of agent_role_mapping.\n\nFrom what to what:\n\n"
        "| Now | Then | Pairs | Such as |\n| --- | --- | --- | --- |\n"
        "| assigned | assigned, at another time | 2 | agent 3, role 10; agent 4, role 20 |\n"
        "| not there | removed | 1 | agent 6, role 10 |"
    )
    assert preview.splitlines()[0] == "Applying would change 6 rows of agent_role_mapping."
    assert set(preview.splitlines()[6:]) == {
        "| assigned | assigned, at another time | 2 | agent 3, role 10; agent 4, role 20 |",
        "| assigned | removed | 1 | agent 5, role 10 |",
        "| not there | assigned | 1 | agent 7, role 10 |",
        "| not there | removed | 1 | agent 6, role 10 |",
        "| removed | assigned | 1 | agent 1, role 10 |",
    }
    applied = told(pipeline.run("day3", select="agent_role_mapping"), "agent_role_mapping")
    assert applied["rows changed"] + applied["rows deleted"] == 6

    land(pipeline, "day3", (10, [1, 2, 3]), (20, [4]))
    preview = told(pipeline.run("day3", select=STAGING), "stg_agent_roles")["preview"]
    assert preview.splitlines()[6:] == ["| assigned | not there | 1 | agent 7, role 10 |"]
    again = pipeline.run("day2", select=STAGING)
    assert "preview" not in told(again, "stg_agent_roles"), "of that day, nothing waits"


def test_a_held_day_shows_in_the_plots_of_its_asset(pipeline: Pipeline) -> None:
    land(pipeline, "day1", (10, [*range(12)]))
    assert pipeline.run("day1").success
    land(pipeline, "day2", (10, ["?"]))
    assert pipeline.outcome(pipeline.run("day2")) == "held"
    asset = dg.AssetKey("stg_agent_roles")
    (staged,) = pipeline.instance.fetch_materializations(asset, limit=9).records
    (held,) = pipeline.instance.fetch_observations(asset, limit=9).records
    shown = {}
    for record in (staged, held):
        event = record.asset_materialization or record.event_log_entry.asset_observation
        assert event is not None
        shown[event.partition] = values(event.metadata)
    names = "assigned", "newly assigned", "removed", "invalid rows", "removals held"
    assert {day: [found.get(name) for name in names] for day, found in shown.items()} == {
        "day1": [12, 12, 0, 0, 0],
        "day2": [None, None, None, 1, 12],
    }
    assert shown["day2"]["why, and what to do"].startswith(
        "day2 is held: it has no assignment left"
    )


def test_the_summary_is_bounded_and_says_which_errors_are_new(pipeline: Pipeline) -> None:
    land(pipeline, "day1", *((role, [1, 2, None]) for role in range(1000, 1013)))
    result = pipeline.run("day1")
    assert told(result, "agent_role_pipeline_errors")["summary"] == (
        "**day1**: 13 of 39 raw rows are invalid.\n\n"
        "The rules that were broken, and how often:\n\n"
        "| Why invalid | Rows |\n| --- | --- |\n| agent_id is null | 13 |"
    )
    assert told(result, "stg_agent_roles")["summary"] == (
        "**day1**: 26 newly assigned, 0 removed; no day before it is staged."
        " 13 of 39 raw rows are invalid.\n\n"
        "The roles that it changed most:\n\n"
        "| Role | Newly assigned | Removed |\n| --- | --- | --- |\n"
        + "".join(f"| {role} | 2 | 0 |\n" for role in range(1000, 1010))
        + "\nand 3 more."
    )
    land(pipeline, "day2", (1000, [1, None, "x"]), *((n, [1, 2, 3, 4]) for n in range(1001, 1013)))
    result = pipeline.run("day2")
    told_now = told(result, "stg_agent_roles")
    assert told_now["summary"].startswith(
        "**day2**: 24 newly assigned, 1 removed since day1. 2 of 51 raw rows are invalid.\n\n"
        "The roles that it changed most:\n\n"
        "| Role | Newly assigned | Removed |\n| --- | --- | --- |\n"
        "| 1001 | 2 | 0 |\n"
    )
    assert told(result, "agent_role_pipeline_errors")["summary"] == (
        "**day2**: 2 of 51 raw rows are invalid.\n\n"
        "Removals beside invalid rows of the same role, which may be damage:\n\n"
        "| Role | Removed | Such as agent | Invalid rows |\n| --- | --- | --- | --- |\n"
        "| 1000 | 1 | 2 | 2 |\n\n"
        "The rules that were broken, and how often:\n\n"
        "| Why invalid | Rows | On day1 |\n| --- | --- | --- |\n"
        "| agent_id is null | 1 | 13 |\n"
        "| agent_id is text that is no integer | 1 | none: new |"
    )
    for shown in (
        told_now["changes in SQL"],
        told_now["rows in SQL"],
        told(result, "agent_role_pipeline_errors")["rows in SQL"],
        told(result, "agent_role_mapping")["changed rows in SQL"],
    ):
        query = shown.removeprefix("```sql\n").removesuffix(";\n```")
        assert pipeline.rows(query)


def test_which_errors_are_new_is_told_against_the_staged_day_before(pipeline: Pipeline) -> None:
    land(pipeline, "day1", (10, [*range(12), None]))
    assert pipeline.run("day1").success
    land(pipeline, "day2", (10, ["x", None, None]))
    assert pipeline.outcome(pipeline.run("day2")) == "held"
    land(pipeline, "day3", (10, [*range(12), "x", None]))
    summary = told(pipeline.run("day3"), "agent_role_pipeline_errors")["summary"]
    assert (
        "| Why invalid | Rows | On day1 |\n| --- | --- | --- |\n"
        "| agent_id is null | 1 | 1 |\n"
        "| agent_id is text that is no integer | 1 | none: new |" in summary
    )


def test_a_materialisation_says_what_its_seconds_went_into(pipeline: Pipeline) -> None:
    land(pipeline, "day1", (10, [1]))
    spent = told(pipeline.run("day1"), "stg_agent_roles")["time spent"]
    phases = re.fullmatch(
        r"waiting ([0-9.]+) s, starting the engine ([0-9.]+) s,"
        r" reading and loading ([0-9.]+) s, publishing ([0-9.]+) s",
        spent,
    )
    assert phases, spent
    assert float(phases[3]) > 0


def test_a_days_log_records_have_its_counts_as_fields(pipeline: Pipeline, tmp_path: Path) -> None:
    land(pipeline, "day1", (10, [1, 1, 2, None]))
    land(pipeline, "day2", (10, [1, 3]))
    file = tmp_path / "agent_roles.json"
    told_of = block("yaml", "python_logs").replace("/var/log/agent_roles.json", str(file))
    settings = yaml.safe_load(told_of)
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides=settings) as instance:
        for day in ("day1", "day2"):
            instance.add_dynamic_partitions("sync_day", [day])
            assert replace(pipeline, instance=instance).run(day).success
    records = [json.loads(line) for line in file.read_text().splitlines()]
    read, staged, applied = [record for record in records if record.get("sync_day") == "day2"]
    assert (read["files"], read["bytes"]) == (1, len('[{"id": 10, "agents": [1, 3]}]'))
    assert staged["seconds"].keys() >= {"waiting", "publishing"}
    names = ("previous_day", "raw_rows", "valid_pairs", "duplicates", "invalid_rows")
    names += ("assigned", "newly_assigned", "removed")
    assert [staged[name] for name in names] == ["day1", 2, 2, 0, 0, 2, 1, 1]
    assert (applied["rows_changed"], applied["rows_deleted"]) == (2, 0)
