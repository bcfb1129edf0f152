"""The last line that a terminal shows of a run: how it ended."""

from collections.abc import Collection, Iterable
from typing import Any

import dagster as dg

from agent_roles_dagster.orchestration.checks.history import was_so_before
from agent_roles_dagster.postgres.sql_files import Connection, rows_of_file


def failed_checks(
    instance: dg.DagsterInstance, run_id: str, days: Collection[str]
) -> list[dg.AssetCheckEvaluation]:
    """The checks that failed in the run, each once for each day.

    Args:
        days: the days of the run. A result for another day counts only if it is new.
    """
    newest: dict[Any, dg.AssetCheckEvaluation] = {}
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION):
        found = entry.dagster_event.event_specific_data if entry.dagster_event else None
        if isinstance(found, dg.AssetCheckEvaluation):
            newest[found.asset_check_key, found.partition] = found
    return [
        found
        for found in newest.values()
        if not found.passed
        and (found.partition in days or not was_so_before(instance, run_id, found))
    ]


def loaded_days(events: Iterable[dg.DagsterEvent]) -> list[str]:
    """The days that a run of many days loaded, if it went well."""
    for event in events:
        if event.event_type == dg.DagsterEventType.STEP_OUTPUT:
            return str(event.step_output_data.metadata["days loaded"].value).split(", ")
    return []


def errors(failed: Iterable[dg.AssetCheckEvaluation]) -> list[dg.AssetCheckEvaluation]:
    """Those of the failed checks that are more than a warning."""
    return [check for check in failed if check.severity != dg.AssetCheckSeverity.WARN]


def of_staged_day(
    connection: Connection, sync_day: str, failed: Iterable[dg.AssetCheckEvaluation]
) -> str:
    """The line of a day that was staged, such as "day2: 15 assigned, 4 removed; 1 warning"."""
    numbers = "not staged"
    for known in rows_of_file(connection, "reports/shown_day", sync_day=sync_day):
        if known["is_staged"]:
            numbers = f"{known['assigned']:,} assigned, {known['removed']:,} removed"
    return f"{sync_day}: {numbers}; {_counted(failed) or 'no warnings'}"


def of_failed_run(what: str, outcome: str, failed: Iterable[dg.AssetCheckEvaluation]) -> str:
    """The line of a run that failed, such as "day3: unreadable; 1 error"."""
    return f"{what}: {'; '.join(filter(None, (outcome, _counted(failed))))}"


def of_load(failed: Iterable[dg.AssetCheckEvaluation]) -> str:
    """The line of a load that went well, but for these checks: "load: 1 error"."""
    return f"load: {_counted(failed)}"


def _counted(failed: Iterable[dg.AssetCheckEvaluation]) -> str:
    checks = list(failed)
    numbers = {"error": len(errors(checks)), "warning": len(checks) - len(errors(checks))}
    return ", ".join(
        f"{number:,} {name}{'s' * (number != 1)}" for name, number in numbers.items() if number
    )
