"""Random folders of days, loaded by runs of many days or of one, against the slow, obvious model.

Between two runs some days land, new or again, plain, broken or implausible; a run loads some of
the days or all, stops at a refused one or goes on, with some removals accepted. After each, the
tables are the model's, Dagster shows what the tables say, and the run has said of each day what
became of it.

`AGENT_ROLES_TEST_LOADS` says how many histories (8 if not set); several hundred in one process:

    AGENT_ROLES_TEST_LOADS=300 pytest -n0 tests/orchestration/test_many_histories.py
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from agent_roles_dagster.definitions import defs
from agent_roles_dagster.orchestration import checks, reports
from agent_roles_dagster.orchestration.automation import LOAD
from agent_roles_dagster.orchestration.checks.history import said
from agent_roles_dagster.orchestration.many_days.config import run_config
from agent_roles_dagster.postgres.connection import connect
from tests import model
from tests.conftest import Pipeline
from tests.dump_strategies import DAYS, FEW_PAIRS, PAIRS, Dump, dumps
from tests.orchestration.test_reports import newest_metadata, newest_results
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
    history = History()
    days = data.draw(st.lists(st.sampled_from(DAYS), min_size=2, max_size=5, unique=True))
    with dg.DagsterInstance.ephemeral() as instance:
        pipeline = Pipeline(
            Path(os.environ["AGENT_ROLES_LANDING"]),
            os.environ["AGENT_ROLES_DATABASE_URL"],
            instance,
        )
        for _ in range(STEPS):
            for day in data.draw(st.lists(st.sampled_from(days), min_size=1, max_size=4)):
                files = data.draw(dumps_of(history, day))
                history.landed[day] = files
                world.land(day, files)
                note(f"{day}: {files}")
            if data.draw(st.integers(0, 2)) == 2:
                day = data.draw(st.sampled_from(sorted(history.landed)))
                accepts = data.draw(st.booleans())
                note(f"a run of {day}, accept_removals: {accepts}")
                result = pipeline.run(day, accept_removals="the test" if accepts else None)
                assert pipeline.outcome(result) == history.run(day, accepts)
            else:
                config = data.draw(configs(sorted(history.landed, key=model.number)))
                note(str(config))
                result = defs.resolve_job_def(LOAD).execute_in_process(
                    instance=instance, run_config=run_config(**config), raise_on_error=False
                )
                history.follow(config, _ends(result))
            world.assert_tables(history.expected, is_applied=True)
            assert_shown(pipeline, history)


@dataclass
class History:
    """The model, the files that landed, and those that are staged."""

    expected: model.Model = field(default_factory=lambda: model.Model(GUARD))
    landed: dict[str, Dump] = field(default_factory=dict)
    staged: dict[str, Dump] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)

    def run(self, day: str, accepts: bool) -> str:
        """Run the day as it landed, and say how that must end."""
        outcome = self.expected.land(day, self.landed[day], accepts)
        if outcome == model.STAGED:
            self.staged[day] = self.landed[day]
            self.refused.discard(day)
        else:
            self.refused.add(day)
        return outcome

    def follow(self, config: dict[str, Any], ends: dict[str, str]) -> None:
        """Do what a load says it did, and see that it was right."""
        days = sorted(self.landed, key=model.number)
        first, last = config.get("from_", days[0]), config.get("to", days[-1])
        chosen = config.get("days") or days[days.index(first) : days.index(last) + 1]
        assert ends.keys() <= set(chosen)
        is_over = False
        for day in sorted(chosen, key=model.number):
            end = ends.get(day)
            if end is None:
                assert not config["again"], day
                assert day not in self.refused
                assert self._means_what_is_staged(day), f"{day} was not loaded"
                continue
            is_as_staged = self.staged.get(day) == self.landed[day] and day not in self.refused
            assert config["again"] or not is_as_staged, f"{day} is staged as it landed: {end}"
            if is_over:
                assert end == "not reached", (day, end)
            else:
                outcome = self.run(day, day in config["accept_removals"])
                assert end == {model.STAGED: "loaded"}.get(outcome, outcome), day
                is_over = outcome != model.STAGED and config["on_refused"] == "stop"

    def _means_what_is_staged(self, day: str) -> bool:
        """Whether the day's files say what is staged. Their manifest may be written otherwise."""
        try:
            return model.read_dump(self.landed[day]) == self.expected.staged.get(day)
        except model.NoSnapshot:
            return False


def assert_shown(pipeline: Pipeline, history: History) -> None:
    """Of each staged day, Dagster shows what a report would say now."""
    with connect(pipeline.database) as connection:
        for day in history.expected.days():
            results = newest_results(pipeline, day)
            for asset, metadata in reports.METADATA.items():
                shown = newest_metadata(pipeline, asset.to_user_string(), day)
                assert shown is not None, (day, asset)
                for name, value in metadata(connection, day).items():
                    if name not in reports.OF_THE_RUN:
                        assert shown[name] == getattr(value, "value", value), (day, name)
                for now in reports.found(connection, day, asset):
                    newest = results[now.check_name].evaluation
                    assert newest is not None, (day, now.check_name)
                    assert said(newest) == said(reports.evaluation(day, now)), (day, now.check_name)
            judged = results[checks.MAY_BE_STAGED.name].evaluation
            assert judged is not None
            assert judged.passed == (day not in history.refused), day


@st.composite
def dumps_of(draw: st.DrawFn, history: History, day: str) -> Dump:
    """Any files, much the same pairs as those that are staged, or the very files."""
    kind = draw(st.sampled_from(["any", "any", "much the same", "the same"]))
    if kind == "the same" and day in history.staged:
        return history.staged[day]
    pairs = draw(FEW_PAIRS)
    if kind == "much the same" and day in history.expected.staged:
        pairs = history.expected.staged[day].assigned() ^ draw(st.sets(PAIRS, max_size=2))
    return draw(dumps(pairs))


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
