"""Which days have landed, and how any other name is refused."""

from pathlib import Path

import pytest

from agent_roles_dagster.landing.days import landed_days, require_landed
from agent_roles_dagster.outcomes import InvalidSyncDay
from agent_roles_dagster.sync_days import EXPECTED


def test_landed_days_are_the_folders_with_a_days_name_in_their_order(tmp_path: Path) -> None:
    for name in ("day10", "day9", "2026-01-01", "day01", "2026-02-30", "_tmp", "Day3", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "day7").write_text("a file")
    assert landed_days(str(tmp_path)) == ["day9", "day10", "2026-01-01"]
    assert landed_days(f"{tmp_path}/") == landed_days(f"file://{tmp_path}")


def test_no_days_have_landed_where_there_is_no_folder(tmp_path: Path) -> None:
    assert landed_days(str(tmp_path / "nowhere")) == []


def test_a_folder_that_is_a_link_is_a_landed_day(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "day1").symlink_to(tmp_path / "elsewhere")
    require_landed(str(tmp_path), "day1")
    assert landed_days(str(tmp_path)) == ["day1"]


def test_a_day_that_lands_later_is_seen(tmp_path: Path) -> None:
    assert landed_days(str(tmp_path)) == []
    (tmp_path / "day1").mkdir()
    assert landed_days(str(tmp_path)) == ["day1"]


@pytest.mark.parametrize("name", ["day0", "../day2", "day2/../day2", "", ".", "day1", "2026-02-30"])
def test_what_is_no_landed_day_is_refused_with_what_is_expected_and_what_is_there(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "day2").mkdir()
    (tmp_path / "day11").mkdir()
    with pytest.raises(InvalidSyncDay) as refused:
        require_landed(str(tmp_path), name)
    text = str(refused.value)
    assert EXPECTED in text
    assert text.endswith(f"Landed so far under {tmp_path}: day2, day11")


def test_a_landed_day_is_not_refused_though_it_is_empty(tmp_path: Path) -> None:
    (tmp_path / "day1").mkdir()
    require_landed(str(tmp_path), "day1")


def test_a_file_is_no_landed_day(tmp_path: Path) -> None:
    (tmp_path / "day1").write_text("a file")
    with pytest.raises(InvalidSyncDay, match=r"Landed so far under .*: none"):
        require_landed(str(tmp_path), "day1")


def test_of_many_landed_days_the_newest_are_named(tmp_path: Path) -> None:
    for number in range(1, 31):
        (tmp_path / f"day{number}").mkdir()
    with pytest.raises(InvalidSyncDay, match=r"20 earlier ones, day21, .*day29, day30$"):
        require_landed(str(tmp_path), "day31")


def test_a_landing_folder_that_is_none_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "dump.json").write_text("[]")
    for name, why in (("nowhere", "is not there"), ("dump.json", "is no folder")):
        landing = str(tmp_path / name)
        with pytest.raises(InvalidSyncDay) as refused:
            require_landed(landing, "day1")
        assert str(refused.value) == (
            f"'day1' has not landed: there is no such folder; {EXPECTED}."
            f" {landing}, which AGENT_ROLES_LANDING names, {why}"
        )
