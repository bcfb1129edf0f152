"""Random folders of days, loaded by runs of many days, against the slow, obvious model.

Between two runs some days land, new or again, plain, broken or implausible; a run loads some of
the days or all, stops at a refused one or goes on, with some removals accepted. After each, the
tables are the model's, and the run has said of each day what became of it.

`AGENT_ROLES_TEST_LOADS` says how many histories (8 if not set); several hundred in one process:

    AGENT_ROLES_TEST_LOADS=300 pytest -n0 tests/orchestration/test_many_histories.py
"""

import os
from typing import Any

import dagster as dg
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from agent_roles_dagster.definitions import defs
from agent_roles_dagster.orchestration.automation import LOAD
from agent_roles_dagster.orchestration.many_days.config import run_config
from tests import model
from tests.dump_strategies import DAYS, FEW_PAIRS, PAIRS, Dump, dumps
from tests.test_guarantees import GUARD, World, world

__all__ = ["world"]
HISTORIES = int(os.environ.get("AGENT_ROLES_TEST_LOADS", "8"))
STEPS = 3

pytestmark = pytest.mark.timeout(600 + 30 * HISTORIES)


@settings(
    max_examples=HISTORIES,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_after_any_loads_the_tables_are_those_of_the_staged_days(
    world: World,
    data: st.DataObject,
) -> None:
    world.clear()
    expected = model.Model(GUARD)
    days = data.draw(st.lists(st.sampled_from(DAYS), min_size=2, max_size=5, unique=True))
    landed: dict[str, Dump] = {}
    with dg.DagsterInstance.ephemeral() as instance:
        for _ in range(STEPS):
            for day in data.draw(st.lists(st.sampled_from(days), min_size=1, max_size=4)):
                pairs = data.draw(FEW_PAIRS)
                if data.draw(st.booleans()) and day in expected.staged:
                    pairs = expected.staged[day].assigned() ^ data.draw(st.sets(PAIRS, max_size=2))
                landed[day] = data.draw(dumps(pairs))
                world.land(day, landed[day])
                note(f"{day}: {landed[day]}")
            config = data.draw(configs(sorted(landed, key=model.number)))
            note(str(config))
            result = defs.resolve_job_def(LOAD).execute_in_process(
                instance=instance, run_config=run_config(**config), raise_on_error=False
            )
            _follow(expected, landed, config, _ends(result))
            world.assert_tables(expected, is_applied=True)


@st.composite
def configs(draw: st.DrawFn, days: list[str]) -> dict[str, Any]:
    """What to load of these days, which are in their order, and how."""
    config: dict[str, Any] = {
        "on_refused": draw(st.sampled_from(["stop", "skip"])),
        "again": draw(st.booleans()),
    }
    chosen = days
    kind = draw(st.sampled_from(["all", "all", "from", "to", "days"]))
    at = draw(st.integers(0, len(days) - 1))
    if kind == "from":
        config["from_"], chosen = days[at], days[at:]
    elif kind == "to":
        config["to"], chosen = days[at], days[: at + 1]
    elif kind == "days":
        chosen = draw(st.lists(st.sampled_from(days), min_size=1, unique=True))
        config["days"] = chosen
    accepted = draw(st.sets(st.sampled_from(chosen)))
    config["accept_removals"] = dict.fromkeys(sorted(accepted), "the test accepts them")
    return config


def _ends(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    """What the run says became of the days: loaded, not reached, or why it was refused."""
    for event in result.all_events:
        if event.is_step_failure:
            failure = event.step_failure_data.user_failure_data
            assert failure is not None, event.step_failure_data
            metadata: Any = failure.metadata
        elif event.event_type == dg.DagsterEventType.STEP_OUTPUT:
            metadata = event.step_output_data.metadata
        else:
            continue
        lists = {name: str(metadata[f"days {name}"].value) for name in ("loaded", "not reached")}
        ends = {day: name for name, text in lists.items() for day in text.split(", ") if day}
        refused = str(metadata["refused"].value).splitlines()
        return ends | dict(line.split(": ") for line in refused)
    raise AssertionError("the run has no end")


def _follow(
    expected: model.Model, landed: dict[str, Dump], config: dict[str, Any], ends: dict[str, str]
) -> None:
    """Have the model do what the run says it did, and see that the run was right."""
    days = sorted(landed, key=model.number)
    first, last = config.get("from_", days[0]), config.get("to", days[-1])
    chosen = config.get("days") or days[days.index(first) : days.index(last) + 1]
    assert ends.keys() <= set(chosen)
    is_over = False
    for day in sorted(chosen, key=model.number):
        end = ends.get(day)
        if is_over:
            assert end in ("not reached", None), (day, end)
        elif end is None:
            assert not config["again"], day
            assert day in expected.staged, f"{day} was not loaded"
        else:
            outcome = expected.land(day, landed[day], day in config["accept_removals"])
            assert end == {model.STAGED: "loaded"}.get(outcome, outcome), day
            is_over = outcome != model.STAGED and config["on_refused"] == "stop"
