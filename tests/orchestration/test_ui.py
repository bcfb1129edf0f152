"""A person with a browser: the days that landed show up, a day is materialised, its checks read."""

import json
import shutil
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from agent_roles_dagster.postgres.connection import connect

playwright = pytest.importorskip("playwright", reason="the playwright package is not installed")

from tests.dagster_ui import DagsterUi, browser_page, chromium, dagster_dev  # noqa: E402
from tests.orchestration.test_checks import STAGING_CHECKS  # noqa: E402
from tests.test_sample import SAMPLE  # noqa: E402

SUSPECT = "no_removals_beside_invalid_records"


def _ask(url: str, query: str) -> Any:
    body = json.dumps({"query": query}).encode()
    request = urllib.request.Request(f"{url}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)["data"]


def test_a_run_whose_process_is_killed_is_started_again_by_dagster_dev(
    tmp_path: Path, database: str
) -> None:
    landing = tmp_path / "admin_roles"
    shutil.copytree(SAMPLE / "day1", landing / "day1")
    settings = {
        "AGENT_ROLES_LANDING": str(landing),
        "AGENT_ROLES_DATABASE_URL": database,
        "AGENT_ROLES_HOME": str(tmp_path / "home"),
        "AGENT_ROLES_SETTLE_SECONDS": "0",
        "AGENT_ROLES_AUTOMATION": "on",
        "DAGSTER_AUTOMATION_TICK_SETTLE_SECONDS": "2",
    }
    with connect(database):
        pass  # It makes the tables.
    with (
        psycopg.connect(database) as holder,
        psycopg.connect(database, autocommit=True) as observer,
        dagster_dev(tmp_path / "dagster_home", **settings) as url,
    ):
        holder.execute("LOCK TABLE agent_role_pending IN SHARE MODE")
        while not observer.execute("SELECT pid FROM pg_locks WHERE NOT granted").fetchall():
            time.sleep(0.2)
        for each in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if "multiprocessing.spawn" in " ".join(each.cmdline()):
                    each.kill()
        while observer.execute("SELECT pid FROM pg_locks WHERE NOT granted").fetchall():
            time.sleep(0.2)
        holder.rollback()
        query = "{ runsOrError { ... on Runs { results { status } } } }"
        statuses: list[str] = []
        while statuses != ["SUCCESS", "FAILURE"]:
            time.sleep(0.5)
            statuses = [run["status"] for run in _ask(url, query)["runsOrError"]["results"]]
    with psycopg.connect(database) as connection:
        found = connection.execute("SELECT count(*) FROM agent_role_mapping").fetchone()
    assert found == (15,)


# As text, it is looked for only if this test is to run, and before any fixture starts a server.
@pytest.mark.skipif(
    "chromium() is None",
    reason="there is no Chromium here: install one, or set CHROMIUM to its path",
)
@pytest.mark.timeout(1800)
def test_landed_days_are_materialised_and_checked_in_the_browser(
    tmp_path: Path, database: str
) -> None:
    executable = chromium()
    assert executable is not None
    landing = tmp_path / "admin_roles"
    shutil.copytree(SAMPLE, landing)
    (landing / "day04").mkdir()  # a leading zero: no sync day
    (landing / "notes").mkdir()
    settings = {
        "AGENT_ROLES_LANDING": str(landing),
        "AGENT_ROLES_DATABASE_URL": database,
        "AGENT_ROLES_HOME": str(tmp_path / "home"),
        "AGENT_ROLES_SETTLE_SECONDS": "0",
    }
    with (
        dagster_dev(tmp_path / "dagster_home", **settings) as url,
        browser_page(executable) as page,
    ):
        ui = DagsterUi(page, url)
        ui.wait_until_offered(["day1", "day2", "day3"])

        ui.materialise("day1")
        assert mapping_counts(database) == {"assigned": 15}
        ui.materialise("day2")
        assert mapping_counts(database) == {"assigned": 14, "removed": 4}

        assert_checks_show_each_day(ui)

        shutil.copytree(landing / "day3", landing / "day4")
        ui.wait_until_offered(["day1", "day2", "day3", "day4"])

        before = failed_checks(ui)
        (landing / "day5").mkdir()
        (landing / "day5" / "roles.json").write_text("[]")
        ui.wait_until_offered(["day1", "day2", "day3", "day4", "day5"])
        ui.materialise("day5", "Failure")
        # Day 5 is held. Nothing else is wrong with it, so no other check fails.
        assert failed_checks(ui) - before == {"day_may_be_staged"}
        shown = ui.open_check("stg_agent_roles", "day_may_be_staged", "day5").inner_text()
        assert "\nFailed\n" in shown
        assert "outcome\nheld\n" in shown
        assert "day5 is held: it has no records at all" in shown


def failed_checks(ui: DagsterUi) -> set[str]:
    """The checks that the lists show as failed, as they do where one failed for any day."""
    assets = "stg_agent_roles", "agent_role_pipeline_errors", "agent_role_mapping"
    found = [item for asset in assets for item in ui.check_statuses(asset).items()]
    return {name for name, status in found if status == "Failed"}


def assert_checks_show_each_day(ui: DagsterUi) -> None:
    """Day 2, the last one, has warnings; day 1 beside it has the results that it had."""
    statuses = ui.check_statuses("stg_agent_roles")
    assert statuses.keys() == STAGING_CHECKS
    assert {name for name, status in statuses.items() if status == "Failed"} == {SUSPECT}
    assert ui.check_statuses("agent_role_pipeline_errors") == {"no_invalid_rows": "Failed"}
    assert set(ui.check_statuses("agent_role_mapping").values()) == {"Succeeded"}
    for day, status, removals in (("day1", "Passed", 0), ("day2", "Failed", 1)):
        shown = ui.open_check("stg_agent_roles", SUSPECT, day).inner_text()
        assert f"\n{status}\n" in shown
        assert f"removals\n{removals}\n" in shown
    for day, sum_of_rows in (("day1", "22 = 22"), ("day2", "19 = 19")):
        shown = ui.open_check("stg_agent_roles", "conservation", day).inner_text()
        assert "\nPassed\n" in shown
        assert f"raw rows = valid pairs + duplicates + invalid rows\n{sum_of_rows}\n" in shown


def mapping_counts(database: str) -> dict[str, int]:
    with psycopg.connect(database) as connection:
        query = "SELECT status, count(*) FROM agent_role_mapping GROUP BY status"
        return dict(connection.execute(query).fetchall())
