"""The command `agent-roles`: runs a day in this process, and prints what it came to.

It is the same job on the same instance as with `dagster asset materialize`; only what is printed
differs. What a command needs is imported when it runs, so that --help is there at once.
"""

import argparse
import sys
import warnings
from collections.abc import Sequence
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
    run.add_argument("--approver", metavar="NAME", help="who says so; kept with the day, too")
    run.add_argument(
        "--stage-only", action="store_true", help="leave agent_role_mapping as it is: a preview"
    )
    run.set_defaults(command=_run)


def _run(given: argparse.Namespace) -> int:
    reason, approver = (given.accept_removals or "").strip(), (given.approver or "").strip()
    if bool(reason) != bool(approver):
        return _refuse("--accept-removals and --approver are given together, and neither is empty")
    import click
    from dagster import DagsterError
    from dagster._cli.utils import get_possibly_temporary_instance_for_cli

    try:
        with get_possibly_temporary_instance_for_cli("agent-roles run") as instance:
            accept = {"day": given.day, "reason": reason, "approver": approver}
            return _materialise(instance, given.day, accept if reason else None, given.stage_only)
    except click.UsageError as error:
        return _refuse(error.message)
    except DagsterError as error:
        return _refuse(" ".join(str(error).split()))


def _refuse(sentence: str) -> int:
    print(f"ERROR {sentence.removesuffix('.')}.", file=sys.stderr)
    return REFUSED


def _materialise(
    instance: Any, sync_day: str, accept: dict[str, str] | None, stage_only: bool
) -> int:
    import dagster as dg

    from agent_roles_dagster.definitions import defs
    from agent_roles_dagster.orchestration import closing_line, failures
    from agent_roles_dagster.orchestration.checks import MAPPING
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
        why = failures.outcome_of_run(result.all_events)
        if why == "held":
            command = f"agent-roles run {sync_day} --accept-removals REASON --approver NAME"
            print(f"To accept the removals: {command}", file=sys.stderr)
        print(closing_line.of_failed_run(sync_day, why, failed), file=sys.stderr)
        return INTERRUPTED if why == failures.INTERRUPTED else FAILED
    if stage_only:
        with connect(database_url(Settings.from_env())) as connection:
            print(closing_line.of_staged_day(connection, sync_day, failed))
    return DONE


if __name__ == "__main__":
    sys.exit(main())
