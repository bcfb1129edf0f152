"""Names of sync days, and their order."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_roles_dagster.outcomes import InvalidSyncDay
from agent_roles_dagster.sync_days import EXPECTED, day_number, is_sync_day

NO_NAMES = (
    "",
    "day",
    "day0",
    "day01",
    "day-1",
    "day+1",
    "day1.0",
    "day1_0",
    "day1 ",
    " day1",
    "day 1",
    "day1\n",
    "\nday1",
    "day1\x00",
    "DAY1",
    "Day1",
    "dаy1",  # its second letter is Cyrillic
    "day١",
    "day１",
    "day²",
    "day1e3",
    "day0x1",
    "day1/",
    "day1/..",
    "../day1",
    "..",
    ".",
    "/day1",
    "day1\\day2",
    "day" + "9" * 5000,
    "2026-02-30",
    "2025-02-29",
    "2026-13-01",
    "2026-00-10",
    "2026-01-00",
    "0000-01-01",
    "2026-1-1",
    "2026-01-1",
    "26-01-01",
    "20260101",
    "2026/01/01",
    "2026-W01-1",
    "2026-001",
    "-2026-01-01",
    "2026-01-01\n",
    " 2026-01-01",
    "2026-01-01T00:00:00",
    "٢٠٢٦-٠١-٠١",
    "2026-01-01/../day1",
)  # fmt: skip


@pytest.mark.parametrize("name", NO_NAMES, ids=lambda name: ascii(name)[:30])
def test_any_other_name_is_refused_with_what_is_expected(name: str) -> None:
    assert not is_sync_day(name)
    with pytest.raises(InvalidSyncDay) as refused:
        day_number(name)
    assert EXPECTED in str(refused.value)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("day1", 1),
        ("day9", 9),
        ("day10", 10),
        ("day20261123", 20261123),
        ("day" + "9" * 18, 10**18 - 1),
        ("2026-11-23", 20261123),
        ("2024-02-29", 20240229),
        ("0001-01-01", 10101),
        ("9999-12-31", 99991231),
    ],
)
def test_a_days_number_is_what_its_digits_spell(name: str, number: int) -> None:
    assert is_sync_day(name)
    assert day_number(name) == number


def test_every_number_that_a_day_may_have_fits_bigint() -> None:
    assert not is_sync_day(f"day{2**63}")
    assert not is_sync_day("day" + "9" * 19)


def test_days_are_ordered_by_number_and_not_by_text() -> None:
    days = ["day1", "day2", "day9", "day10", "day11", "day100", "2025-12-31", "2026-01-01"]
    shuffled = random.Random(1).sample(days, len(days))
    assert sorted(shuffled, key=day_number) == days


@given(st.integers(1, 10**18 - 1))
def test_every_numbered_day_gives_its_number_back(number: int) -> None:
    assert day_number(f"day{number}") == number


@given(st.dates(), st.dates())
def test_dated_days_are_in_the_order_of_the_calendar(first: object, second: object) -> None:
    numbers = day_number(str(first)), day_number(str(second))
    assert (numbers[0] < numbers[1]) == (str(first) < str(second))


@given(st.text())
def test_a_name_is_either_a_days_or_refused_and_never_a_path(name: str) -> None:
    if is_sync_day(name):
        assert not set(name) & set("/\\.\0\n ")
        assert name.isascii()
