"""The definitions: what the web interface shows without any run, and a part that is replaced."""

from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from agent_roles_dagster.definitions import build_defs, defs, watched
from agent_roles_dagster.orchestration.assets import landed_dump
from agent_roles_dagster.orchestration.partitions import SYNC_DAY
from agent_roles_dagster.orchestration.resources import AgentRolesResource
from agent_roles_dagster.settings import Settings
from tests.conftest import Pipeline

MADE = {"raw_roles", "stg_agent_roles", "agent_role_pipeline_errors", "agent_role_mapping"}
NODES = {node.key.to_user_string(): node for node in defs.resolve_asset_graph().asset_nodes}


@pytest.mark.parametrize("name", sorted(MADE))
def test_each_column_is_described_and_each_asset_has_a_code_version(name: str) -> None:
    schema = NODES[name].metadata["dagster/column_schema"]
    assert all(column.description for column in schema.columns)
    assert NODES[name].code_version


@pytest.mark.parametrize("name", sorted(MADE))
def test_each_asset_leads_to_its_code(name: str) -> None:
    links = NODES[name].metadata["dagster/code_references"].code_references
    assert len(links) == 2
    assert all(Path(link.file_path).is_file() for link in links)


def test_each_job_says_what_it_does() -> None:
    named = {job.name: job.description for job in defs.resolve_all_job_defs()}
    for name in ("load_day", "accept_held_day", "take_back_newest_day"):
        assert named[name]


def test_load_day_runs_all_that_a_day_is_made_of() -> None:
    job = defs.resolve_job_def("load_day")
    assert {key.to_user_string() for key in job.asset_layer.selected_asset_keys} == MADE


@pytest.mark.parametrize(
    ("env", "late"),
    [
        ({"AGENT_ROLES_AUTOMATION": "on"}, timedelta(hours=36)),
        (
            {"AGENT_ROLES_AUTOMATION": "on", "AGENT_ROLES_FRESH_HOURS": "0.001"},
            timedelta(minutes=1),
        ),
        ({"AGENT_ROLES_AUTOMATION": "on", "AGENT_ROLES_FRESH_HOURS": "0"}, None),
        ({}, None),
    ],
)
def test_the_landed_dump_is_late_only_where_days_run_by_themselves(
    env: dict[str, str], late: timedelta | None
) -> None:
    policy = watched(landed_dump, Settings.from_env(env)).freshness_policy
    expected = late and dg.FreshnessPolicy.time_window(warn_window=late, fail_window=2 * late)
    assert policy == expected


class FixedSettings(AgentRolesResource):
    """The resource with settings of its own, whatever the environment says."""

    landing: str
    database: str

    def settings(self) -> Settings:
        env = {"AGENT_ROLES_LANDING": self.landing, "AGENT_ROLES_DATABASE_URL": self.database}
        return Settings.from_env(env)


def test_a_part_is_replaced_without_any_environment(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.write("day1", {"roles.json": '[{"id": 10, "agents": [1, 2]}]'})
    for name in ("LANDING", "DATABASE_URL"):
        monkeypatch.delenv(f"AGENT_ROLES_{name}")
    fixed = FixedSettings(landing=str(pipeline.landing), database=pipeline.database)
    replaced = build_defs(fixed.settings(), {"agent_roles": fixed})
    pipeline.instance.add_dynamic_partitions(SYNC_DAY, ["day1"])
    result = replaced.resolve_job_def("load_day").execute_in_process(
        instance=pipeline.instance, partition_key="day1"
    )
    assert result.success
    assert pipeline.rows("SELECT agent_id, role_id FROM agent_role_mapping ORDER BY 1") == [
        (1, 10),
        (2, 10),
    ]
