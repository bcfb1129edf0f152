"""How a step fails with a refusal, and what can be read of that afterwards."""

from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg
from dagster._core.execution.plan.objects import StepFailureData

from agent_roles_dagster.outcomes import FAILED, DayRefused, InvalidLoad

INTERRUPTED = "interrupted"


def failure(error: DayRefused, about: Mapping[str, Any] | None = None) -> dg.Failure:
    """The end of a step that refuses the day. Dagster does not retry it.

    Args:
        about: more metadata of the failure.
    """
    metadata = {"outcome": error.outcome, **(about or {})}
    return dg.Failure(error.sentence(), metadata, allow_retries=False)


def outcome_of(data: StepFailureData) -> str | None:
    """The word for why a day was refused, such as "held"; None for any other failure."""
    failed = data.user_failure_data
    return str(failed.metadata["outcome"].value) if failed and failed.metadata else None


def outcome_of_run(events: Iterable[dg.DagsterEvent]) -> str:
    """The word for why a run failed: "held", "unreadable", "interrupted", or just "failed"."""
    data = [event.event_specific_data for event in events]
    found = [each for each in data if isinstance(each, StepFailureData)]
    if any(map(is_interruption, found)):
        return INTERRUPTED
    return next(filter(None, map(outcome_of, found)), FAILED)


def never_began(events: Iterable[dg.DagsterEvent]) -> bool:
    """Whether a run of many days ended before its first day, since its config was refused."""
    for event in events:
        data = event.event_specific_data
        if isinstance(data, StepFailureData) and outcome_of(data) == InvalidLoad.outcome:
            assert data.user_failure_data
            return "loaded" not in data.user_failure_data.metadata
    return False


def is_interruption(data: StepFailureData) -> bool:
    """Whether a signal ended the step, such as Ctrl+C."""
    error = data.error
    while error and error.cls_name != dg.DagsterExecutionInterruptedError.__name__:
        error = error.cause or error.context
    return error is not None
