"""What a run of many days does for each of them, and what it reports, as a run of its own would."""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
from dagster._core.definitions.data_version import (
    DATA_VERSION_IS_USER_PROVIDED_TAG,
    DATA_VERSION_TAG,
)

from agent_roles_dagster.engines.start import Start
from agent_roles_dagster.landing.arrival import Arrival, look_at
from agent_roles_dagster.orchestration import checks, reports
from agent_roles_dagster.orchestration.assets import landed_dump, raw_roles
from agent_roles_dagster.orchestration.checks.history import passing_again
from agent_roles_dagster.orchestration.checks.unreached import settled
from agent_roles_dagster.orchestration.failed_partitions import show_as_failed
from agent_roles_dagster.orchestration.failures import failure
from agent_roles_dagster.orchestration.landing_metadata import what_landed
from agent_roles_dagster.orchestration.many_days.config import LoadConfig, OnRefused
from agent_roles_dagster.orchestration.many_days.progress import Progress
from agent_roles_dagster.orchestration.resources import AgentRolesResource
from agent_roles_dagster.orchestration.stale_reports import refresh
from agent_roles_dagster.orchestration.steps import apply_and_report, read_day, stage_and_report
from agent_roles_dagster.outcomes import ChecksFailed, NotRead
from agent_roles_dagster.postgres.connection import connect

Event = dg.AssetMaterialization | dg.AssetObservation | dg.AssetCheckEvaluation
_Result = Event | dg.MaterializeResult[None] | dg.AssetCheckResult
# A day that is done in fewer seconds logs nothing of its own: nobody would read a year of them.
_QUICK = 2.0


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


class DayByDay:
    """Loads day after day, and reports each as a run of its own would."""

    def __init__(
        self,
        context: dg.OpExecutionContext,
        agent_roles: AgentRolesResource,
        config: LoadConfig,
        progress: Progress,
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
        # Before it is read: what lands after this is for the sensor to notice.
        seen = self._arrival(day, known)
        self._progress.current = day
        reported = _Reported(day)
        said = "not loaded"
        try:
            for event in self._load(day, engine, reported):
                reported.note(event)
                yield event
            said = reported.said()
            self._progress.loaded.append(day)
        except dg.Failure as failed:
            outcome = str(failed.metadata["outcome"].value)
            yield from self._refuse(day, outcome, failed.description or "", reported)
        except NotRead as error:
            # The run stops here as a step of the day would, and is retried as that is.
            if self._config.on_refused is OnRefused.stop:
                raise
            yield from self._refuse(day, "not read", str(error), reported)
            seen = None  # The sensor reports it later, and the day's own run has retries.
        self._progress.current = None
        yield from self._landing(day, seen)
        self._progress.day_done(day, said)

    def _load(self, day: str, engine: Start, reported: "_Reported") -> Iterator[Event]:
        of_day = self._of(day)
        reason = self._config.accept_removals.get(day, "").strip() or None
        yield from _as_events(day, raw_roles.key, read_day(of_day, self._agent_roles))
        staged = stage_and_report(
            of_day,
            self._agent_roles,
            engine,
            sealed=reported.metadata[raw_roles.key]["digest"].value,
            reason=reason,
            approver=(self._config.approver or "").strip() or None if reason else None,
            is_applied_next=True,
            others=False,
        )
        yield from _as_events(day, checks.STAGED, staged)
        reported.is_staged = True
        yield from self._checked(day, checks.STAGED, checks.ERRORS)
        applied = apply_and_report(of_day, self._agent_roles, others=False)
        yield from _as_events(day, checks.MAPPING, applied)
        yield from self._checked(day, checks.MAPPING)

    def _refuse(
        self, day: str, outcome: str, text: str, reported: "_Reported"
    ) -> Iterator[dg.AssetCheckEvaluation]:
        """Note why the day was refused, and show it as its own run would have left it."""
        self._progress.refused[day] = outcome, text
        if self._config.on_refused is OnRefused.skip:
            self._context.log.warning(f"{day} is left out ({outcome}); the last lines say why")
        # The run fails in the end.
        assets = {checks.MAPPING} if reported.is_staged else {*reports.METADATA}
        assets |= {raw_roles.key} - reported.metadata.keys()
        show_as_failed(self._context.instance, self._context.run_id, day, sorted(assets))
        keys = {spec.key for group in checks.BY_STEP for spec in group} - reported.checks
        yield from settled(self._of(day), self._agent_roles, {day: keys})

    def report(self, days: Iterable[str], fingerprints: Mapping[str, str]) -> Iterator[Event]:
        """What is shown of days that some other run loaded, in another place."""
        whole: list[dg.AssetCheckResult] = []
        for day in days:
            seen = self._arrival(day, fingerprints.get(day))
            yield from _as_events(day, raw_roles.key, read_day(self._of(day), self._agent_roles))
            with connect(self._agent_roles.database_url()) as connection:
                whole = whole or checks.of_mapping(connection)
                for asset, metadata in reports.METADATA.items():
                    yield dg.AssetMaterialization(
                        asset,
                        partition=day,
                        metadata=metadata(connection, day),
                        tags=_tags(reports.version(connection, day, asset)),
                    )
                    yield from reports.found(connection, day, asset, whole)
                yield reports.evaluation(day, reports.may_be_staged(connection, day))
            yield from self._landing(day, seen)

    def report_others(self, day: str) -> Iterator[Event]:
        """What the run changed for other days, once for all that it loaded."""
        with connect(self._agent_roles.database_url()) as connection:
            since = f"run {self._context.run_id[:8]} loaded many days"
            yield from refresh(
                self._of(day), connection, day, own=[], since=since, is_bounded=False
            )
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
            # Of a year's days, many would say the same. The last lines count them.
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


class _Reported:
    """What was reported of a day, and whether its load came as far as to stage it."""

    def __init__(self, day: str) -> None:
        self.metadata: dict[dg.AssetKey, Mapping[str, Any]] = {}
        self.checks: set[dg.AssetCheckKey] = set()
        self.is_staged = False
        self._day = day

    def note(self, event: Event) -> None:
        if event.partition != self._day:  # A refused day may change what is said of others.
            return
        if isinstance(event, dg.AssetMaterialization):
            self.metadata[event.asset_key] = event.metadata
        elif isinstance(event, dg.AssetCheckEvaluation):
            self.checks.add(event.asset_check_key)

    def said(self) -> str:
        """What the line of a loaded day says of it."""
        pairs, newly, removed = (
            self.metadata[checks.STAGED][name].value
            for name in ("assigned", "newly assigned", "removed")
        )
        return f"{pairs:,} pairs, {newly + removed:,} changes"


def _as_events(day: str, asset: dg.AssetKey, results: Iterable[_Result]) -> Iterator[Event]:
    """What an asset's step would report, as events of any run.

    Args:
        asset: the asset of a result that names none.
    """
    for result in results:
        if isinstance(result, dg.AssetCheckResult):
            yield reports.evaluation(day, result)
        elif isinstance(result, dg.MaterializeResult):
            yield dg.AssetMaterialization(
                result.asset_key or asset,
                partition=day,
                metadata=result.metadata,
                tags=_tags(result.data_version) if result.data_version else None,
            )
        else:
            yield result


def _tags(version: dg.DataVersion) -> Mapping[str, str]:
    return {DATA_VERSION_TAG: version.value, DATA_VERSION_IS_USER_PROVIDED_TAG: "true"}
