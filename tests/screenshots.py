"""Takes the pictures in `.docs/` that the README shows: `python -m tests.screenshots`.

The sample's days are loaded into the database of AGENT_ROLES_DATABASE_URL, which should be
empty, or else into an embedded one that is thrown away.
"""

import re
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.dagster_ui import CHECKOUT, DagsterUi, browser_page, chromium, dagster_dev
from tests.test_sample import DAYS, SAMPLE

PICTURES = CHECKOUT / ".docs"
SUSPECT = "no_removals_beside_invalid_records"


def main() -> None:
    executable = chromium()
    if executable is None:
        sys.exit("there is no Chromium here: install one, or set CHROMIUM to its path")
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="agent-roles-screenshots-") as folder:
        Path(folder).chmod(0o755)  # PostgreSQL refuses to run as root and takes another user.
        home = Path(folder)
        settings = {"AGENT_ROLES_LANDING": str(SAMPLE), "AGENT_ROLES_HOME": str(home / "data")}
        with dagster_dev(home / "dagster", **settings) as url, browser_page(executable) as page:
            ui = DagsterUi(page, url)
            ui.wait_until_offered(list(DAYS))
            for day in DAYS:
                ui.materialise(day)
            asset_graph(ui, page)
            checks(ui, page)


def asset_graph(ui: DagsterUi, page: Page) -> None:
    ui.open("/asset-groups")
    page.get_by_role("button", name="Hide navigation").click()
    page.locator("button:has([aria-label=config])").last.click()
    for facet in ("Description", "Automation", "Status"):  # the first on, the others off
        page.locator("label").filter(has_text=re.compile(f"^{facet}$")).click()
    page.get_by_role("button", name="Save").click()
    page.locator("button:has([aria-label=panel_show_right])").click()
    page.mouse.dblclick(150, 800)  # beside the graph: it is fitted to the page
    expect(page.get_by_text("100% filled")).to_have_count(4)
    _take(page, "asset-graph")


def checks(ui: DagsterUi, page: Page) -> None:
    ui.open_check("stg_agent_roles", SUSPECT, "day2")
    _take(page, "checks")


def _take(page: Page, name: str) -> None:
    page.mouse.move(700, 880)
    page.wait_for_timeout(1500)  # the page's animations have no end that shows
    page.screenshot(path=PICTURES / f"{name}.png")


if __name__ == "__main__":
    main()
