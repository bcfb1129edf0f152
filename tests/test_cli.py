"""`agent-roles`: what a terminal shows of each outcome, whole, and the exit code."""

import io
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from agent_roles_dagster import cli
from agent_roles_dagster.orchestration import closing_line, retries
from agent_roles_dagster.orchestration.assets import raw_roles
from agent_roles_dagster.orchestration.many_days import day_by_day, progress
from tests import CHECKOUT
from tests.conftest import Pipeline
from tests.processes import killed_at_the_end
from tests.test_sample import SAMPLE
from tests.worlds import tables

CONFIG = CHECKOUT / "dagster.yaml"
COMMAND = [sys.executable, "-m", "agent_roles_dagster.cli"]
AWAY = "postgresql://somebody@127.0.0.1:1/nowhere"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DAGSTER_HOME that lasts for the test."""
    home = tmp_path / "dagster_home"
    home.mkdir()
    shutil.copy(CONFIG, home)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    return home


def run(*arguments: str, command: str = "run") -> tuple[int, str]:
    """The command in this process: its exit code, and all that it printed, without the times."""
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        code = cli.main([command, *arguments])
    return code, re.sub(r"seconds: .*|[0-9.]+ s a day.*", "...", said.getvalue())


def start(env: dict[str, str], *arguments: str, config: str = "") -> "subprocess.Popen[str]":
    """The command as a process of its own, in an empty folder and without a DAGSTER_HOME."""
    clean = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
    folder = tempfile.mkdtemp(dir=Path(os.environ["DAGSTER_HOME"]).parent, prefix="folder")
    Path(folder, CONFIG.name).write_text(CONFIG.read_text() + config)
    return subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=folder,
        env={**clean, **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def write(pipeline: Pipeline, sync_day: str, agents: list[int]) -> None:
    pipeline.write(sync_day, {"roles.json": json.dumps([{"id": 10, "agents": agents}])})


def test_a_day_with_warnings_ends_with_a_line_that_counts_them(
    pipeline: Pipeline, home: Path
) -> None:
    for day in ("day1", "day2"):
        pipeline.land(SAMPLE / day, day)
    assert run("day1")[0] == 0
    assert run("day2") == (
        0,
        f"""\
day2: reading {pipeline.landing}/day2
day2: 2 files, 480 bytes
day2: raw_roles is written
day2: ...
day2: 19 raw rows = 15 valid pairs + 1 duplicate + 3 invalid; 14 assigned, 4 removed since day1
day2: stg_agent_roles is written
day2: agent_role_pipeline_errors is written
day2: day_may_be_staged of stg_agent_roles passed
WARNING day2: the check no_invalid_rows of agent_role_pipeline_errors failed (warning). What it\
 expects: No raw row is invalid. A warning if some are, an error above 20%. Found: invalid rows: 3.
WARNING day2: the check no_removals_beside_invalid_records of stg_agent_roles failed (warning).\
 What it expects: No role lost agents on a day when records of that role were invalid: that may be\
 damage in the dump, not removals. Found: roles: 1, removals: 1.
day2: agent_id_is_not_null of stg_agent_roles passed
day2: role_id_is_not_null of stg_agent_roles passed
day2: status_is_not_null of stg_agent_roles passed
day2: status_is_known of stg_agent_roles passed
day2: no_pair_twice of stg_agent_roles passed
day2: conservation of stg_agent_roles passed
day2: changes_are_usual of stg_agent_roles passed
day2: mapping: 7 rows changed, 0 deleted
day2: agent_role_mapping is written
day2: assigned_pairs_are_the_newest_days of agent_role_mapping passed
day2: times_fit_status of agent_role_mapping passed
day2: observed_at_rises of agent_role_mapping passed
day2: 14 assigned, 4 removed; 2 warnings
""",
    )
    # On the same instance as other commands.
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert instance.get_materialized_partitions(raw_roles.key) == {"day1", "day2"}


def test_a_day_without_warnings_says_so_and_an_error_is_counted_as_one(pipeline: Pipeline) -> None:
    write(pipeline, "day1", [1, 2])
    code, said = run("day1")
    assert (code, said.splitlines()[-1]) == (0, "day1: 2 assigned, 0 removed; no warnings")
    assert "WARNING" not in said
    write(pipeline, "day1", [1, 1, 1, 2, "?"])  # type: ignore[list-item]
    pipeline.write("day2", {"roles.json": json.dumps([{"id": 10, "agents": [1, None]}])})
    code, said = run("day2")
    assert [line for line in said.splitlines() if line.startswith(("WARNING", "ERROR"))] == [
        "ERROR day2: the check no_invalid_rows of agent_role_pipeline_errors failed (error). What"
        " it expects: No raw row is invalid. A warning if some are, an error above 20%. Found:"
        " invalid rows: 1.",
        "WARNING day2: the check no_removals_beside_invalid_records of stg_agent_roles failed"
        " (warning). What it expects: No role lost agents on a day when records of that role were"
        " invalid: that may be damage in the dump, not removals. Found: roles: 1, removals: 1.",
    ]
    assert (code, said.splitlines()[-1]) == (3, "day2: 1 assigned, 1 removed; 1 error, 1 warning")
    # The day is staged and applied nevertheless.
    assert pipeline.rows("SELECT status FROM agent_role_mapping ORDER BY agent_id") == [
        ("assigned",),
        ("removed",),
    ]
    code, said = run("day2", "--stage-only")
    assert (code, said.splitlines()[-1]) == (3, "day2: 1 assigned, 1 removed; 1 error, 1 warning")


HELD = """\
day2: reading {landing}/day2
day2: 1 files, 2 bytes
day2: raw_roles is written
day2: no_invalid_rows of agent_role_pipeline_errors passed
day2: assigned_pairs_are_the_newest_days of agent_role_mapping passed
day2: times_fit_status of agent_role_mapping passed
day2: observed_at_rises of agent_role_mapping passed
ERROR day2 is held: it has no records at all, and the previous day had 12 assignments. Among them:\
 agent 0, role 10; agent 1, role 10; agent 2, role 10; agent 3, role 10; agent 4, role 10; agent 5,\
 role 10; agent 6, role 10; agent 7, role 10; agent 8, role 10; agent 9, role 10. Nothing was\
 staged, the tables are as before; only its invalid rows were recorded (0). If a page is\
 missing, land the whole dump again and materialise the day. If the removals are right, run the job\
 accept_held_day for the day, which asks why and who says so, or materialise it with the run config\
 accept_removals: "..." of the op stage_agent_roles.
To accept the removals: agent-roles run day2 --accept-removals REASON --approver NAME
day2: held; 1 error
"""


def test_an_older_refusal_of_another_day_is_no_error_of_this_run(pipeline: Pipeline) -> None:
    for day in ("day1", "day2"):
        write(pipeline, day, [1, 2])
        assert run(day)[0] == 0
    pipeline.write("day2", {"roles.json": "["})
    assert run("day2")[0] == 1
    write(pipeline, "day1", [1, 2, 3])
    code, said = run("day1")
    assert code == 0
    assert said.splitlines()[-1] == "day1: 3 assigned, 0 removed; 2 warnings"
    write(pipeline, "day1", [1, 2])
    assert load("--day", "day1")[0] == 0


def test_a_held_day_is_one_sentence_and_the_command_that_accepts_it(pipeline: Pipeline) -> None:
    write(pipeline, "day1", list(range(12)))
    pipeline.write("day2", {"roles.json": "[]"})
    assert run("day1")[0] == 0
    assert run("day2") == (1, HELD.format(landing=pipeline.landing))
    before = pipeline.rows("SELECT * FROM agent_role_mapping ORDER BY agent_id")
    accepted = ["--accept-removals", "The tenant is closed.", "--approver", "Ada"]
    code, said = run("day2", *accepted, "--stage-only")
    assert (code, said.splitlines()[-1]) == (0, "day2: 0 assigned, 12 removed; 1 warning")
    assert "Applying would change 12 rows of agent_role_mapping" in said
    assert pipeline.rows("SELECT * FROM agent_role_mapping ORDER BY agent_id") == before
    assert run("day2", *accepted)[0] == 0
    assert pipeline.rows(
        "SELECT accepted_reason, accepted_by FROM agent_role_sync_days WHERE sync_day = 'day2'"
    ) == [("The tenant is closed.", "Ada")]
    assert pipeline.rows("SELECT DISTINCT status FROM agent_role_mapping") == [("removed",)]


def test_a_folder_without_a_dump_says_what_is_there(pipeline: Pipeline) -> None:
    pipeline.write("day1", {"roles.csv": "agent_id,role_id"})
    assert run("day1")[1].splitlines()[-2] == (
        "ERROR day1: no dump file (*.json, *.jsonl, *.ndjson, *.gz) has landed, only roles.csv."
        " Nothing was changed in any table. Land the whole dump again and materialise the day."
    )


@pytest.mark.parametrize(("name", "why"), [("nowhere", "is not there"), ("file", "is no folder")])
def test_a_landing_that_is_none_is_refused_in_a_sentence(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, name: str, why: str
) -> None:
    (pipeline.landing / "file").write_text("")
    landing = pipeline.landing / name
    monkeypatch.setenv("AGENT_ROLES_LANDING", str(landing))
    assert run("day1") == (
        2,
        "ERROR 'day1' has not landed: there is no such folder; a sync day is named day<N> (day1,"
        " day2, ..., no leading zero, 18 digits at most) or YYYY-MM-DD."
        f" {landing}, which AGENT_ROLES_LANDING names, {why}.\n",
    )


def test_the_log_says_that_the_sample_is_read(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AGENT_ROLES_LANDING")
    monkeypatch.delenv("AGENT_ROLES_DATABASE_URL")
    process = start({"AGENT_ROLES_HOME": str(pipeline.landing / "home")}, "run", "day1")
    said = process.communicate(timeout=120)[0].splitlines()
    assert said[0] == (
        f"day1: reading {SAMPLE}/day1 of the sample, as AGENT_ROLES_LANDING is not set"
    )
    assert said[-1] == "day1: 15 assigned, 0 removed; 1 warning"


def test_an_unreadable_day_is_one_sentence(pipeline: Pipeline) -> None:
    pipeline.write("day1", {"roles.json": ""})
    code, said = run("day1")
    assert (code, said.splitlines()[-2:]) == (
        1,
        [
            "ERROR day1/roles.json: the file is empty. Nothing was changed in any table. Land the"
            " whole dump again and materialise the day.",
            "day1: unreadable; 1 error",
        ],
    )
    assert "Traceback" not in said
    assert "File " not in said


def test_a_database_that_is_away_is_waited_for_aloud(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "SECONDS", 0.1)
    monkeypatch.setenv("AGENT_ROLES_DATABASE_URL", AWAY)
    write(pipeline, "day1", [1])
    away = (
        'connection failed: connection to server at "127.0.0.1", port 1 failed: Connection refused'
        " Is the server running on that host and accepting TCP/IP connections? Nothing was changed."
        " AGENT_ROLES_DATABASE_URL says which database is used; without it, it is the embedded one"
    )
    assert run("day1") == (
        1,
        f"""\
day1: reading {pipeline.landing}/day1
day1: 1 files, 27 bytes
day1: raw_roles is written
WARNING {away}. Trying again in 0.1 seconds (1 of 3).
WARNING {away}. Trying again in 0.1 seconds (2 of 3).
WARNING {away}. Trying again in 0.1 seconds (3 of 3).
WARNING day1: checks are shown as they were found last (NotReachable)
ERROR {away}
day1: failed
""",
    )


def test_a_run_that_waits_for_another_says_so_before_it_waits(pipeline: Pipeline) -> None:
    write(pipeline, "day1", [1])
    assert run("day1")[0] == 0
    write(pipeline, "day1", [1, 2])
    with psycopg.connect(pipeline.database) as other:
        other.execute("LOCK TABLE agent_role_pending IN SHARE MODE")
        process = start({}, "run", "day1")
        with killed_at_the_end(process):  # type: ignore[arg-type]
            assert process.stdout is not None
            said = [process.stdout.readline() for _ in range(4)]
            assert process.poll() is None
            other.rollback()
            out, err = process.communicate(timeout=120)
    assert said[3] == "day1: waiting, since another run is changing the tables\n"
    assert (process.returncode, err) == (0, "")
    assert out.endswith("\nday1: 2 assigned, 0 removed; no warnings\n")


def test_an_error_that_is_not_ours_comes_with_its_trace(pipeline: Pipeline) -> None:
    write(pipeline, "day1", [1])
    assert run("day1")[0] == 0
    pipeline.execute("DROP TABLE agent_role_sync_days CASCADE")
    code, said = run("day1")
    assert code == 1
    assert "ERROR stage_agent_roles failed: " in said
    assert 'UndefinedTable: relation "agent_role_sync_days" does not exist' in said
    assert "Stack Trace:" in said
    assert said.endswith("\nday1: failed\n")


# Many days


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a day takes here, only the first and the last are told of."""
    monkeypatch.setattr(day_by_day, "_QUICK", 600.0)
    monkeypatch.setattr(progress, "EVERY", 600.0)


def load(*arguments: str) -> tuple[int, str]:
    """The same for `load`, without its first line, which says where it reads."""
    code, said = run(*arguments, command="load")
    first, _, rest = said.partition("\n")
    if first == f"Reading {os.environ['AGENT_ROLES_LANDING']}":
        return code, rest
    assert code == cli.REFUSED
    return code, said


def applied(pipeline: Pipeline) -> list[str]:
    query = "SELECT sync_day FROM agent_role_sync_days WHERE applied_at IS NOT NULL ORDER BY day_no"
    return [day for (day,) in pipeline.rows(query)]


@pytest.mark.usefixtures("quick")
def test_load_loads_what_landed_in_its_order_and_tells_how_far_it_is(
    pipeline: Pipeline, home: Path
) -> None:
    for day in ("day1", "day2", "day10"):
        write(pipeline, day, [1, 2])
    expected = """\
day 1 of 3 (day1): 2 pairs, 2 changes; ...
day 3 of 3 (day10): 2 pairs, 0 changes; ...
Loaded 3 of 3 days: day1, day2, day10.
"""
    assert load() == (0, expected)
    again = "Loaded 0 of 0 days. 3 more were staged as landed.\n"
    assert load() == (0, again)
    chosen = "Loaded 2 of 2 days: day2, day10.\n"
    for arguments in (["--from", "day2", "--to", "day10"], ["--day", "day10", "day2"]):
        code, said = load("--again", *arguments)
        assert (code, said.splitlines(keepends=True)[-1]) == (0, chosen)
    # On the same instance as other commands.
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert instance.get_materialized_partitions(raw_roles.key) == {"day1", "day2", "day10"}


STOPPED = """\
day 1 of 3 (day1): 12 pairs, 12 changes; ...
ERROR Loaded 1 of 3 days: day1.
day2 (unreadable): day2/roles.json: the file is empty. Nothing was changed in any table. Land the\
 whole dump again and materialise the day.
Not reached: 1 day: day3.
Each day that was loaded is whole. Once the others are corrected or accepted, run the job again: it\
 loads what is left.
load: unreadable
"""
SKIPPED = """\
WARNING day2 is left out (unreadable); the last lines say why
day 1 of 2 (day2): not loaded; ...
day 2 of 2 (day3): 0 pairs, 12 changes; ...
ERROR Loaded 1 of 2 days: day3. 1 more was staged as landed.
Of the loaded days, 1 has the warning changes_are_usual.
day2 (unreadable): day2/roles.json: the file is empty. Nothing was changed in any table. Land the\
 whole dump again and materialise the day.
Each day that was loaded is whole. Once the others are corrected or accepted, run the job again: it\
 loads what is left.
load: unreadable
"""


def test_in_a_terminal_a_bar_shows_each_day_below_the_lines(pipeline: Pipeline) -> None:
    for day in ("day1", "day2", "day3"):
        write(pipeline, day, [1, 2])
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        command = [sys.executable, "-m", "agent_roles_dagster.cli", "load"]
        process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        said = b""
        with suppress(OSError):  # Linux has no other way to say that nobody writes any more.
            while part := terminal.read(65536):
                said += part
    assert process.wait() == 0
    drawn = [line for line in re.split(r"[\r\n]+", said.decode()) if line.strip()]
    bars = [line for line in drawn if line.startswith("█")]
    for number in (1, 2, 3):
        assert any(f" day {number} of 3 (day{number}): 2 pairs, " in bar for bar in bars), drawn
    assert [line for line in drawn if line not in bars][
        -1
    ] == "Loaded 3 of 3 days: day1, day2, day3."


def test_a_load_whose_checks_find_errors_says_how_many(pipeline: Pipeline) -> None:
    write(pipeline, "day1", [1, "?"])  # type: ignore[list-item]
    write(pipeline, "day2", [*range(20), "?"])  # type: ignore[list-item]
    code, said = load()
    assert (code, said.splitlines()[-1]) == (3, "load: 1 error")
    assert applied(pipeline) == ["day1", "day2"]
    # It is told when it is loaded, not each night.
    assert load() == (0, "Loaded 0 of 0 days. 2 more were staged as landed.\n")


@pytest.mark.usefixtures("quick")
def test_load_stops_at_a_day_that_is_refused_or_skips_it(pipeline: Pipeline) -> None:
    write(pipeline, "day1", list(range(12)))
    pipeline.write("day2", {"roles.json": ""})
    pipeline.write("day3", {"roles.json": "[]"})
    assert load() == (1, STOPPED)
    assert applied(pipeline) == ["day1"]
    accepted = ["--accept-removals", "day3=The tenant is closed: a=b.", "--approver", "Ada"]
    code, said = load("--skip-refused", *accepted)
    assert (code, said) == (1, SKIPPED)
    assert applied(pipeline) == ["day1", "day3"]
    assert pipeline.rows(
        "SELECT accepted_reason, accepted_by FROM agent_role_sync_days WHERE sync_day = 'day3'"
    ) == [("The tenant is closed: a=b.", "Ada")]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--day", "day1", "--to", "day2"],
            "--day names the days, so --from and --to can't be given, too.",
        ),
        (
            ["--from", "day2", "--to", "day1"],
            "from is 'day2', which comes after 'day1'. Nothing was changed in any table. Correct"
            " the run's config and run load_landed_days again.",
        ),
        (
            ["--accept-removals", "day1=They are right."],
            "--accept-removals and --approver are given together, and neither is empty.",
        ),
        (
            ["--accept-removals", "day7=They are right.", "--approver", "Ada"],
            "accept_removals names 'day7', which is none of the days to load. Nothing was changed"
            " in any table. Correct the run's config and run load_landed_days again.",
        ),
    ],
)
def test_a_load_that_can_not_be_meant_is_refused_in_a_sentence(
    pipeline: Pipeline, arguments: list[str], sentence: str
) -> None:
    write(pipeline, "day1", [1])
    assert load(*arguments) == (2, f"ERROR {sentence}\n")
    assert pipeline.rows("SELECT to_regclass('agent_role_sync_days')") == [(None,)]


@pytest.mark.parametrize("given", ["day1", "day1=", "day1= ", "=They are right."])
def test_an_acceptance_names_a_day_and_a_reason(
    given: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["load", "--accept-removals", given])
    assert ended.value.code == 2
    wrong = f"--accept-removals: {given!r} is not of the form DAY=REASON\n"
    assert capsys.readouterr().err.endswith(wrong)


# What is refused before anything runs


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["day3"],
            "'day3' has not landed: there is no such folder; a sync day is named day<N> (day1,"
            " day2, ..., no leading zero, 18 digits at most) or YYYY-MM-DD. Landed so far under"
            " {landing}: day1",
        ),
        (
            ["today"],
            "'today' is not a sync day's name: a sync day is named day<N> (day1, day2, ..., no"
            " leading zero, 18 digits at most) or YYYY-MM-DD. Landed so far under {landing}: day1",
        ),
        (
            ["day1", "--accept-removals", "They are right."],
            "--accept-removals and --approver are given together, and neither is empty",
        ),
        (
            ["day1", "--accept-removals", " ", "--approver", "Ada"],
            "--accept-removals and --approver are given together, and neither is empty",
        ),
    ],
)
def test_what_can_not_be_run_is_refused_in_a_sentence(
    pipeline: Pipeline, arguments: list[str], sentence: str
) -> None:
    write(pipeline, "day1", [1])
    assert run(*arguments) == (2, f"ERROR {sentence.format(landing=pipeline.landing)}.\n")


@pytest.mark.parametrize(
    ("env", "sentence"),
    [
        (
            {"AGENT_ROLES_LANDINGS": "/data"},
            "AGENT_ROLES_LANDINGS: there is no such setting. The nearest is AGENT_ROLES_LANDING",
        ),
        (
            {"AGENT_ROLES_DATABASE_URL": AWAY, "AGENT_ROLES_LANDING": ""},
            "AGENT_ROLES_DATABASE_URL is set, but AGENT_ROLES_LANDING is not: the sample that comes"
            " with the package would be loaded into that database. Set AGENT_ROLES_LANDING to the"
            " folder or the URI where the dumps land",
        ),
        (
            {"DAGSTER_HOME": "/not/there"},
            '$DAGSTER_HOME "/not/there" is not a directory or does not exist. Dagster requires this'
            " environment variable to be set to an existing directory in your filesystem",
        ),
    ],
)
def test_a_wrong_setting_is_refused_in_a_sentence(env: dict[str, str], sentence: str) -> None:
    process = start(env, "run", "day1")
    assert process.communicate(timeout=120) == ("", f"ERROR {sentence}.\n")
    assert process.returncode == 2


def test_a_storage_of_dagsters_that_is_away_is_one_sentence(home: Path) -> None:
    url = "postgresql://somebody:top-secret@127.0.0.1:1/nowhere"
    (home / CONFIG.name).write_text(f"storage: {{postgres: {{postgres_url: '{url}'}}}}\n")
    for command in (["load"], ["run", "day1"]):
        process = start({"DAGSTER_HOME": str(home)}, *command)
        assert process.communicate(timeout=120) == (
            "",
            "ERROR Dagster's own storage can't be opened (DagsterPostgresException). Nothing was"
            " changed in any table. See whether dagster.yaml in DAGSTER_HOME is right, and whether"
            " the database that it names can be reached.\n",
        )
        assert process.returncode == 2


def test_an_error_of_dagsters_after_the_run_began_is_a_failed_run(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lose(*_: object) -> None:
        raise dg.DagsterRunNotFoundError("the run is gone", invalid_run_id="x")

    write(pipeline, "day1", [1])
    monkeypatch.setattr(closing_line, "failed_checks", lose)
    assert cli.main(["run", "day1", "--stage-only"]) == 1
    said = capsys.readouterr().err
    assert said == "ERROR the run is gone. Each table is as before or as after.\n"


def test_ctrl_c_after_the_day_was_applied_does_not_say_that_nothing_was_changed(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(pipeline, "day1", [1])
    failed_checks = closing_line.failed_checks

    def interrupt(
        instance: dg.DagsterInstance, run_id: str, days: list[str]
    ) -> list[dg.AssetCheckEvaluation]:
        if instance.get_runs()[0].is_finished:
            signal.raise_signal(signal.SIGINT)
        return failed_checks(instance, run_id, days)

    monkeypatch.setattr(closing_line, "failed_checks", interrupt)
    # A shell has the commands that it starts in the background ignore SIGINT.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        code, said = run("day1")
    finally:
        signal.signal(signal.SIGINT, before)
    assert code == 130
    assert said.endswith("\nInterrupted. Each table is as before or as after.\n")
    assert applied(pipeline) == ["day1"]


def test_a_day_is_asked_for_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["run"])
    assert ended.value.code == 2
    wanted = "agent-roles run: error: the following arguments are required: DAY\n"
    assert capsys.readouterr().err.endswith(wanted)


def test_help_needs_no_dagster() -> None:
    code = "import sys; from agent_roles_dagster.cli import main\ntry: main(['run', '--help'])\n"
    code += "finally: assert not {'dagster', 'pyspark', 'click'} & set(sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.startswith("usage: agent-roles run ")


# As a process


def test_without_an_instance_it_leaves_nothing_in_the_folder(
    pipeline: Pipeline, home: Path
) -> None:
    write(pipeline, "day1", [1])
    process = start({}, "run", "day1")
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    assert out.endswith("\nday1: 1 assigned, 0 removed; no warnings\n")
    (folder,) = home.parent.glob("folder*")
    assert [path.name for path in folder.iterdir()] == ["dagster.yaml"]


def test_a_reader_that_leaves_does_not_end_the_run(pipeline: Pipeline) -> None:
    write(pipeline, "day1", [1])
    # Dagster's own copy of the output would be between.
    none = "module: dagster._core.storage.noop_compute_log_manager, class: NoOpComputeLogManager"
    process = start({}, "run", "day1", config=f"compute_logs: {{{none}}}\n")
    assert process.stdout is not None
    assert process.stdout.readline() == f"day1: reading {pipeline.landing}/day1\n"
    process.stdout.close()
    assert process.wait(120) == 0
    assert pipeline.rows("SELECT count(*) FROM agent_role_mapping") == [(1,)]


OF_LOAD = "ERROR Loaded 0 of 1 day.\nNot finished: day1.\nload: interrupted\n"


@pytest.mark.parametrize(
    ("arguments", "number", "said"),
    [
        (["run", "day1"], signal.SIGINT, "day1: interrupted\n"),
        (["run", "day1"], signal.SIGTERM, "day1: interrupted\n"),
        (["load"], signal.SIGINT, OF_LOAD),
    ],
)
def test_a_signal_ends_it_and_nothing_is_published(
    pipeline: Pipeline, arguments: list[str], number: signal.Signals, said: str
) -> None:
    write(pipeline, "day1", [1])
    assert run("day1")[0] == 0
    before = tables(pipeline.database)
    write(pipeline, "day1", [1, 2])
    waits = threading.Event()
    with psycopg.connect(pipeline.database) as holder:
        holder.execute("LOCK TABLE agent_role_changes IN ACCESS EXCLUSIVE MODE")
        process = start({}, *arguments)
        with killed_at_the_end(process):  # type: ignore[arg-type]
            while not pipeline.rows("SELECT pid FROM pg_locks WHERE NOT granted"):
                assert process.poll() is None
                waits.wait(0.05)
            process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)
            assert process.returncode == 130
            assert process.stderr is not None
            assert process.stderr.read() == said
    assert tables(pipeline.database) == before
