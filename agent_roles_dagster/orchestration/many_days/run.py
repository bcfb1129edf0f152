"""Many days in one run: what has landed and is not staged as it landed, in the days' own order.

It is an op and not a run over several partitions, which Dagster would take in the order in which
the days were registered. For each day it reports what the day's own run would have reported.

https://docs.dagster.io/guides/build/ops
"""

import math
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from typing import Any

import dagster as dg
from dagster._core.definitions.data_version import (
    DATA_VERSION_IS_USER_PROVIDED_TAG,
    DATA_VERSION_TAG,
)
from dagster._core.event_api import PartitionKeyFilter
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster_pyspark import LazyPySparkResource
from pydantic import Field

from agent_roles_dagster.engines.start import Start, started
from agent_roles_dagster.landing.arrival import Arrival, look_at
from agent_roles_dagster.landing.days import landed_days, landed_sentence, require_landed
from agent_roles_dagster.landing.find import find_dump
from agent_roles_dagster.landing.seal import seal
from agent_roles_dagster.orchestration import checks, reports
from agent_roles_dagster.orchestration.assets import landed_dump, raw_roles
from agent_roles_dagster.orchestration.checks.history import passing_again
from agent_roles_dagster.orchestration.failures import failure
from agent_roles_dagster.orchestration.landing_metadata import what_landed
from agent_roles_dagster.orchestration.partitions import SYNC_DAY
from agent_roles_dagster.orchestration.resources import AgentRolesResource
from agent_roles_dagster.orchestration.retries import retried_if_lost
from agent_roles_dagster.orchestration.stale_reports import refresh
from agent_roles_dagster.orchestration.steps import apply_and_report, read_day, stage_and_report
from agent_roles_dagster.outcomes import (
    ChecksFailed,
    InvalidLoad,
    InvalidSyncDay,
    NotRead,
    Unreadable,
)
from agent_roles_dagster.postgres.arrow import connections_kept
from agent_roles_dagster.postgres.connection import connect, connection_kept
from agent_roles_dagster.postgres.sql_files import rows_of_file
from agent_roles_dagster.sync_days import day_number

Event = dg.AssetMaterialization | dg.AssetObservation | dg.AssetCheckEvaluation
Result = Event | dg.MaterializeResult[None] | dg.AssetCheckResult
_PROGRESS_EVERY = 10.0
_NAMED = 5
# A day that is done sooner logs nothing of its own: nobody would read a year of them.
_QUICK = 2.0


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


@dataclass
class _SparingLog:
    """A run's log without the lines of a day that is done quickly."""

    log: Any
    since: float = field(default_factory=time.monotonic)

    def info(self, text: str, **more: Any) -> None:
        if time.monotonic() - self.since >= _QUICK:
            self.log.info(text, **more)

    def warning(self, text: str, **more: Any) -> None:
        self.log.warning(text, **more)

    def error(self, text: str, **more: Any) -> None:
        self.log.error(text, **more)


@dataclass(frozen=True)
class _Day:
    """One day of the run, in place of the context that a run of its own would have."""

    partition_key: str
    run_id: str
    instance: dg.DagsterInstance
    log: _SparingLog


class _Progress:
    """What was loaded and what was not, and how far the run is."""

    def __init__(self, log: Any, days: Sequence[str], unchanged: int) -> None:
        self.loaded: list[str] = []
        self.refused: dict[str, tuple[str, str]] = {}
        self.warned: Counter[str] = Counter()
        self._log = log
        self._days = days
        self._unchanged = unchanged
        self._began = time.monotonic()
        self._told = self._began - _PROGRESS_EVERY

    def tell(self, day: str, said: str) -> None:
        """Log a line about the day that was just done, unless there was one a moment ago."""
        now = time.monotonic()
        done = len(self.loaded) + len(self.refused)
        left = len(self._days) - done
        if left and now - self._told < _PROGRESS_EVERY:
            return
        self._told = now
        each = (now - self._began) / done
        until = f", {_about(each * left)} left" if left else ""
        self._log.info(
            f"day {done:,} of {len(self._days):,} ({day}): {said}; {each:.1f} s a day{until}"
        )

    def summary(self) -> str:
        """What was loaded, what was not, and why."""
        kept = f" {self._unchanged:,} more were staged as they landed." if self._unchanged else ""
        said = [
            f"Loaded {len(self.loaded):,} of {len(self._days):,} days{_span(self.loaded)}.{kept}"
        ]
        said += [f"{day} ({outcome}): {text}" for day, (outcome, text) in self.refused.items()]
        if left := self.left():
            said.append(f"Not reached: {len(left):,} days{_span(left)}.")
        said += [f"{check} warns on {days:,} of them." for check, days in self.warned.items()]
        return "\n".join(said)

    def left(self) -> list[str]:
        """The days that the run did not reach."""
        done = {*self.loaded, *self.refused}
        return [day for day in self._days if day not in done]

    def metadata(self) -> dict[str, Any]:
        """The same for the run's page, every day by its name."""
        return {
            "loaded": len(self.loaded),
            "staged as they landed": self._unchanged,
            "refused": "\n".join(f"{day}: {why}" for day, (why, _) in self.refused.items()),
            "days loaded": ", ".join(self.loaded),
            "days not reached": ", ".join(self.left()),
        }


def run_config(
    *,
    from_: str | None = None,
    to: str | None = None,
    days: Iterable[str] = (),
    again: bool = False,
    on_refused: str = "stop",
    accept_removals: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The job's run config, as `LoadConfig` describes it."""
    given = {
        "from": from_,
        "to": to,
        "days": list(days),
        "again": again,
        "on_refused": OnRefused(on_refused).name,
        "accept_removals": dict(accept_removals or {}),
    }
    config = {name: value for name, value in given.items() if value is not None}
    return {"ops": {"load_days": {"config": config}}}


@dg.op(
    # The same pool as for staging one day: such a run waits for this one, or this one for it.
    pool="stage_agent_roles",
    out=dg.Out(dg.Nothing),
    description="Stages and applies, day by day in their own order, what has landed and is not"
    " staged as it landed. Each day is read, guarded, checked and reported as by a run of its own.",
)
@retried_if_lost
def load_days(
    context: dg.OpExecutionContext,
    config: LoadConfig,
    agent_roles: AgentRolesResource,
    pyspark: LazyPySparkResource,
) -> Iterator[Event | dg.Output[None]]:
    """Fails if a day is refused: at once or in the end, as the config says."""
    settings, url = agent_roles.settings(), agent_roles.database_url()
    chosen = _chosen(config, settings.landing)
    # In their own order. A day that is registered already stays where it is.
    context.instance.add_dynamic_partitions(SYNC_DAY, chosen)
    unchanged = list(_as_they_landed(context, settings.landing, url, chosen))
    reported = context.instance.event_log_storage.get_latest_tags_by_partition(
        landed_dump.key,
        dg.DagsterEventType.ASSET_MATERIALIZATION,
        [DATA_VERSION_TAG],
        asset_partitions=chosen,
    )
    fingerprints = {day: tags[DATA_VERSION_TAG] for day, tags in reported.items()}
    to_load = [day for day in chosen if config.again or day not in unchanged]
    progress = _Progress(context.log, to_load, len(chosen) - len(to_load))
    run = _Run(context, agent_roles, config, progress)
    # Without DAGSTER_HOME, no report is kept, so days that other runs loaded are not reported.
    if os.environ.get("DAGSTER_HOME"):
        for day in unchanged:
            if day not in to_load and not _is_reported(context.instance, day):
                yield from run.report(day, fingerprints.get(day))
    try:
        with ExitStack() as opened:
            opened.enter_context(connections_kept())
            opened.enter_context(_event_log_open(context))
            engine = cache(lambda: opened.enter_context(started(pyspark, settings)))
            for day in to_load:
                # Not for longer: each day finds out anew whether the tables are this version's.
                with connection_kept():
                    yield from run.load(day, fingerprints.get(day), lambda: nullcontext(engine()))
                if progress.refused and config.on_refused is OnRefused.stop:
                    break
        # Also what an earlier try of this run, or one that was killed, did not come to report.
        yield from run.report_others((progress.loaded or chosen)[-1])
    except BaseException:
        context.log.error(progress.summary())
        raise
    if progress.refused:
        outcomes = {outcome for outcome, _ in progress.refused.values()}
        raise dg.Failure(
            f"{progress.summary()}\nEach day that was loaded is whole. Once the others are"
            " corrected or accepted, run the job again: it loads what is left.",
            {"outcome": ", ".join(sorted(outcomes)), **progress.metadata()},
            allow_retries=False,
        )
    context.log.info(progress.summary())
    yield dg.Output(None, metadata=progress.metadata())


def _chosen(config: LoadConfig, landing: str) -> list[str]:
    """The landed days that the config asks for, in their order.

    Raises:
        dg.Failure: it asks for what can't be, or for none; no table was changed.
    """
    landed = landed_days(landing)
    try:
        if config.days and (config.from_ or config.to):
            raise InvalidSyncDay("days names the days, so from and to can't be given, too")
        for day in config.days:
            require_landed(landing, day)
        first = day_number(config.from_) if config.from_ else 0
        last = day_number(config.to) if config.to else math.inf
        if first > last:
            raise InvalidSyncDay(f"from is {config.from_!r}, which comes after {config.to!r}")
        chosen = [day for day in landed if first <= day_number(day) <= last]
        if config.days:
            chosen = [day for day in landed if day in config.days]
        if not chosen:
            raise InvalidSyncDay(f"there is no day to load. {landed_sentence(landing)}")
        for day, reason in config.accept_removals.items():
            if day not in chosen:
                raise InvalidSyncDay(
                    f"accept_removals names {day!r}, which is none of the days to load"
                )
            if not reason.strip():
                raise InvalidSyncDay(f"accept_removals gives no reason for {day}")
    except InvalidSyncDay as error:
        raise failure(InvalidLoad(str(error))) from None
    return chosen


def _as_they_landed(
    context: dg.OpExecutionContext, landing: str, url: str, days: Sequence[str]
) -> Iterator[str]:
    """Those of the days that are staged and applied, and whose dump is still the same."""
    with connect(url) as connection:
        rows = rows_of_file(connection, "reports/staged_days")
    staged = {row["sync_day"]: row for row in rows if row["is_whole"]}
    told = time.monotonic()
    for number, day in enumerate(days, 1):
        if day not in staged:
            continue
        if time.monotonic() - told >= _PROGRESS_EVERY:
            told = time.monotonic()
            context.log.info(f"day {number:,} of {len(days):,} compared with what is staged")
        with suppress(Unreadable):  # It is refused when it is its turn.
            dump = find_dump(landing, day)
            observed_at = dump.observed_at or staged[day]["observed_at"]
            if (seal(dump), observed_at) == (staged[day]["digest"], staged[day]["observed_at"]):
                yield day


def _is_reported(instance: dg.DagsterInstance, day: str) -> bool:
    """Whether a run told all of the day; one that was killed may not have come to the end."""
    key = checks.ON_MAPPING[-1].key
    found = instance.event_log_storage.get_latest_asset_check_execution_by_key(
        [key], PartitionKeyFilter(key=day)
    )
    return key in found and found[key].evaluation is not None


@contextmanager
def _event_log_open(context: dg.OpExecutionContext) -> Iterator[None]:
    """Keep Dagster's event log open, where that is in SQLite.

    Dagster opens it anew for each event. The last connection that closes writes the whole log back,
    which takes more than half of the time of a small day.
    """
    storage: Any = context.instance.event_log_storage
    shards = [INDEX_SHARD_NAME, context.run_id]
    with ExitStack() as opened:
        for shard in shards if isinstance(storage, SqliteEventLogStorage) else ():
            kept = sqlite3.connect(storage.path_for_shard(shard))
            opened.enter_context(closing(kept))
            kept.execute("SELECT count(*) FROM sqlite_master").fetchall()  # it opens the file then
        yield


class _Run:
    """Loads day after day, and reports each as a run of its own would."""

    def __init__(
        self,
        context: dg.OpExecutionContext,
        agent_roles: AgentRolesResource,
        config: LoadConfig,
        progress: _Progress,
    ) -> None:
        self._context = context
        self._agent_roles = agent_roles
        self._config = config
        self._progress = progress

    def load(self, day: str, known: str | None, engine: Start) -> Iterator[Event]:
        """Stage the day and apply it, or note why not.

        Args:
            known: the fingerprint that the day's folder had when it was last reported as landed.
        """
        of_day = self._of(day)
        # Before it is read: what lands after this is for the sensor to notice.
        seen = self._arrival(day, known)
        said = "not loaded"
        try:
            read = yield from _as_events(day, raw_roles.key, read_day(of_day, self._agent_roles))
            staged = yield from _as_events(
                day,
                checks.STAGED,
                stage_and_report(
                    of_day,
                    self._agent_roles,
                    engine,
                    sealed=read[raw_roles.key]["digest"].value,
                    reason=self._config.accept_removals.get(day, "").strip() or None,
                    approver=None,
                    is_applied_next=True,
                    others=False,
                ),
            )
            pairs, newly, removed = (
                staged[checks.STAGED][name].value
                for name in ("assigned", "newly assigned", "removed")
            )
            said = f"{pairs:,} pairs, {newly + removed:,} changes"
            yield from self._checked(day, checks.STAGED, checks.ERRORS)
            applied = apply_and_report(of_day, self._agent_roles, others=False)
            yield from _as_events(day, checks.MAPPING, applied)
            yield from self._checked(day, checks.MAPPING)
            self._progress.loaded.append(day)
        except dg.Failure as failure:
            outcome = str(failure.metadata["outcome"].value)
            self._refuse(day, outcome, failure.description or "")
        except NotRead as error:
            # The run stops here as a step of the day would, and is retried as that is.
            if self._config.on_refused is OnRefused.stop:
                raise
            self._refuse(day, "not read", str(error))
        yield from self._landing(day, seen)
        self._progress.tell(day, said)

    def _refuse(self, day: str, outcome: str, text: str) -> None:
        self._progress.refused[day] = outcome, text
        if self._config.on_refused is OnRefused.skip:
            self._context.log.warning(text)

    def report(self, day: str, known: str | None) -> Iterator[Event]:
        """What is shown of a day that some other run loaded, in another place."""
        seen = self._arrival(day, known)
        yield from _as_events(day, raw_roles.key, read_day(self._of(day), self._agent_roles))
        with connect(self._agent_roles.database_url()) as connection:
            for asset, metadata in reports.METADATA.items():
                yield dg.AssetMaterialization(
                    asset,
                    partition=day,
                    metadata=metadata(connection, day),
                    tags=_tags(reports.version(connection, day, asset)),
                )
            yield reports.evaluation(day, reports.may_be_staged(connection, day))
        yield from self._checked(day, *reports.METADATA)
        yield from self._landing(day, seen)

    def report_others(self, day: str) -> Iterator[Event]:
        """What the run changed for other days, once for all that it loaded."""
        with connect(self._agent_roles.database_url()) as connection:
            yield from refresh(self._of(day), connection, day, own=[], is_bounded=False)
            yield from passing_again(self._of(day), checks.of_mapping(connection))

    def _of(self, day: str) -> _Day:
        context = self._context
        return _Day(day, context.run_id, context.instance, _SparingLog(context.log))

    def _arrival(self, day: str, known: str | None) -> Arrival | None:
        """What the sensor would see of the day's folder; None if it is known, or can't be."""
        with suppress(Exception):  # Reading the day says what is wrong with it.
            return look_at(self._agent_roles.settings().landing, day, known, time.time())
        return None

    def _landing(self, day: str, seen: Arrival | None) -> Iterator[dg.AssetMaterialization]:
        """What the sensor would report, by a run that keeps the automation from running the day."""
        if seen:
            yield dg.AssetMaterialization(
                landed_dump.key,
                partition=day,
                metadata=what_landed(day, seen, self._agent_roles.settings()),
                tags={DATA_VERSION_TAG: seen.fingerprint},
            )

    def _checked(self, day: str, *assets: dg.AssetKey) -> Iterator[dg.AssetCheckEvaluation]:
        """What the assets' checks find.

        Raises:
            dg.Failure: a check failed that keeps the day from being applied.
        """
        with connect(self._agent_roles.database_url()) as connection:
            found = [each for asset in assets for each in reports.found(connection, day, asset)]
        yield from found
        failed = [each for each in found if not each.passed]
        for each in failed:
            # Of a year's days, many would say the same: how many do is told in the end.
            if each.severity == dg.AssetCheckSeverity.WARN:
                self._progress.warned[each.check_name] += 1
            else:
                self._context.log.warning(f"{day}: {checks.finding(each)}")
        if blocking := [each for each in failed if each.check_name in checks.BLOCKING]:
            names = ", ".join(each.check_name for each in blocking)
            raise failure(
                ChecksFailed(
                    f"{day} is staged and not applied, since these checks failed: {names}."
                    " Materialise the day again."
                )
            )


def _as_events(
    day: str, asset: dg.AssetKey, results: Iterable[Result]
) -> Generator[Event, None, dict[dg.AssetKey, Mapping[str, Any]]]:
    """What an asset's step would report, as events of any run.

    Args:
        asset: the asset of a result that names none.

    Returns:
        The metadata of each asset.
    """
    made = {}
    for result in results:
        if isinstance(result, dg.AssetCheckResult):
            yield reports.evaluation(day, result)
        elif isinstance(result, dg.MaterializeResult):
            event = dg.AssetMaterialization(
                result.asset_key or asset,
                partition=day,
                metadata=result.metadata,
                tags=_tags(result.data_version) if result.data_version else None,
            )
            made[event.asset_key] = event.metadata
            yield event
        else:
            yield result
    return made


def _tags(version: dg.DataVersion) -> Mapping[str, str]:
    return {DATA_VERSION_TAG: version.value, DATA_VERSION_IS_USER_PROVIDED_TAG: "true"}


def _about(seconds: float) -> str:
    """A duration as a person says it."""
    for size, unit in ((3600, "hours"), (60, "minutes")):
        if seconds >= 1.5 * size:
            return f"about {seconds / size:.0f} {unit}"
    return f"about {seconds:.0f} seconds"


def _span(days: Sequence[str]) -> str:
    """Some days by name, many by the first and the last."""
    if not days:
        return ""
    return f": {', '.join(days)}" if len(days) <= _NAMED else f": {days[0]} to {days[-1]}"
