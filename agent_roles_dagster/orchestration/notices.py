"""What somebody is told without looking: what a run's events say went wrong, and how it is posted.

A line begins with how bad it is and the day, says what happened and what that left unchanged, and
ends with the next step. A text of our own is passed on; of any other error only its kind, as its
text may quote a record.
"""

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from http.client import HTTPException

import dagster as dg
from dagster._core.errors import DagsterAssetCheckFailedError
from dagster._core.execution.plan.objects import StepFailureData
from dagster_shared.error import SerializableErrorInfo

from agent_roles_dagster.display import in_chat
from agent_roles_dagster.engines.errors import JavaNotFound, SailError
from agent_roles_dagster.orchestration import checks
from agent_roles_dagster.orchestration.failures import outcome_of
from agent_roles_dagster.outcomes import DayRefused
from agent_roles_dagster.postgres.connection import NotReachable, Refused
from agent_roles_dagster.settings import InvalidSetting

_MOST = 3000
# Days that a notice names of those with the same trouble.
_NAMED = 40
_PATIENCE = 10
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


# The errors whose texts are made to be told.
_OURS = tuple(
    map(
        _begin,
        (*DayRefused.kinds, InvalidSetting, JavaNotFound, NotReachable, Refused, SailError),
    )
)
ERROR, WARNING = "ERROR", "WARNING"
DIED = (
    "the run's process is gone: it was killed, or its machine ran out of memory or went down. Each"
    " table is as before or as after. Materialise the day again."
)
# What a failed check leaves, and the next step, where its own description does not say that.
_APPLIED_NOT = (
    "The day is not applied to agent_role_mapping. Materialise the day again, which mends its rows."
)
_NEXT = {
    **dict.fromkeys(checks.BLOCKING, _APPLIED_NOT),
    "no_invalid_rows": "The valid rows went on. Look at the refused ones on the page of"
    " agent_role_pipeline_errors, and have them corrected where they come from.",
    checks.SUSPECT: "The removals are published. If they are damage, land the whole dump again and"
    " materialise the day.",
    checks.USUAL: "The changes are published. If they are wrong, land the right dump and"
    " materialise the day.",
    "observed_at_rises": "The days count in the order of their names. If the times are wrong,"
    " correct observed_at in the manifest and materialise the day.",
}
_AS_BEFORE = " Nothing was changed in any table. Mend that, and materialise the day again."
_AGAIN = " No table has half of the day. Materialise the day again once"
# Errors of PostgreSQL's that somebody can do something about, by psycopg's names for them.
_OF_POSTGRES = {
    "DiskFull": f"PostgreSQL has no space left on its disk.{_AGAIN} there is some.",
    "InsufficientPrivilege": "PostgreSQL does not allow what the run needs; the run's log says of"
    " which table. Run sql/schema/010_schema.sql and sql/schema/015_roles.sql with psql as the"
    " tables' owner, as after every update, and materialise the day again.",
    "OutOfMemory": f"PostgreSQL has no memory left.{_AGAIN} it has.",
    **dict.fromkeys(
        ("AdminShutdown", "CannotConnectNow", "CrashShutdown", "OperationalError"),
        f"the connection to PostgreSQL was lost, several times.{_AGAIN} the server is back.",
    ),
}
_OF_CHECKS = _begin(DagsterAssetCheckFailedError)


class NotDelivered(Exception):
    """The webhook did not take a notice. Its text does not name the webhook, which is a secret."""


def what_went_wrong(sync_day: str, events: Iterable[dg.DagsterEvent]) -> list[str]:
    """A line for each step and each check of a run that failed; none if all went well."""
    found = list(events)
    planned = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
    assets: dict[str | None, list[str]] = {}
    for event in found:
        if event.event_type == planned and event.asset_key:
            assets.setdefault(event.step_key, []).append(event.asset_key.to_user_string())
    lines = [line for event in found for line in _lines(sync_day, event, assets)]
    kinds = {event.event_type for event in found}
    if dg.DagsterEventType.RUN_FAILURE in kinds and dg.DagsterEventType.STEP_FAILURE not in kinds:
        lines.append(f"{ERROR} {sync_day}: {DIED}")
    return lines


def _lines(
    day: str, event: dg.DagsterEvent, assets: Mapping[str | None, list[str]]
) -> Iterator[str]:
    data = event.event_specific_data
    if isinstance(data, dg.AssetCheckEvaluation):
        # The step that refuses a day has a line of its own.
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
        said = f"{name}, of which the run's log has more.{_AGAIN} its cause is gone."
    # The checks have lines of their own.
    if said:
        yield f"{what}{kind}: {said}"


def sentence(data: StepFailureData) -> str | None:
    """What is made to be told of a failure; empty if checks tell it, None if nothing is."""
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
    """The error of ours that is behind this one, or else the first of all."""
    while error.cause and not error.message.startswith((*_OURS, _OF_CHECKS)):
        error = error.cause
    return error


def overdue(newest: str | None, waited: timedelta, fresh_hours: float) -> str | None:
    """What to say when no other day has landed for `waited`; None within the limit, 0 for none."""
    if not fresh_hours or waited <= timedelta(hours=fresh_hours):
        return None
    hours = waited.total_seconds() / 3600
    than = f"; the newest is {newest}" if newest else ""
    return (
        f"{WARNING} No new day has landed for {hours:,.0f} hours{than}. The limit,"
        f" AGENT_ROLES_FRESH_HOURS, is {fresh_hours:g}. The tables are as the newest day left them."
        " See whether the source still writes its dumps, and whether the sensor landed_sync_days"
        " is on and does not fail."
    )


def gathered(lines: Iterable[str]) -> str:
    """The lines of many days' runs in one notice: those that differ only in the day are one."""
    alike: dict[tuple[str, str], list[str]] = {}
    for line in lines:
        severity, _, rest = line.partition(" ")
        day, _, text = rest.partition(": ")
        days = alike.setdefault((severity, re.sub(rf"\b{re.escape(day)}\b", "<day>", text)), [])
        if day not in days:
            days.append(day)
    told = []
    for (severity, text), days in sorted(alike.items(), key=lambda each: each[0][0]):
        exact = text.replace("<day>", days[0]) if len(days) == 1 else text
        more = f" and {len(days) - _NAMED:,} more" if len(days) > _NAMED else ""
        told.append(f"{severity} {', '.join(days[:_NAMED])}{more}: {exact}")
    number = len({day for days in alike.values() for day in days})
    told = [f"{number:,} days need a look.", *told] if number > 1 else told
    shown = list(told)
    while len(shown) > 2 and len("\n".join(shown)) > _MOST - 500:
        shown.pop()
    ending = [f"and {len(told) - len(shown):,} sentences more."] if len(told) > len(shown) else []
    return "\n".join([*shown, *ending])


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST would go on as a GET, without the notice."""

    def redirect_request(self, *_: object) -> None:
        return None


def post(url: str, text: str, link: str | None = None) -> None:
    """Post a notice to a webhook, as the JSON that chat services take: {"text": ...}.

    Args:
        link: an address of our own, which follows the text as it is.

    Raises:
        NotDelivered: it can't be reached, or answers with an error.
    """
    # Cut where no escape is cut through.
    shown = re.sub(r"&[^;]*\Z", "", in_chat(text)[:_MOST])
    body = json.dumps({"text": f"{shown}\n{link}" if link else shown}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=_PATIENCE):
            return
    except urllib.error.HTTPError as error:
        reason = f"it answered {error.code}"
    except (OSError, ValueError, HTTPException) as error:
        reason = f"it can't be reached ({type(getattr(error, 'reason', error)).__name__})"
    # Without the original, whose text and traceback may name the address.
    raise NotDelivered(
        f"AGENT_ROLES_WEBHOOK_URL did not take a notice: {reason}. It is tried again."
    ) from None
