"""The op of `load_landed_days`: what has landed and is not staged as it landed, in the days' order.

It is an op and not a run over several partitions, which Dagster would take in the order in which
the days were registered. For each day it reports what the day's own run would have reported.

https://docs.dagster.io/guides/build/ops
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, nullcontext, suppress
from functools import cache

import dagster as dg
from dagster._core.definitions.data_version import DATA_VERSION_TAG
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster_pyspark import LazyPySparkResource

from agent_roles_dagster.engines.start import started
from agent_roles_dagster.landing.find import find_dump
from agent_roles_dagster.landing.seal import seal
from agent_roles_dagster.orchestration import checks
from agent_roles_dagster.orchestration.assets import landed_dump
from agent_roles_dagster.orchestration.checks.history import newest_result, newest_statuses
from agent_roles_dagster.orchestration.failures import failure
from agent_roles_dagster.orchestration.many_days.config import LoadConfig, OnRefused, chosen_days
from agent_roles_dagster.orchestration.many_days.day_by_day import DayByDay, Event
from agent_roles_dagster.orchestration.many_days.event_log import event_log_kept_open
from agent_roles_dagster.orchestration.many_days.progress import EVERY, Progress
from agent_roles_dagster.orchestration.partitions import SYNC_DAY
from agent_roles_dagster.orchestration.resources import AgentRolesResource
from agent_roles_dagster.orchestration.retries import is_tried_again, retried_if_lost
from agent_roles_dagster.orchestration.steps import where
from agent_roles_dagster.outcomes import InvalidLoad, NotRead, Unreadable
from agent_roles_dagster.postgres.arrow import connections_kept
from agent_roles_dagster.postgres.connection import connect, connection_kept
from agent_roles_dagster.postgres.sql_files import rows_of_file


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
    settings = agent_roles.settings()
    try:
        chosen = chosen_days(config, settings.landing)
    except InvalidLoad as error:
        raise failure(error) from None
    context.log.info(f"Reading {where(settings)}")
    # In their own order. A day that is registered already stays where it is.
    context.instance.add_dynamic_partitions(SYNC_DAY, chosen)
    staged_by = dict(_as_they_landed(context, settings.landing, agent_roles.database_url(), chosen))
    # Another dump of the day was refused since then, and its errors are still in the table.
    for day in _refused(context):
        staged_by.pop(day, None)
    # An earlier try of this run loaded them.
    loaded = [day for day in chosen if staged_by.get(day) == context.run_id]
    to_load = [
        day for day in chosen if day not in loaded and (config.again or day not in staged_by)
    ]
    kept = [day for day in chosen if day not in (*loaded, *to_load)]
    for day in (day for day in kept if day in config.accept_removals):
        context.log.warning(
            f"{day} is staged as it landed, so the reason for its removals is not kept"
        )
    asked = [day for day in chosen if day not in kept]
    progress = Progress(context.log, asked, loaded, unchanged=len(kept))
    days = DayByDay(context, agent_roles, config, progress)
    fingerprints = _as_reported(context.instance, chosen)
    if _are_runs_kept(context):
        unknown = [
            day for day in kept if not newest_result(context, checks.ON_MAPPING[-1].key, day)
        ]
        # The earlier try may not have come to report the last day that it loaded.
        yield from days.report([*unknown, *loaded[-1:]], fingerprints)
    try:
        with ExitStack() as opened:
            opened.callback(progress.close)
            opened.enter_context(connections_kept())
            opened.enter_context(event_log_kept_open(context.instance, context.run_id))
            engine = cache(lambda: opened.enter_context(started(pyspark, settings)))
            for day in to_load:
                # Not for longer: each day finds out anew whether the tables are this version's.
                with connection_kept():
                    yield from days.load(day, fingerprints.get(day), lambda: nullcontext(engine()))
                if progress.refused and config.on_refused is OnRefused.stop:
                    break
        # Also what an earlier try of this run, or one that was killed, did not come to report.
        yield from days.report_others((progress.loaded or chosen)[-1])
    except BaseException as error:
        if not is_tried_again(context, error):
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


def _are_runs_kept(context: dg.OpExecutionContext) -> bool:
    """Whether somebody can look at this run's reports later.

    A command that is run without DAGSTER_HOME has an instance of its own, which ends with it.
    """
    return bool(os.environ.get("DAGSTER_HOME") or context.run.remote_job_origin)


def _as_they_landed(
    context: dg.OpExecutionContext, landing: str, url: str, days: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """The days that are staged and applied and whose dump is the same, each with its run."""
    with connect(url) as connection:
        rows = rows_of_file(connection, "reports/staged_days")
    staged = {row["sync_day"]: row for row in rows if row["is_whole"]}
    logged = time.monotonic()
    for number, day in enumerate(days, 1):
        if day not in staged:
            continue
        if time.monotonic() - logged >= EVERY:
            logged = time.monotonic()
            context.log.info(f"day {number:,} of {len(days):,} compared with what is staged")
        with suppress(Unreadable, NotRead):  # It is refused when it is its turn.
            dump = find_dump(landing, day)
            observed_at = dump.observed_at or staged[day]["observed_at"]
            if (seal(dump), observed_at) == (staged[day]["digest"], staged[day]["observed_at"]):
                yield day, staged[day]["staged_by"]


def _refused(context: dg.OpExecutionContext) -> Iterator[str]:
    """The days whose newest run refused them."""
    for _, day, status, _ in newest_statuses(context, [checks.MAY_BE_STAGED.key]):
        if status == AssetCheckExecutionRecordStatus.FAILED:
            yield day


def _as_reported(instance: dg.DagsterInstance, days: Sequence[str]) -> dict[str, str]:
    """The fingerprints that the days' folders had when they were last reported as landed."""
    reported = instance.event_log_storage.get_latest_tags_by_partition(
        landed_dump.key,
        dg.DagsterEventType.ASSET_MATERIALIZATION,
        [DATA_VERSION_TAG],
        asset_partitions=days,
    )
    return {day: tags[DATA_VERSION_TAG] for day, tags in reported.items()}
