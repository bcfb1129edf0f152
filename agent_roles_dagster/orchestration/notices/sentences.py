"""What went wrong in a run, in sentences made from its events.

A line begins with the severity and the day, or the job if that is not of one day. It says what
happened and what was left unchanged, and ends with the next step. The texts of our own errors are
passed on. Of any other error, only the kind is passed on, since its text may quote a record.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import dagster as dg
from dagster._core.errors import DagsterAssetCheckFailedError
from dagster._core.execution.plan.objects import StepFailureData, UserFailureData
from dagster_shared.error import SerializableErrorInfo

from agent_roles_dagster.engines.errors import JavaNotFound, SailError
from agent_roles_dagster.orchestration import checks
from agent_roles_dagster.orchestration.automation import LOAD, TAKE_BACK
from agent_roles_dagster.orchestration.failures import outcome_of
from agent_roles_dagster.outcomes import ChecksFailed, DayRefused
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
# What a run without a partition is about.
NO_DAY = "no day"


class _Ending(NamedTuple):
    """What a failed run left, and the next step."""

    left: str
    again: str


_OF_A_DAY = _Ending("No table has half of the day.", "materialise the day again.")
_ENDINGS = {
    LOAD: _Ending("Each loaded day is whole.", f"run {LOAD} again: it loads what is left."),
    TAKE_BACK: _Ending(
        "Each table is as before or as after.",
        f"run {TAKE_BACK} again. If it finds that the day is not staged, the day is taken back:"
        " materialise the newest staged day, and the mapping follows.",
    ),
    NO_DAY: _Ending("No table has half of a day.", "run it again with a day as its partition."),
}
# The first line about a load that went on, or stopped, after refused days.
_NOT_ALL_LOADED = (
    f"{ERROR} {LOAD}: some days were not loaded. {_ENDINGS[LOAD].left} Once the others are"
    f" corrected or accepted, {_ENDINGS[LOAD].again}"
)
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
# PostgreSQL's errors that a person can do something about, by psycopg's names for them: what
# happened, and what comes before the next step.
_OF_POSTGRES = {
    "DiskFull": ("PostgreSQL has no space left on its disk.", "Once there is some,"),
    "InsufficientPrivilege": (
        "PostgreSQL does not allow what the run needs; the run's log names the table.",
        "Run sql/schema/010_schema.sql and sql/schema/015_roles.sql with psql as the tables' owner,"
        " as after every update. Then",
    ),
    "OutOfMemory": ("PostgreSQL has no memory left.", "Once it has,"),
    **dict.fromkeys(
        ("AdminShutdown", "CannotConnectNow", "CrashShutdown", "OperationalError"),
        ("the connection to PostgreSQL was lost.", "Once the server is back,"),
    ),
}
# What our own errors say for a run of one day.
_ADVICE = re.compile(
    "|".join(
        [
            *(f" {re.escape(kind.advice)}" for kind in DayRefused.kinds if kind.advice),
            r" Nothing was changed( in any table)?\.",
            ",? and materialise the day again",
        ]
    )
)
_OF_CHECKS = _begin(DagsterAssetCheckFailedError)


def what_went_wrong(
    about: str,
    events: Iterable[dg.DagsterEvent],
    is_news: Callable[[dg.AssetCheckEvaluation], bool] = lambda _: True,
) -> list[str]:
    """A line for each step, each day of a load and each check that failed in a run.

    Args:
        about: the run's day; the name of its job if that is not of one day; or NO_DAY.
        is_news: whether a failed check has a line.
    """
    found = list(events)
    planned = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
    assets: dict[str | None, list[str]] = {}
    for event in found:
        if event.event_type == planned and event.asset_key:
            assets.setdefault(event.step_key, []).append(event.asset_key.to_user_string())
    checked: list[dg.AssetCheckEvaluation] = []
    lines: list[str] = []
    for event in found:
        data = event.event_specific_data
        if isinstance(data, dg.AssetCheckEvaluation):
            checked.append(data)
        elif isinstance(data, StepFailureData):
            what = ", ".join(sorted(assets.get(event.step_key) or [str(event.step_key)]))
            lines += _failure(about, "the run" if about in (LOAD, TAKE_BACK) else what, data, found)
    kinds = {event.event_type for event in found}
    if dg.DagsterEventType.RUN_FAILURE in kinds and dg.DagsterEventType.STEP_FAILURE not in kinds:
        again = _ENDINGS.get(about, _OF_A_DAY).again
        lines.append(f"{ERROR} {about}: {DIED} {again[0].upper()}{again[1:]}")
    # The step that refused the day has a line of its own.
    failed = (
        each
        for each in checked
        if not each.passed and each.asset_check_key != checks.MAY_BE_STAGED.key
    )
    return [*lines, *(_check(about, each) for each in failed if is_news(each))]


def _check(about: str, result: dg.AssetCheckEvaluation) -> str:
    severity = WARNING if result.severity == dg.AssetCheckSeverity.WARN else ERROR
    found = f"{severity} {result.partition or about}: {checks.finding(result)}"
    return " ".join(filter(None, (found, _NEXT.get(result.check_name))))


def _failure(
    about: str, what: str, data: StepFailureData, events: Iterable[dg.DagsterEvent]
) -> Iterator[str]:
    failed = data.user_failure_data
    if about == LOAD and failed and "refused" in failed.metadata:
        yield _NOT_ALL_LOADED
        yield from _not_loaded(str(failed.metadata["refused"].value), failed, events)
        return
    said = sentence(data, about)
    outcome = outcome_of(data)
    kind = f" ({outcome})" if outcome else ""
    if said is None:
        name = (data.error and _cause(data.error).cls_name) or "no reason given"
        left, again = _ENDINGS.get(about, _OF_A_DAY)
        said = f"{name}. The run's log says more. {left} Once the cause is gone, {again}"
    # The checks have lines of their own.
    if said:
        yield f"{ERROR} {about}: {what} failed{kind}: {said}"


def _not_loaded(
    refused: str, failed: UserFailureData, events: Iterable[dg.DagsterEvent]
) -> Iterator[str]:
    """A line for each refused day of a load, which has its sentence from the day's own check.

    The load's own line says what was left unchanged, and the next step.
    """
    results = (event.event_specific_data for event in events)
    why = {
        result.partition: result.description
        for result in results
        if isinstance(result, dg.AssetCheckEvaluation)
        and result.asset_check_key == checks.MAY_BE_STAGED.key
        and not result.passed
    }
    in_the_end = (failed.description or "").splitlines()
    for line in refused.splitlines():
        day, _, outcome = line.partition(": ")
        if outcome == ChecksFailed.outcome:  # The checks have lines of their own.
            continue
        begin = f"{day} ({outcome}): "
        told = (each.removeprefix(begin) for each in in_the_end if each.startswith(begin))
        said = why.get(day) or next(told, "The run's log says why.")
        yield f"{ERROR} {day}: not loaded ({outcome}): {_ADVICE.sub('', said)}"


def sentence(data: StepFailureData, about: str) -> str | None:
    """The failure in a sentence. It is empty if failed checks tell it, and None if nothing does.

    Args:
        about: the run's day, or the name of its job.
    """
    if data.user_failure_data is not None:
        return data.user_failure_data.description
    if data.error is None:
        return None
    error = _cause(data.error)
    left, again = _ENDINGS.get(about, _OF_A_DAY)
    for name in _OURS:
        if error.message.startswith(name):
            said = error.message.removeprefix(name).strip()
            if about in _ENDINGS:
                said = _ADVICE.sub("", said)
            elif "Nothing was changed" in said:
                return said
            else:
                left = "Nothing was changed in any table."
            return f"{said.rstrip('.')}. {left} Mend that, and {again}"
    if error.message.startswith(_OF_CHECKS):
        return ""
    if known := _OF_POSTGRES.get(error.cls_name or ""):
        happened, then = known
        return f"{happened} {left} {then} {again}"
    return None


def _cause(error: SerializableErrorInfo) -> SerializableErrorInfo:
    """Our own error that caused this one, or else the first cause."""
    while error.cause and not error.message.startswith((*_OURS, _OF_CHECKS)):
        error = error.cause
    return error
