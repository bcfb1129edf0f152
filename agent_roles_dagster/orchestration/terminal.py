"""A logger for somebody who watches a run: a line for each step forward, and no traces.

https://docs.dagster.io/guides/log-debug/logging/custom-logging
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import suppress

import dagster as dg
from dagster._core.execution.plan.objects import StepFailureData

from agent_roles_dagster.orchestration import checks
from agent_roles_dagster.orchestration.failures import is_interruption
from agent_roles_dagster.orchestration.notices import sentence


class _Lines(logging.Handler):
    """Prints what went wrong to stderr, everything else to stdout."""

    def __init__(self) -> None:
        super().__init__()
        self._findings: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        event: dg.DagsterEvent | None = getattr(record, "dagster_event", None)
        for line in self._lines_of(record, event):
            # If nobody reads any more, the run goes on.
            with suppress(BrokenPipeError):
                is_bad = line.startswith(("WARNING ", "ERROR "))
                print(line, file=sys.stderr if is_bad else sys.stdout, flush=True)

    def _lines_of(self, record: logging.LogRecord, event: dg.DagsterEvent | None) -> Iterator[str]:
        if event is None:
            text = str(record.dagster_meta["orig_message"])  # type: ignore[attr-defined]
            # That what follows a step which failed is not run goes without saying.
            if record.levelno < logging.INFO or text.startswith("Dependencies for step "):
                return
            self._findings.add(text)
            yield f"{record.levelname} {text}" if record.levelno >= logging.WARNING else text
            return
        data = event.event_specific_data
        day = event.partition
        if event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION and event.asset_key:
            yield f"{day}: {event.asset_key.to_user_string()} is written"
        elif isinstance(data, dg.AssetCheckEvaluation):
            yield from self._check(data)
        elif isinstance(data, StepFailureData):
            if is_interruption(data):
                return
            if (said := sentence(data)) is None:
                yield f"ERROR {event.step_key} failed: {data.error_display_string}"
            elif said:
                yield f"ERROR {said}"

    def _check(self, data: dg.AssetCheckEvaluation) -> Iterator[str]:
        name = f"{data.check_name} of {data.asset_key.to_user_string()}"
        if data.passed:
            # One with a description had nothing to check.
            if not data.description:
                yield f"{data.partition}: {name} passed"
        # Why a day is refused, the step says.
        elif data.asset_check_key != checks.MAY_BE_STAGED.key:
            text = f"{data.partition}: {checks.finding(data)}"
            if text not in self._findings:
                is_warning = data.severity == dg.AssetCheckSeverity.WARN
                yield f"{'WARNING' if is_warning else 'ERROR'} {text}"
            self._findings.add(text)


@dg.logger({}, "Lines for a terminal: assets, checks, warnings, sentences; no traces.")
def terminal(_: dg.InitLoggerContext) -> logging.Logger:
    """What `agent-roles run` prints."""
    # Dagster logs what was made as of level DEBUG.
    logger = logging.Logger("agent_roles.terminal", logging.DEBUG)
    logger.addHandler(_Lines())
    return logger
