"""The run config of `load_landed_days`, and the landed days that it asks for."""

import math
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

import dagster as dg
from pydantic import Field

from agent_roles_dagster.landing.days import landed_days, landed_sentence, require_landed
from agent_roles_dagster.outcomes import InvalidLoad, InvalidSyncDay
from agent_roles_dagster.sync_days import day_number


class OnRefused(Enum):
    """What a day that is held or unreadable does to the run."""

    stop = "stop"
    skip = "skip"


class LoadConfig(dg.Config):
    """Run config of `load_landed_days`. Without any, all landed days that are not staged yet."""

    from_: str | None = Field(
        default=None,
        alias="from",
        description="The first day to load, e.g. day1 or 2026-01-01; if not given, the first that"
        " has landed.",
    )
    to: str | None = Field(
        default=None,
        description="The last day to load; if not given, the last that has landed.",
    )
    days: list[str] = Field(
        default=[],
        description="Only these days, instead of from and to. They are loaded in their own order,"
        " not in that of this list.",
    )
    again: bool = Field(
        default=False,
        description="Whether to load the days, too, that are staged as they landed. It mends rows"
        " that somebody changed.",
    )
    on_refused: OnRefused = Field(
        default=OnRefused.stop,
        description="stop: a day that is held or unreadable ends the run there. skip: the run goes"
        " on with the next day, which is then compared with the last one that was staged. Either"
        " way the run fails in the end and lists what was not loaded, and why.",
    )
    accept_removals: dict[str, str] = Field(
        default={},
        description="Why removals beyond the guard's limits are right, by day: {day7: the tenant"
        " was closed}. The reason is kept with the day.",
    )
    approver: str | None = Field(
        default=None, description="Who approved that: a name, an address or a ticket."
    )


def run_config(
    *,
    from_: str | None = None,
    to: str | None = None,
    days: Iterable[str] = (),
    again: bool = False,
    on_refused: str = "stop",
    accept_removals: Mapping[str, str] | None = None,
    approver: str | None = None,
) -> dict[str, Any]:
    """The job's run config, as `LoadConfig` describes it."""
    given = {
        "from": from_,
        "to": to,
        "days": list(days),
        "again": again,
        "on_refused": OnRefused(on_refused).name,
        "accept_removals": dict(accept_removals or {}),
        "approver": approver,
    }
    config = {name: value for name, value in given.items() if value is not None}
    return {"ops": {"load_days": {"config": config}}}


def chosen_days(config: LoadConfig, landing: str) -> list[str]:
    """The landed days that the config asks for, in their order.

    Raises:
        InvalidLoad: it asks for what can't be, or for none.
    """
    try:
        return _chosen(config, landing, landed_days(landing))
    except InvalidSyncDay as error:
        raise InvalidLoad(str(error)) from None


def _chosen(config: LoadConfig, landing: str, landed: list[str]) -> list[str]:
    if config.days and (config.from_ or config.to):
        raise InvalidLoad("days names the days, so from and to can't be given, too")
    for day in config.days:
        require_landed(landing, day)
    first = day_number(config.from_) if config.from_ else 0
    last = day_number(config.to) if config.to else math.inf
    if first > last:
        raise InvalidLoad(f"from is {config.from_!r}, which comes after {config.to!r}")
    chosen = [day for day in landed if first <= day_number(day) <= last]
    if config.days:
        chosen = [day for day in landed if day in config.days]
    if not chosen:
        raise InvalidLoad(f"there is no day to load. {landed_sentence(landing)}")
    for day, reason in config.accept_removals.items():
        if day not in chosen:
            raise InvalidLoad(f"accept_removals names {day!r}, which is none of the days to load")
        if not reason.strip():
            raise InvalidLoad(f"accept_removals gives no reason for {day}")
    return chosen
