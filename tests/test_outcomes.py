"""Each way in which a day is refused has one outcome, and everything else follows from it."""

from collections.abc import Iterator
from types import SimpleNamespace

import dagster as dg
import pytest
from dagster._core.execution.plan.objects import StepFailureData
from dagster_shared.error import SerializableErrorInfo

from agent_roles_dagster.orchestration import retries
from agent_roles_dagster.orchestration.failures import failure
from agent_roles_dagster.orchestration.notices.sentences import sentence
from agent_roles_dagster.outcomes import DayRefused, Held

OUTCOMES = {
    "Unreadable": "unreadable",
    "NotRead": "failed",
    "InvalidSyncDay": "refused",
    "SameNumber": "refused",
    "NoDay": "refused",
    "RangeOfDays": "refused",
    "InvalidLoad": "refused",
    "Pruned": "pruned",
    "LostRows": "failed",
    "Held": "held",
    "NotAccepted": "not accepted",
    "ChecksFailed": "checks failed",
    "NotApplied": "not applied",
    "NotTakenBack": "not taken back",
}
KINDS = pytest.mark.parametrize("kind", DayRefused.kinds, ids=lambda kind: kind.__name__)


def made(kind: type[DayRefused]) -> DayRefused:
    return Held("day1 is held", {}, []) if kind is Held else kind("day1 is odd")


def test_each_way_has_its_outcome() -> None:
    assert {kind.__name__: kind.outcome for kind in DayRefused.kinds} == OUTCOMES


@KINDS
def test_an_advice_says_what_was_left_unchanged_and_what_to_do(kind: type[DayRefused]) -> None:
    error = made(kind)
    told = failure(error)
    assert told.description == error.sentence()
    assert told.metadata["outcome"].value == kind.outcome
    assert not told.allow_retries
    if kind.advice:
        assert error.sentence() == f"{error}. {kind.advice}"
        assert kind.advice.startswith("Nothing was changed in any table. ")


@KINDS
def test_only_a_store_that_can_not_be_read_is_tried_again(kind: type[DayRefused]) -> None:
    context = SimpleNamespace(retry_number=0, log=SimpleNamespace(warning=lambda _: None))

    @retries.retried_if_lost
    def refuse(context: SimpleNamespace) -> Iterator[None]:
        raise made(kind)
        yield

    with pytest.raises(dg.RetryRequested if kind.__name__ == "NotRead" else kind):
        list(refuse(context))


@KINDS
def test_a_notice_tells_the_text_of_each(kind: type[DayRefused]) -> None:
    # As Dagster records an error that a step did not catch.
    recorded = f"{kind.__module__}.{kind.__name__}: {made(kind)}\n"
    error = SerializableErrorInfo(recorded, [], kind.__name__)
    told = sentence(StepFailureData(error=error, user_failure_data=None))
    assert told is not None
    assert told.startswith(f"{made(kind)}.")
