"""How a run ended, in a line: the last that a terminal shows of it."""

from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.execution.plan.objects import StepFailureData

from agent_roles_dagster.postgres.sql_files import Connection, rows_of_file


def failed_checks(instance: dg.DagsterInstance, run_id: str) -> list[dg.AssetCheckEvaluation]:
    """The checks that failed in the run, each once for each day."""
    newest: dict[Any, dg.AssetCheckEvaluation] = {}
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION):
        found = entry.dagster_event.event_specific_data if entry.dagster_event else None
        if isinstance(found, dg.AssetCheckEvaluation):
            newest[found.asset_check_key, found.partition] = found
    return [found for found in newest.values() if not found.passed]


def staged(connection: Connection, sync_day: str, failed: Iterable[dg.AssetCheckEvaluation]) -> str:
    """The line of a day that was staged, such as "day2: 15 assigned, 4 removed; 1 warning"."""
    known: Mapping[str, Any] = rows_of_file(connection, "reports/shown_day", sync_day=sync_day)[0]
    numbers = f"{known['assigned']:,} assigned, {known['removed']:,} removed"
    return f"{sync_day}: {numbers}; {_counted(failed) or 'no warnings'}"


def not_done(sync_day: str, why: str, failed: Iterable[dg.AssetCheckEvaluation]) -> str:
    """The line of a day whose run did not succeed, such as "day3: unreadable; 1 error"."""
    return f"{sync_day}: {'; '.join(filter(None, (why, _counted(failed))))}"


def outcome_of(data: StepFailureData) -> str | None:
    """The word for why a day was refused, such as "held"; None for any other failure."""
    failure = data.user_failure_data
    return str(failure.metadata["outcome"].value) if failure and failure.metadata else None


INTERRUPTED = "interrupted"


def why(events: Iterable[dg.DagsterEvent]) -> str:
    """The word for why a run failed: "held", "unreadable", "interrupted", or just "failed"."""
    failures = [event.event_specific_data for event in events]
    found = [data for data in failures if isinstance(data, StepFailureData)]
    if any(map(is_interruption, found)):
        return INTERRUPTED
    return next(filter(None, map(outcome_of, found)), "failed")


def is_interruption(data: StepFailureData) -> bool:
    """Whether the step was ended by a signal, such as Ctrl+C."""
    error = data.error
    while error and error.cls_name != DagsterExecutionInterruptedError.__name__:
        error = error.cause or error.context
    return error is not None


def _counted(failed: Iterable[dg.AssetCheckEvaluation]) -> str:
    are_warnings = [check.severity == dg.AssetCheckSeverity.WARN for check in failed]
    numbers = {"error": are_warnings.count(False), "warning": are_warnings.count(True)}
    return ", ".join(
        f"{number:,} {name}{'s' * (number != 1)}" for name, number in numbers.items() if number
    )
