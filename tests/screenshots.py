"""Takes the pictures in `docs/`: `python -m tests.screenshots`.

The sample's days, and an empty one that is held, are loaded into the database of
AGENT_ROLES_DATABASE_URL, which should be empty, or else into an embedded one that is thrown away.
"""

import re
import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import FloatRect, Page, expect

from tests.dagster_ui import CHECKOUT, DagsterUi, browser_page, chromium, dagster_dev
from tests.test_sample import DAYS, SAMPLE

PICTURES = CHECKOUT / "docs"
SUSPECT = "no_removals_beside_invalid_records"


def main() -> None:
    executable = chromium()
    if executable is None:
        sys.exit("there is no Chromium here: install one, or set CHROMIUM to its path")
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="agent-roles-screenshots-") as folder:
        Path(folder).chmod(0o755)  # PostgreSQL refuses to run as root and takes another user.
        home = Path(folder)
        landing = home / "admin_roles"
        shutil.copytree(SAMPLE, landing)
        settings = {"AGENT_ROLES_LANDING": str(landing), "AGENT_ROLES_HOME": str(home / "data")}
        with dagster_dev(home / "dagster", **settings) as url, browser_page(executable) as page:
            ui = DagsterUi(page, url)
            ui.wait_until_offered(list(DAYS))
            for day in DAYS:
                ui.materialise(day)
            asset_graph(ui, page)
            checks(ui, page)
            (landing / "day4").mkdir()
            (landing / "day4" / "roles.json").write_text("[]")
            ui.wait_until_offered([*DAYS, "day4"])
            ui.materialise("day4", "Failure")
            summary(ui, page)
            held(ui, page)
            plots(ui, page)


def asset_graph(ui: DagsterUi, page: Page) -> None:
    ui.open("/asset-groups")
    page.get_by_role("button", name="Hide navigation").click()
    page.locator("button:has([aria-label=config])").last.click()
    for facet in ("Description", "Automation", "Status"):  # the first on, the others off
        page.locator("label").filter(has_text=re.compile(f"^{facet}$")).click()
    page.get_by_role("button", name="Save").click()
    page.locator("button:has([aria-label=panel_show_right])").click()
    page.mouse.dblclick(150, 800)  # beside the graph: it is fitted to the page
    expect(page.get_by_text("100% filled")).to_have_count(5)
    _take(page, "asset-graph")


def checks(ui: DagsterUi, page: Page) -> None:
    ui.open_check("stg_agent_roles", SUSPECT, "day2")
    _take(page, "checks")


def summary(ui: DagsterUi, page: Page) -> None:
    """The partitions, one of them held, and what the page of another one says of its day."""
    ui.open("/assets/stg_agent_roles?view=partitions&partition=day2")
    expect(page.get_by_text("newly assigned").first).to_be_visible()
    expect(page.get_by_text("Failed (1)")).to_be_visible()
    _take(page, "summary")


def held(ui: DagsterUi, page: Page) -> None:
    """The one check that fails for a held day, and what it says."""
    ui.open("/assets/stg_agent_roles?view=checks&checkDetail=day_may_be_staged")
    expect(page.get_by_text("day4 is held: it has no records at all").first).to_be_visible()
    _take(page, "held")


def plots(ui: DagsterUi, page: Page) -> None:
    """The plots by event, as those by partition lack what a held day has."""
    page.set_viewport_size({"width": 1400, "height": 2000})
    ui.open("/assets/stg_agent_roles")
    for section in ("Status", "Description", "Columns"):  # folded, to make room
        page.get_by_text(section, exact=True).first.click()
    page.get_by_role("button", name="Plots").click()
    page.get_by_role("button", name="Events").click()
    first, last = (page.get_by_text(name, exact=True).first for name in ("Metadata", "removed"))
    expect(last).to_be_visible()
    switch = page.get_by_role("button", name="Plots")
    start, end, right = (place.bounding_box() for place in (first, last, switch))
    left, top = start["x"] - 50, start["y"] - 20
    width, height = right["x"] + right["width"] + 20 - left, end["y"] + 290 - top
    _take(page, "plots", FloatRect(x=left, y=top, width=width, height=height))


def _take(page: Page, name: str, area: FloatRect | None = None) -> None:
    page.mouse.move(1390, 880)
    page.wait_for_timeout(1500)  # the page's animations have no end that shows
    page.screenshot(path=PICTURES / f"{name}.png", clip=area)


if __name__ == "__main__":
    main()
