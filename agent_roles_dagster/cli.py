"""The command `agent-roles`: runs one day, or loads many, in this process, and prints the result.

It runs the same jobs on the same instance as Dagster's own commands; only what is printed differs.
The imports are inside the functions, so that --help answers at once.
"""

import argparse
import logging
import sys
import uuid
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

DONE, FAILED, REFUSED, CHECK_FAILED = 0, 1, 2, 3
# 128 and the number of SIGINT, as shells have it.
INTERRUPTED = 130

_BOTH = "--accept-removals and --approver are given together, and neither is empty"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the process's exit code."""
    parser = argparse.ArgumentParser(
        prog="agent-roles",
        description="Keeps who holds which role right in PostgreSQL, from daily dumps.",
        epilog="Exit codes: 0 done, also with warnings; 1 the run failed; 2 refused before it"
        " began; 3 done, but a check failed with an error; 130 interrupted. The settings are"
        " environment variables, AGENT_ROLES_....",
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
        print("Interrupted. Each table is as before or as after.", file=sys.stderr)
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
    load.add_argument("--approver", metavar="NAME", help="who approved them; kept with the days")
    load.set_defaults(command=_load)


def _day_and_reason(text: str) -> tuple[str, str]:
    day, _, reason = text.partition("=")
    if not (day.strip() and reason.strip()):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form DAY=REASON")
    return day.strip(), reason.strip()


def _run(given: argparse.Namespace) -> int:
    reason, approver = (given.accept_removals or "").strip(), (given.approver or "").strip()
    if bool(reason) != bool(approver):
        return _refuse(_BOTH)
    accept = {"day": given.day, "reason": reason, "approver": approver}
    return _on_instance(
        lambda instance, run_id: _run_day(
            instance, run_id, given.day, accept if reason else None, stage_only=given.stage_only
        )
    )


def _load(given: argparse.Namespace) -> int:
    if given.days and (given.from_ or given.to):
        return _refuse("--day names the days, so --from and --to can't be given, too")
    if bool(given.accept_removals) != bool((given.approver or "").strip()):
        return _refuse(_BOTH)
    return _on_instance(lambda instance, run_id: _load_days(instance, run_id, given))


def _on_instance(execute: Callable[[Any, str], int]) -> int:
    """Execute on the instance of DAGSTER_HOME, or on a temporary one if it is not set.

    Args:
        execute: gets the instance and the id that its run is to have.
    """
    import click
    from dagster import DagsterError

    run_id = str(uuid.uuid4())
    with ExitStack() as opened:
        try:
            instance = _opened_instance(opened)
        except (click.UsageError, DagsterError) as error:
            return _refuse(_in_a_line(error))
        except Exception as error:  # Its text may quote dagster.yaml, which has passwords.
            return _refuse(
                f"Dagster's own storage can't be opened ({type(error).__name__}). Nothing was"
                " changed in any table. See whether dagster.yaml in DAGSTER_HOME is right, and"
                " whether the database that it names can be reached"
            )
        try:
            return execute(instance, run_id)
        except (click.UsageError, DagsterError) as error:
            if not _has_begun(instance, run_id):
                return _refuse(_in_a_line(error))
            sentence = _in_a_line(error).removesuffix(".")
            print(f"ERROR {sentence}. Each table is as before or as after.", file=sys.stderr)
            return FAILED


def _has_begun(instance: Any, run_id: str) -> bool:
    try:
        return bool(instance.has_run(run_id))
    except Exception:  # Dagster's storage is gone, which was there for this run.
        return True


def _opened_instance(opened: ExitStack) -> Any:
    from dagster._cli.utils import get_possibly_temporary_instance_for_cli

    # Otherwise, each try to reach a database would be logged before the sentence about the last.
    quiet = logging.NullHandler()
    logging.getLogger().addHandler(quiet)
    try:
        return opened.enter_context(get_possibly_temporary_instance_for_cli("agent-roles"))
    finally:
        logging.getLogger().removeHandler(quiet)


def _in_a_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _refuse(sentence: str) -> int:
    print(f"ERROR {sentence.removesuffix('.')}.", file=sys.stderr)
    return REFUSED


def _run_day(
    instance: Any, run_id: str, sync_day: str, accept: dict[str, str] | None, *, stage_only: bool
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
        run_id=run_id,
    )
    failed = closing_line.failed_checks(instance, run_id, [sync_day])
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
    return CHECK_FAILED if closing_line.errors(failed) else DONE


def _load_days(instance: Any, run_id: str, given: argparse.Namespace) -> int:
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
        approver=given.approver,
    )
    # A year's days would fill the terminal with a line for each asset and each check.
    config["loggers"] = {"terminal": {"config": {"events": False}}}
    job = defs.resolve_job_def(LOAD)
    with terminal.with_bar():
        result = job.execute_in_process(config, instance, raise_on_error=False, run_id=run_id)
    if result.success:
        loaded = closing_line.loaded_days(result.all_events)
        if errors := closing_line.errors(closing_line.failed_checks(instance, run_id, loaded)):
            print(closing_line.of_load(errors), file=sys.stderr)
        return CHECK_FAILED if errors else DONE
    if failures.never_began(result.all_events):
        return REFUSED
    outcome = failures.outcome_of_run(result.all_events)
    print(closing_line.of_failed_run("load", outcome, []), file=sys.stderr)
    return INTERRUPTED if outcome == failures.INTERRUPTED else FAILED


if __name__ == "__main__":
    sys.exit(main())
