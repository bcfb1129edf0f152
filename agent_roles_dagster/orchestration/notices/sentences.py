"""What went wrong in a run, in sentences made from its events.

A line begins with the severity and the day. It says what happened and what was left unchanged, and
ends with the next step. The texts of our own errors are passed on. Of any other error only the
kind is told, since its text may quote a record.
"""

from collections.abc import Iterable, Iterator, Mapping

import dagster as dg
from dagster._core.errors import DagsterAssetCheckFailedError
from dagster._core.execution.plan.objects import StepFailureData
from dagster_shared.error import SerializableErrorInfo

from agent_roles_dagster.engines.errors import JavaNotFound, SailError
from agent_roles_dagster.orchestration import checks
from agent_roles_dagster.orchestration.automation import LOAD
from agent_roles_dagster.orchestration.failures import outcome_of
from agent_roles_dagster.outcomes import DayRefused
from agent_roles_dagster.postgres.connection import NotReachable, Refused
from agent_roles_dagster.settings import InvalidSetting

# The kinds of events that `what_went_wrong` reads.
READ = {
    dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
    dg.DagsterEventType.STEP_FAILURE,
    dg.DagsterEventType.ASSET_CHECK_EVALUATION,
    dg.DagsterEventType.RUN_FAILURE,
}


def _begin(error: type[Exception]) -> str:
    """How Dagster's record of such an error begins; the error's text follows."""
    return f"{error.__module__}.{error.__qualname__}: "


# The errors whose texts are for the user.
_OURS = tuple(
    map(
        _begin,
        (*DayRefused.kinds, InvalidSetting, JavaNotFound, NotReachable, Refused, SailError),
    )
)
ERROR, WARNING = "ERROR", "WARNING"
DIED = (
    "the run's process is gone: it was killed, or its machine ran out of memory or went down. Each"
    " table is as before or as after."
)
_RUN_AGAIN = "Materialise the day again."
# What a failed check leaves unchanged, and the next step, if the check itself does not say that.
_APPLIED_NOT = (
    "The day is not applied to agent_role_mapping. Materialise the day again, which mends its rows."
)
_NEXT = {
    **dict.fromkeys(checks.BLOCKING, _APPLIED_NOT),
    "no_invalid_rows": "The valid rows are staged. Look at the invalid ones on the page of"
    " agent_role_pipeline_errors, and have them corrected at their source.",
    checks.SUSPECT: "The removals are published. If they are damage, land the whole dump again and"
    " materialise the day.",
    checks.USUAL: "The changes are published. If they are wrong, land the right dump and"
    " materialise the day.",
    "observed_at_rises": "The days count in the order of their names. If the times are wrong,"
    " correct observed_at in the manifest and materialise the day.",
}
_AS_BEFORE = " Nothing was changed in any table. Mend that, and materialise the day again."
_AGAIN = " No table has half of the day. Materialise the day again once"
# PostgreSQL's errors that a person can do something about, by psycopg's names for them.
_OF_POSTGRES = {
    "DiskFull": f"PostgreSQL has no space left on its disk.{_AGAIN} there is some.",
    "InsufficientPrivilege": "PostgreSQL does not allow what the run needs; the run's log names"
    " the table. Run sql/schema/010_schema.sql and sql/schema/015_roles.sql with psql as the"
    " tables' owner, as after every update, and materialise the day again.",
    "OutOfMemory": f"PostgreSQL has no memory left.{_AGAIN} it has.",
    **dict.fromkeys(
        ("AdminShutdown", "CannotConnectNow", "CrashShutdown", "OperationalError"),
        f"the connection to PostgreSQL was lost, several times.{_AGAIN} the server is back.",
    ),
}
_OF_CHECKS = _begin(DagsterAssetCheckFailedError)


def what_went_wrong(sync_day: str, events: Iterable[dg.DagsterEvent]) -> list[str]:
    """A line for each step and each check that failed in a run."""
    found = list(events)
    planned = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
    assets: dict[str | None, list[str]] = {}
    for event in found:
        if event.event_type == planned and event.asset_key:
            assets.setdefault(event.step_key, []).append(event.asset_key.to_user_string())
    lines = [line for event in found for line in _lines(sync_day, event, assets)]
    kinds = {event.event_type for event in found}
    if dg.DagsterEventType.RUN_FAILURE in kinds and dg.DagsterEventType.STEP_FAILURE not in kinds:
        again = f"Run {LOAD} again: it loads what is left." if sync_day == LOAD else _RUN_AGAIN
        lines.append(f"{ERROR} {sync_day}: {DIED} {again}")
    return lines


def _lines(
    day: str, event: dg.DagsterEvent, assets: Mapping[str | None, list[str]]
) -> Iterator[str]:
    data = event.event_specific_data
    if isinstance(data, dg.AssetCheckEvaluation):
        # The step that refused the day has a line of its own.
        if data.passed or data.asset_check_key == checks.MAY_BE_STAGED.key:
            return
        severity = WARNING if data.severity == dg.AssetCheckSeverity.WARN else ERROR
        found = f"{severity} {data.partition or day}: {checks.finding(data)}"
        yield " ".join(filter(None, (found, _NEXT.get(data.check_name))))
    elif isinstance(data, StepFailureData):
        what = ", ".join(assets.get(event.step_key) or [str(event.step_key)])
        yield from _failure(f"{ERROR} {day}: {what} failed", data)


def _failure(what: str, data: StepFailureData) -> Iterator[str]:
    said = sentence(data)
    outcome = outcome_of(data)
    kind = f" ({outcome})" if outcome else ""
    if said is None:
        name = (data.error and _cause(data.error).cls_name) or "no reason given"
        said = f"{name}. The run's log says more.{_AGAIN} the cause is gone."
    # The checks have lines of their own.
    if said:
        yield f"{what}{kind}: {said}"


def sentence(data: StepFailureData) -> str | None:
    """The failure in a sentence. It is empty if failed checks tell it, and None if nothing does."""
    if data.user_failure_data is not None:
        return data.user_failure_data.description
    if data.error is None:
        return None
    error = _cause(data.error)
    for name in _OURS:
        if error.message.startswith(name):
            said = error.message.removeprefix(name).strip()
            return said if "Nothing was changed" in said else f"{said.rstrip('.')}.{_AS_BEFORE}"
    return "" if error.message.startswith(_OF_CHECKS) else _OF_POSTGRES.get(error.cls_name or "")


def _cause(error: SerializableErrorInfo) -> SerializableErrorInfo:
    """Our own error that caused this one, or else the first cause."""
    while error.cause and not error.message.startswith((*_OURS, _OF_CHECKS)):
        error = error.cause
    return error
