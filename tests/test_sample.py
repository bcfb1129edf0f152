"""The sample that comes with the package: each of its days is staged, and shows what it should."""

from datetime import datetime
from pathlib import Path

import pytest

import agent_roles_dagster
from agent_roles_dagster.landing.find import find_dump
from agent_roles_dagster.settings import Settings
from tests.conftest import Pipeline

SAMPLE = Path(agent_roles_dagster.__file__).parent / "sample" / "admin_roles"
DAYS = ("day1", "day2", "day3")

# sync day: raw rows, distinct valid pairs, duplicates, invalid rows, assigned, removed
COUNTS = {
    "day1": (22, 15, 5, 2, 15, 0),
    "day2": (19, 15, 1, 3, 14, 4),
    "day3": (19, 15, 1, 3, 15, 1),
}


@pytest.fixture
def staged(pipeline: Pipeline) -> Pipeline:
    """The sample's days, landed and materialised one after the other."""
    for sync_day in DAYS:
        pipeline.land(SAMPLE / sync_day, sync_day)
        result = pipeline.run(sync_day)
        assert pipeline.outcome(result) == "staged", sync_day
        checks = result.get_asset_check_evaluations()
        errors = [c.check_name for c in checks if not c.passed and c.severity.value == "ERROR"]
        assert errors == [], sync_day
    return pipeline


def test_the_sample_is_what_lands_where_nothing_else_is_set() -> None:
    assert Settings.from_env({}).landing == str(SAMPLE)


@pytest.mark.parametrize("sync_day", DAYS)
def test_a_day_has_several_files_and_a_manifest_of_all_of_them(sync_day: str) -> None:
    dump = find_dump(str(SAMPLE), sync_day)
    assert len(dump.files) > 1
    assert dump.observed_at is not None
    assert dump.listed is not None
    assert all(entry.keys() == {"name", "sha256", "records"} for entry in dump.listed.values())


def test_the_files_have_several_formats() -> None:
    names = {file.name for day in DAYS for file in find_dump(str(SAMPLE), day).files}
    assert {name.partition(".")[2] for name in names} == {"json", "jsonl", "jsonl.gz"}


def test_the_days_show_every_feature(staged: Pipeline) -> None:
    counts = staged.rows(
        "SELECT sync_day, raw_rows, valid_pairs, duplicates, invalid_rows, assigned, removed"
        " FROM agent_role_sync_days ORDER BY day_no"
    )
    assert {day: tuple(rest) for day, *rest in counts} == COUNTS
    assert removals(staged, "day2") == {(1002, 10), (1004, 20), (1005, 20), (1008, 30)}
    assert returns(staged) == {(1002, 10), (1008, 30)}
    assert refusals(staged) == {
        ("day1", None, 30, "agent_id is null"),
        ("day1", None, 40, "agent_id is text that is no integer"),
        ("day2", None, 30, "agent_id is text that is no integer"),
        ("day2", 1004, 50, "status is neither assigned nor removed"),
        ("day2", None, 60, "agents is null"),
        ("day3", None, 20, "agent_id is missing"),
        ("day3", 1010, None, "role_ids is no list"),
        ("day3", None, None, "the line is no JSON"),
    }
    assert mapping(staged) == EXPECTED_MAPPING


def test_a_removal_beside_an_invalid_record_is_warned_of(staged: Pipeline) -> None:
    warned = [
        {e.check_name for e in result.get_asset_check_evaluations() if not e.passed}
        for result in staged.results
    ]
    assert warned == [
        {"no_invalid_rows"},
        {"no_invalid_rows", "no_removals_beside_invalid_records"},
        {"no_invalid_rows"},
    ]


def removals(pipeline: Pipeline, sync_day: str) -> set[tuple[int, int]]:
    query = "SELECT agent_id, role_id FROM stg_agent_roles WHERE status = 'removed'"
    return set(pipeline.rows(f"{query} AND sync_day = %s", sync_day))


def returns(pipeline: Pipeline) -> set[tuple[int, int]]:
    """The pairs that were removed and are assigned again."""
    return set(
        pipeline.rows(
            "SELECT ended.agent_id, ended.role_id FROM agent_role_history AS ended"
            " INNER JOIN agent_role_mapping AS now USING (agent_id, role_id)"
            " WHERE ended.removed_on = 'day2' AND now.status = 'assigned'"
        )
    )


def refusals(pipeline: Pipeline) -> set[tuple[str, int | None, int | None, str]]:
    return set(
        pipeline.rows(
            "SELECT sync_day, agent_id, role_id, error_message FROM agent_role_pipeline_errors"
        )
    )


def mapping(pipeline: Pipeline) -> dict[tuple[int, int], tuple[str, int, int | None]]:
    """Status, and the days of March on which the latest assignment began and ended, by pair."""

    def day(moment: datetime | None) -> int | None:
        return moment.day if moment else None

    rows = pipeline.rows(
        "SELECT agent_id, role_id, status, assigned_at, removed_at FROM agent_role_mapping"
    )
    return {(agent, role): (status, day(a), day(r)) for agent, role, status, a, r in rows}


EXPECTED_MAPPING = {
    (1001, 10): ("assigned", 1, None),
    (1002, 10): ("assigned", 3, None),
    (1003, 10): ("assigned", 2, None),
    (1001, 20): ("assigned", 1, None),
    (1003, 20): ("assigned", 1, None),
    (1004, 20): ("removed", 1, 2),
    (1005, 20): ("removed", 1, 2),
    (1002, 30): ("assigned", 1, None),
    (1003, 30): ("assigned", 1, None),
    (1004, 30): ("assigned", 1, None),
    (1005, 30): ("assigned", 1, None),
    (1006, 30): ("assigned", 1, None),
    (1007, 30): ("assigned", 1, None),
    (1008, 30): ("assigned", 3, None),
    (1009, 30): ("assigned", 2, None),
    (1006, 40): ("assigned", 1, None),
    (1007, 40): ("removed", 1, 3),
    (1009, 50): ("assigned", 2, None),
}
