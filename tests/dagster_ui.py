"""`dagster dev` as a process of its own, and its web pages driven by a real browser."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from playwright.sync_api import Locator, Page, expect, sync_playwright

from tests import CHECKOUT

BROWSER_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
# Seconds. A machine under load starts a web server, and a JVM for each run, slowly.
START, RUN, STEP = 240, 300, 60


@cache
def chromium() -> str | None:
    """Path of a Chromium on this machine that starts, None if there is none."""
    names = "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"
    given = os.environ.get("CHROMIUM")
    paths = filter(None, map(shutil.which, [given] if given else names))
    return next(filter(_starts, paths), None)


def _starts(path: str) -> bool:
    """Whether it says its version: what is there may only tell how to install it."""
    try:
        return subprocess.run([path, "--version"], capture_output=True, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


@contextmanager
def dagster_dev(home: Path, **settings: str) -> Iterator[str]:
    """The URL of a running `dagster dev` with its own DAGSTER_HOME; all of it ends with the block.

    If the block fails, the end of the server's log is printed.

    Args:
        settings: environment variables on top of this process's.
    """
    home.mkdir(parents=True, exist_ok=True)
    config = (CHECKOUT / "dagster.yaml").read_text()
    if "nux:" not in config:  # Dagster's invitation to its community would cover the page
        config += "nux:\n  enabled: false\n"
    (home / "dagster.yaml").write_text(config)
    port = _free_port()
    log = home / "dagster-dev.log"
    command = [sys.executable, "-m", "dagster", "dev", "-w", "workspace.yaml"]
    with log.open("wb") as output:
        server = subprocess.Popen(
            [*command, "-h", "127.0.0.1", "-p", str(port)],
            cwd=CHECKOUT,
            env={**os.environ, "DAGSTER_HOME": str(home), **settings},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_served(url, server)
        yield url
    except BaseException:
        lines = log.read_text(errors="replace").splitlines()
        print("the end of the log of dagster dev:", *lines[-80:], sep="\n")
        raise
    finally:
        _end(server)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_served(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise RuntimeError(f"dagster dev ended with {server.returncode}")
        try:
            with urllib.request.urlopen(f"{url}/server_info", timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise TimeoutError(f"dagster dev did not serve {url} within {START} s")


def _end(server: subprocess.Popen[bytes]) -> None:
    """Ask politely first, so that it ends its own children; then end the whole process group."""
    if server.poll() is None:
        server.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            server.wait(30)
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait(10)


@contextmanager
def browser_page(executable: str) -> Iterator[Page]:
    """An empty page of a headless browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, args=list(BROWSER_ARGUMENTS)
        )
        try:
            page = browser.new_page(viewport={"width": 1400, "height": 900})
            page.set_default_timeout(STEP * 1000)
            expect.set_options(timeout=STEP * 1000)
            yield page
        finally:
            browser.close()


class DagsterUi:
    """What a person does and sees in Dagster's pages."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url

    def open(self, path: str) -> None:
        self.page.goto(f"{self.url}{path}", timeout=STEP * 1000)

    def offered_days(self) -> list[str]:
        """The partitions that "Materialize all" offers, in their order."""
        self._open_partition_menu()
        texts = self.page.get_by_role("menuitem").all_inner_texts()
        days = [text.split("\n")[0] for text in texts]
        return [day for day in days if day and not day.startswith(("Add partition", "Select all"))]

    def wait_until_offered(self, days: list[str]) -> None:
        """Wait until exactly these days are offered; the page is opened anew to see new ones."""
        deadline = time.monotonic() + START
        while (offered := self.offered_days()) != days:
            assert time.monotonic() < deadline, f"offered: {offered}, expected: {days}"
            time.sleep(1)

    def materialise(self, day: str, outcome: str = "Success") -> None:
        """Click through "Materialize all" for the day, and wait until its run ended so."""
        self._open_partition_menu()
        self.page.get_by_role("menuitem").filter(has_text=_day_pattern(day)).click()
        self.page.keyboard.press("Escape")
        self.page.get_by_role("button", name="Launch 1 run").click()
        # The dialog closes once the run is registered.
        expect(self.page.get_by_text("Partition selection")).to_have_count(0)
        self.open("/runs")
        # The list has no roles or labels: a run's row is the innermost box with its day and a
        # button to view it.
        page = self.page
        day_tag = page.get_by_text(f"partition: {day}", exact=True)
        view = page.get_by_text("View", exact=True)
        run = page.locator("div").filter(has=day_tag).filter(has=view).last
        status = run.get_by_text(re.compile("^(Success|Failure|Canceled)$"))
        expect(status).to_be_visible(timeout=RUN * 1000)
        expect(status).to_have_text(outcome)

    def check_statuses(self, asset: str) -> dict[str, str]:
        """ "Succeeded" or "Failed" by check, as the asset's Checks tab lists them."""
        self.open(f"/assets/{asset}?view=checks")
        deadline = time.monotonic() + STEP
        while True:
            text = self.page.locator("body").inner_text()
            statuses = dict(re.findall(r"^(\w+)\n(Succeeded|Failed)$", text, re.MULTILINE))
            if statuses and f"Checks ({len(statuses)})" in text:
                return statuses
            assert time.monotonic() < deadline, f"not every check has a result: {text}"
            time.sleep(0.5)

    def open_check(self, asset: str, check: str, day: str) -> Locator:
        """The page about a check's result for the day."""
        self.open(f"/assets/{asset}?view=checks&checkDetail={check}")
        page = self.page
        expect(page.get_by_text("Latest execution")).to_be_visible()
        page.get_by_text("Partitions", exact=True).last.click()
        prompt = page.get_by_text("Select a partition to view details")
        expect(prompt).to_be_visible()
        page.get_by_text(day, exact=True).locator("visible=true").last.click()
        expect(prompt).to_have_count(0)
        expect(page.get_by_text("View all historical executions")).to_be_visible()
        # The innermost box with the day's name and the result's metadata.
        return (
            page.locator("div")
            .filter(has=page.get_by_text(day, exact=True))
            .filter(has=page.get_by_text("View all historical executions"))
            .last
        )

    def _open_partition_menu(self) -> None:
        self.open("/asset-groups")
        self.page.get_by_role("button", name="Materialize all").click()
        selector = self.page.get_by_text("Select a partition or create one")
        offered = self.page.get_by_role("menuitem").first
        # Once more where the dialog was drawn anew under the first click, which then opens nothing.
        selector.click()
        with suppress(AssertionError):
            expect(offered).to_be_visible(timeout=10_000)
            return
        selector.click()
        expect(offered).to_be_visible()


def _day_pattern(day: str) -> re.Pattern[str]:
    # The name is there twice, once to measure its width.
    return re.compile(f"^({re.escape(day)}){{1,2}}$")
