"""Every story in `tests/cases` through the real job: at the end, the tables are the case's."""

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Pipeline

CASES = sorted((Path(__file__).parent / "cases").glob("*/case.json"))


def test_the_cases_are_all_here() -> None:
    assert len(CASES) == 19


@pytest.mark.parametrize("case_file", CASES, ids=lambda path: path.parent.name)
def test_a_case_ends_with_its_tables(case_file: Path, pipeline: Pipeline) -> None:
    case = json.loads(case_file.read_text())
    for step in case["steps"]:
        pipeline.land(case_file.parent / step["land"], step["sync_day"])
        accepted = "the case accepts them" if step["accept_removals"] else None
        result = pipeline.run(step["sync_day"], accept_removals=accepted)
        assert pipeline.outcome(result) == step["outcome"], step
    assert_tables(pipeline, case)


def assert_tables(pipeline: Pipeline, case: dict[str, Any]) -> None:
    """The four tables are exactly those of the case."""
    staged = pipeline.rows("SELECT agent_id, role_id, status, sync_day FROM stg_agent_roles")
    assert Counter(staged) == Counter(map(tuple, case["stg_agent_roles"]))
    errors = pipeline.rows("SELECT sync_day, agent_id, role_id FROM agent_role_pipeline_errors")
    assert Counter(errors) == Counter(
        (day, *ids) for day, refused in case["errors"].items() for ids in refused
    )
    mapping = pipeline.rows(
        "SELECT agent_id, role_id, status, assigned_at, removed_at FROM agent_role_mapping"
    )
    assert Counter(mapping) == Counter(
        (agent, role, status, _utc(assigned_at), _utc(removed_at))
        for agent, role, status, assigned_at, removed_at in case["agent_role_mapping"]
    )
    history = pipeline.rows(
        "SELECT agent_id, role_id, assigned_on, removed_on FROM agent_role_history"
    )
    assert Counter(history) == Counter(map(tuple, case["history"]))


def _utc(text: str | None) -> datetime | None:
    if text is None:
        return None
    return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None)
