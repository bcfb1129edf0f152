"""The sensor that registers and reports each sync day as it lands."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import takewhile

import dagster as dg
from dagster._core.definitions.data_version import DATA_VERSION_TAG

from agent_roles_dagster.landing.arrival import Arrival, days_to_look_at, look_at
from agent_roles_dagster.landing.days import landed_days, landed_sentence
from agent_roles_dagster.landing.files import shown
from agent_roles_dagster.orchestration.assets import landed_dump, raw_roles
from agent_roles_dagster.orchestration.automation import LOAD, LOOK_EVERY
from agent_roles_dagster.orchestration.jobs import load_landed_days
from agent_roles_dagster.orchestration.landing_metadata import what_landed
from agent_roles_dagster.orchestration.partitions import SYNC_DAY
from agent_roles_dagster.orchestration.sensors.backlog import find_backlog, request_load
from agent_roles_dagster.settings import Settings
from agent_roles_dagster.sync_days import day_number

_SECONDS = 30


@dg.sensor(
    job=load_landed_days,
    description="Registers each sync day once its dump is complete, and reports it as landed;"
    " again whenever it lands with other content. If automation is on and many days were never"
    f" run, one run of {LOAD} loads them.",
    minimum_interval_seconds=LOOK_EVERY,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def landed_sync_days(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Compare the landing folder with what was reported before, in the days' order."""
    settings = Settings.from_env()
    instance = context.instance
    days = landed_days(settings.landing)
    registered = _without_those_gone(instance, days)
    backlog, why_waiting = find_backlog(instance, settings, days)
    may_load = bool(backlog) and not why_waiting
    turn = int(time.time()) // LOOK_EVERY
    chosen, in_turn = days_to_look_at(days, registered, context.cursor, turn)
    if may_load:
        chosen += [day for day in backlog if day not in chosen]
    found = _look(settings, chosen, _reported(instance, chosen, registered))
    # Not by the sensor's result: Dagster would report the days before it registers them.
    instance.add_dynamic_partitions(SYNC_DAY, sorted(found.complete, key=day_number))
    events: list[dg.AssetObservation | dg.AssetMaterialization] = []
    request = None
    if may_load and (ready := found.complete_at_the_start(backlog)):
        request, why_waiting, events = request_load(instance, ready)
    elif may_load:
        why_waiting = found.why_none_is_complete(backlog)
    landed = {day: seen for day, seen in found.complete.items() if day not in backlog}
    events += [
        dg.AssetMaterialization(
            landed_dump.key,
            partition=day,
            metadata=what_landed(day, landed[day], settings),
            tags={DATA_VERSION_TAG: landed[day].fingerprint},
        )
        for day in sorted(landed, key=day_number)
    ]
    sentences = [f"{', '.join(landed)} landed"] if landed else []
    if backlog:
        sentences.append(f"{len(backlog):,} days wait for {LOAD}: {why_waiting}")
    sentences += found.sentences()
    if not sentences:  # If there is no day, the landing folder itself may not be there.
        nothing = f"Nothing new under {shown(settings.landing)}"
        sentences = [nothing if days else landed_sentence(settings.landing)]
    return dg.SensorResult(
        # Dagster accepts no skip reason together with a request.
        run_requests=[request] if request else None,
        skip_reason=None if request else "; ".join(sentences),
        asset_events=events,
        cursor=next((day for day in reversed(found.looked_at) if day in in_turn), context.cursor),
    )


@dataclass
class _Found:
    """What a tick found in the folders of the days.

    Attributes:
        looked_at: the days that there was time for, in this order.
        complete: the days that have landed, and are new or have changed.
        landing: the days that are still landing.
        failed: what is wrong with the days that can't be looked into.
        is_cut_short: whether there was no time for the other days.
    """

    looked_at: list[str] = field(default_factory=list)
    complete: dict[str, Arrival] = field(default_factory=dict)
    landing: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    is_cut_short: bool = False

    def complete_at_the_start(self, days: list[str]) -> dict[str, str]:
        """The days before the first that is still landing, with their fingerprints.

        A day that is gone or can't be looked into is left out, and stops nothing.
        """
        done = {*self.looked_at}.difference(self.landing)
        reached = takewhile(lambda day: day in done, days)
        return {day: self.complete[day].fingerprint for day in reached if day in self.complete}

    def why_none_is_complete(self, days: list[str]) -> str:
        """Why `complete_at_the_start` finds none of the days."""
        done = {*self.looked_at}.difference(self.landing)
        stopped_at = next((day for day in days if day not in done), None)
        if stopped_at is None:
            return "none of them can be looked into"
        landing = "the first of them is still landing"
        return landing if stopped_at in self.landing else "this tick had no time for them"

    def sentences(self) -> list[str]:
        landing = [f"{', '.join(self.landing)} still landing"] if self.landing else []
        return [*landing, *self.failed, *["the others at the next tick"] * self.is_cut_short]


def _look(settings: Settings, days: Iterable[str], reported: Mapping[str, str]) -> _Found:
    """Look into the days' folders, as long as there is time."""
    found = _Found()
    now = time.time()
    until = time.monotonic() + _SECONDS
    for day in days:
        if time.monotonic() > until:
            found.is_cut_short = True  # Dagster ends a tick that takes a minute.
            break
        found.looked_at.append(day)
        try:
            arrival = look_at(settings.landing, day, reported.get(day), now)
        except Exception as error:  # The other days do not wait for this one.
            found.failed.append(f"{day} can't be looked into ({type(error).__name__})")
            continue
        if arrival and arrival.is_complete(now, settings.settle_seconds):
            found.complete[day] = arrival
        elif arrival:
            found.landing.append(day)
    return found


def _reported(
    instance: dg.DagsterInstance, days: list[str], registered: set[str]
) -> dict[str, str]:
    """The fingerprints with which days were last reported as landed.

    A day that is not registered is new, even if it was reported before.
    """
    tags = instance.event_log_storage.get_latest_tags_by_partition(
        landed_dump.key,
        dg.DagsterEventType.ASSET_MATERIALIZATION,
        [DATA_VERSION_TAG],
        asset_partitions=days,
    )
    return {day: tags[day][DATA_VERSION_TAG] for day in registered.intersection(tags)}


def _without_those_gone(instance: dg.DagsterInstance, days: list[str]) -> set[str]:
    """The registered days. A day whose folder is gone is deregistered, if it was never run."""
    registered = set(instance.get_dynamic_partitions(SYNC_DAY))
    # If no folder is there at all, the landing folder itself may be unavailable.
    gone = registered.difference(days) if days else set()
    if gone:
        gone -= instance.get_materialized_partitions(raw_roles.key)
    for day in gone:
        instance.delete_dynamic_partition(SYNC_DAY, day)
    return registered - gone
