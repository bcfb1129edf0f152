"""The command `agent-roles`: runs one day, or loads many, in this process, and prints the result.

It runs the same jobs on the same instance as Dagster's own commands; only what is printed differs.
The imports are inside the functions, so that --help answers at once.
"""

import argparse
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

DONE, FAILED, REFUSED = 0, 1, 2
# 128 and the number of SIGINT, as shells have it.
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the process's exit code."""
    parser = argparse.ArgumentParser(
        prog="agent-roles",
        description="Keeps who holds which role right in PostgreSQL, from daily dumps.",
        epilog="Exit codes: 0 done, 1 the run failed, 2 refused before it began, 130 interrupted."
        " The settings are environment variables, AGENT_ROLES_....",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_run(commands)
    _add_load(commands)
    given = parser.parse_args(arguments)
    # Other packages' remarks about themselves.
    warnings.simplefilter("ignore")
    try:
        return int(given.command(given))
    except KeyboardInterrupt:
        print("Interrupted before anything was changed.", file=sys.stderr)
        return INTERRUPTED


def _add_run(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    run = commands.add_parser(
        "run",
        help="stage a landed day, apply it, and check the tables",
        description="Stages a landed day, applies it to agent_role_mapping, and checks the tables.",
    )
    run.add_argument("day", metavar="DAY", help="a day that has landed, e.g. day1 or 2026-11-23")
    run.add_argument(
        "--accept-removals",
        metavar="REASON",
        help="why removals beyond the guard's limits are right; kept with the day",
    )
    run.add_argument("--approver", metavar="NAME", help="who approved it; kept with the day, too")
    run.add_argument(
        "--stage-only", action="store_true", help="leave agent_role_mapping as it is: a preview"
    )
    run.set_defaults(command=_run)


def _add_load(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    load = commands.add_parser(
        "load",
        help="load all days that have landed and are not staged as they landed",
        description="Stages and applies the landed days that are not staged as they landed, one"
        " after the other in the order of their numbers.",
    )
    load.add_argument("--from", dest="from_", metavar="DAY", help="the first day to load")
    load.add_argument("--to", metavar="DAY", help="the last day to load")
    load.add_argument(
        "--day",
        dest="days",
        metavar="DAY",
        nargs="+",
        action="extend",
        default=[],
        help="load only these days, instead of --from and --to",
    )
    load.add_argument(
        "--again", action="store_true", help="load days, too, that are staged as they landed"
    )
    load.add_argument(
        "--skip-refused",
        action="store_true",
        help="go on with the next day after a day that is held or unreadable",
    )
    load.add_argument(
        "--accept-removals",
        metavar="DAY=REASON",
        nargs="+",
        action="extend",
        type=_day_and_reason,
        default=[],
        help="why removals of a day beyond the guard's limits are right; kept with the day",
    )
    load.set_defaults(command=_load)


def _day_and_reason(text: str) -> tuple[str, str]:
    day, _, reason = text.partition("=")
    if not (day.strip() and reason.strip()):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form DAY=REASON")
    return day.strip(), reason.strip()


def _run(given: argparse.Namespace) -> int:
    reason, approver = (given.accept_removals or "").strip(), (given.approver or "").strip()
    if bool(reason) != bool(approver):
        return _refuse("--accept-removals and --approver are given together, and neither is empty")
    accept = {"day": given.day, "reason": reason, "approver": approver}
    return _on_instance(
        lambda instance: _run_day(
            instance, given.day, accept if reason else None, stage_only=given.stage_only
        )
    )


def _load(given: argparse.Namespace) -> int:
    if given.days and (given.from_ or given.to):
        return _refuse("--day names the days, so --from and --to can't be given, too")
    return _on_instance(lambda instance: _load_days(instance, given))


def _on_instance(execute: Callable[[Any], int]) -> int:
    """Execute on the instance of DAGSTER_HOME, or on a temporary one if it is not set."""
    import click
    from dagster import DagsterError
    from dagster._cli.utils import get_possibly_temporary_instance_for_cli

    try:
        with get_possibly_temporary_instance_for_cli("agent-roles") as instance:
            return execute(instance)
    except click.UsageError as error:
        return _refuse(error.message)
    except DagsterError as error:
        return _refuse(" ".join(str(error).split()))


def _refuse(sentence: str) -> int:
    print(f"ERROR {sentence.removesuffix('.')}.", file=sys.stderr)
    return REFUSED


def _run_day(
    instance: Any, sync_day: str, accept: dict[str, str] | None, *, stage_only: bool
) -> int:
    import dagster as dg

    from agent_roles_dagster.definitions import defs
    from agent_roles_dagster.orchestration import closing_line, failures
    from agent_roles_dagster.orchestration.checks import MAPPING
    from agent_roles_dagster.outcomes import Held
    from agent_roles_dagster.postgres.connection import connect, database_url
    from agent_roles_dagster.settings import Settings

    run_config: dict[str, Any] = {"loggers": {"terminal": {}}}
    if accept:
        run_config["ops"] = {"stage_agent_roles": {"config": {"accept": accept}}}
    selection: dg.AssetSelection = dg.AssetSelection.all()
    if stage_only:
        selection -= dg.AssetSelection.assets(MAPPING)
    result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
        run_config,
        instance,
        partition_key=sync_day,
        asset_selection=sorted(selection.resolve(defs.resolve_asset_graph())),
        raise_on_error=False,
    )
    failed = closing_line.failed_checks(instance, result.run_id)
    if not result.success:
        outcome = failures.outcome_of_run(result.all_events)
        if outcome == Held.outcome:
            command = f"agent-roles run {sync_day} --accept-removals REASON --approver NAME"
            print(f"To accept the removals: {command}", file=sys.stderr)
        print(closing_line.of_failed_run(sync_day, outcome, failed), file=sys.stderr)
        return INTERRUPTED if outcome == failures.INTERRUPTED else FAILED
    if stage_only:
        with connect(database_url(Settings.from_env())) as connection:
            print(closing_line.of_staged_day(connection, sync_day, failed))
    return DONE


def _load_days(instance: Any, given: argparse.Namespace) -> int:
    from agent_roles_dagster.definitions import defs
    from agent_roles_dagster.orchestration import closing_line, failures, terminal
    from agent_roles_dagster.orchestration.automation import LOAD
    from agent_roles_dagster.orchestration.many_days.config import run_config

    config = run_config(
        from_=given.from_,
        to=given.to,
        days=given.days,
        again=given.again,
        on_refused="skip" if given.skip_refused else "stop",
        accept_removals=dict(given.accept_removals),
    )
    # A year's days would fill the terminal with a line for each asset and each check.
    config["loggers"] = {"terminal": {"config": {"events": False}}}
    job = defs.resolve_job_def(LOAD)
    with terminal.with_bar():
        result = job.execute_in_process(config, instance, raise_on_error=False)
    if result.success:
        return DONE
    if failures.never_began(result.all_events):
        return REFUSED
    outcome = failures.outcome_of_run(result.all_events)
    print(closing_line.of_failed_run("load", outcome, []), file=sys.stderr)
    return INTERRUPTED if outcome == failures.INTERRUPTED else FAILED


if __name__ == "__main__":
    sys.exit(main())
