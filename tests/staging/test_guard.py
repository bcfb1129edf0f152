"""When a day is held, at the very limits."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_roles_dagster.settings import Guard
from agent_roles_dagster.staging.guard import unusual, why_held


@pytest.mark.parametrize(
    ("records", "assigned", "previous", "removals", "held"),
    [
        # It has no records at all, and the previous day had assignments.
        (0, 0, 1, 1, "no records at all"),
        (0, 0, 0, 0, None),
        # It has no assignment left, and the previous day had at least 10.
        (1, 0, 10, 10, "no assignment left"),
        (1, 0, 9, 9, None),
        (5, 1, 10, 10, None),
        (5, 0, 0, 0, None),
        # At least 100 pairs and more than 20 % of the previous day's would be removed.
        (9, 400, 500, 100, None),
        (9, 399, 499, 100, "would remove 100 of the previous day's 499"),
        (9, 1, 100, 99, None),
        (9, 1, 101, 100, "would remove 100"),
        (9, 400, 500, 101, "would remove 101"),
        (9, 800_000, 1_000_000, 200_000, None),
        (9, 799_999, 1_000_000, 200_001, "would remove 200,001 of the previous day's 1,000,000"),
        # As many are new: removals count all the same.
        (9, 1_000, 1_000, 1_000, "would remove 1,000"),
        # A first day, a day that only adds.
        (9, 1_000, 0, 0, None),
        (9, 2_000, 1_000, 0, None),
    ],
)
def test_a_day_is_held_from_the_limits_on(
    records: int, assigned: int, previous: int, removals: int, held: str | None
) -> None:
    reason = why_held(
        Guard(), records=records, assigned=assigned, previous=previous, removals=removals
    )
    assert (reason is None) == (held is None), reason
    if reason and held:
        assert held in reason


@pytest.mark.parametrize(
    ("limits", "removals", "is_held"),
    [
        (Guard(min_removals=1, max_removed_share=0), 1, True),
        (Guard(min_removals=1, max_removed_share=0), 0, False),
        (Guard(min_removals=51, max_removed_share=0.5), 50, False),
        (Guard(min_removals=51, max_removed_share=0.5), 51, True),
        (Guard(min_removals=1, max_removed_share=0.5), 50, False),
        (Guard(min_removals=1, max_removed_share=1), 99, False),
    ],
)
def test_the_limits_are_those_given(limits: Guard, removals: int, is_held: bool) -> None:
    reason = why_held(limits, records=1, assigned=1, previous=100, removals=removals)
    assert (reason is not None) == is_held


def test_the_least_previous_day_that_must_not_vanish_is_the_one_given() -> None:
    limits = Guard(min_previous=3)
    assert why_held(limits, records=1, assigned=0, previous=2, removals=2) is None
    assert why_held(limits, records=1, assigned=0, previous=3, removals=3)


@given(st.integers(1, 2**40), st.data())
def test_exactly_the_allowed_share_is_not_held(fifth: int, data: st.DataObject) -> None:
    previous = 5 * fifth
    removals = data.draw(st.integers(max(0, fifth - 2), min(previous - 1, fifth + 2)))
    reason = why_held(Guard(), records=1, assigned=1, previous=previous, removals=removals)
    is_more = Fraction(removals, previous) > Fraction(1, 5)
    assert (reason is not None) == (removals >= 100 and is_more)


@pytest.mark.parametrize("percent", range(1, 100))
def test_a_share_of_whole_percents_is_exact(percent: int) -> None:
    limits = Guard(min_removals=1, max_removed_share=percent / 100)
    counts = {"records": 1, "assigned": 1, "previous": 100}
    assert why_held(limits, **counts, removals=percent) is None
    assert why_held(limits, **counts, removals=percent + 1)


@pytest.mark.parametrize(
    ("newly", "previous", "removals", "said"),
    [
        (0, 0, 0, []),
        (99, 10, 0, []),
        (100, 500, 0, []),  # a fifth, to the pair
        (
            101,
            500,
            0,
            [
                "it newly assigns 101 pairs, where the previous day had 500 assignments"
                " (warned from 100 and more than 20% on)"
            ],
        ),
        (0, 21, 10, []),
        (0, 20, 10, []),
        (0, 99, 50, ["50 of the previous day's 99 assignments, more than half, are gone"]),
        (0, 100, 51, []),  # from here on, a day may be held
        (
            300_000,
            21,
            21,
            [
                "it newly assigns 300,000 pairs, where the previous day had 21 assignments"
                " (warned from 100 and more than 20% on)",
                "21 of the previous day's 21 assignments, more than half, are gone",
            ],
        ),
    ],
)
def test_a_day_that_grants_far_more_or_replaces_a_small_tenant_is_unusual(
    newly: int, previous: int, removals: int, said: list[str]
) -> None:
    assert unusual(Guard(), newly=newly, previous=previous, removals=removals) == said
