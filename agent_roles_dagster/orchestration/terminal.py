"""A logger for a terminal: a line for each step forward, and no traces.

https://docs.dagster.io/guides/log-debug/logging/custom-logging
"""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

import dagster as dg
from dagster._core.execution.plan.objects import StepFailureData

from agent_roles_dagster.orchestration import checks
from agent_roles_dagster.orchestration.failures import is_interruption
from agent_roles_dagster.orchestration.notices.sentences import sentence

# The terminal of this process, while it has a bar.
_own: TextIO | None = None


@contextmanager
def with_bar() -> Iterator[None]:
    """Print to the terminal itself, if there is one.

    While a step runs, Dagster has another process copy what is printed. It would mix up the lines
    and the bar below them.
    """
    global _own
    if not (sys.stdout.isatty() and sys.stderr.isatty()):
        yield
        return
    with os.fdopen(os.dup(sys.stderr.fileno()), "w") as _own:
        try:
            yield
        finally:
            _own = None


def bar(total: int) -> Any:
    """A bar below the printed lines; None outside `with_bar`."""
    if not _own:
        return None
    from tqdm import tqdm  # Importing it takes time that most runs don't need to spend.

    return tqdm(total=total, file=_own, bar_format="{bar:20} {desc}", leave=False, miniters=1)


class _Lines(logging.Handler):
    """Prints what went wrong to stderr, everything else to stdout.

    Args:
        events: whether to print a line for each asset and each check.
    """

    def __init__(self, events: bool) -> None:
        super().__init__()
        self._events = events
        self._findings: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        event: dg.DagsterEvent | None = getattr(record, "dagster_event", None)
        for line in self._lines_of(record, event):
            # The run goes on if nobody reads its output any more.
            with suppress(BrokenPipeError):
                is_bad = line.startswith(("WARNING ", "ERROR "))
                if _own:
                    from tqdm import tqdm

                    tqdm.write(line, file=_own)
                else:
                    print(line, file=sys.stderr if is_bad else sys.stdout, flush=True)

    def _lines_of(self, record: logging.LogRecord, event: dg.DagsterEvent | None) -> Iterator[str]:
        if event is None:
            text = str(record.dagster_meta["orig_message"])  # type: ignore[attr-defined]
            # After a failed step, Dagster says of each later step that it is not run.
            if record.levelno < logging.INFO or text.startswith("Dependencies for step "):
                return
            self._findings.add(text)
            yield f"{record.levelname} {text}" if record.levelno >= logging.WARNING else text
            return
        data = event.event_specific_data
        if isinstance(data, StepFailureData):
            if is_interruption(data):
                return
            if (said := sentence(data)) is None:
                yield f"ERROR {event.step_key} failed: {data.error_display_string}"
            elif said:
                yield f"ERROR {said}"
        elif self._events and isinstance(data, dg.AssetCheckEvaluation):
            yield from self._check(data)
        elif (
            self._events
            and event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION
            and event.asset_key
        ):
            yield f"{event.partition}: {event.asset_key.to_user_string()} is written"

    def _check(self, data: dg.AssetCheckEvaluation) -> Iterator[str]:
        name = f"{data.check_name} of {data.asset_key.to_user_string()}"
        if data.passed:
            # A result with a description had nothing to check.
            if not data.description:
                yield f"{data.partition}: {name} passed"
        # The step says why a day is refused.
        elif data.asset_check_key != checks.MAY_BE_STAGED.key:
            text = f"{data.partition}: {checks.finding(data)}"
            if text not in self._findings:
                is_warning = data.severity == dg.AssetCheckSeverity.WARN
                yield f"{'WARNING' if is_warning else 'ERROR'} {text}"
            self._findings.add(text)


@dg.logger(
    {"events": dg.Field(bool, default_value=True, description="A line for each asset and check.")},
    "Lines for a terminal: assets, checks, warnings, sentences; no traces.",
)
def terminal(context: dg.InitLoggerContext) -> logging.Logger:
    """What `agent-roles` prints of a run."""
    # Dagster logs materialisations and check results at level DEBUG.
    logger = logging.Logger("agent_roles.terminal", logging.DEBUG)
    logger.addHandler(_Lines(context.logger_config["events"]))
    return logger
