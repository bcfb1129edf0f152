"""The pages for people, README and docs/, taken apart: tests run their commands as they stand."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from agent_roles_dagster.postgres.embedded.programs import wheel_folder as _wheel
from tests import CHECKOUT

PAGES = [CHECKOUT / "README.md", CHECKOUT / "CHANGELOG.md"]
PAGES += sorted((CHECKOUT / "docs").glob("*.md"))
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """A fenced block: its language, and its lines."""

    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    return [Block(*found) for found in _BLOCK.findall(page.read_text(encoding="utf-8"))]


def block(language: str, text: str) -> str:
    """The one block of all pages that is in this language and has this text in it."""
    (found,) = {
        each.text
        for page in PAGES
        for each in blocks(page)
        if each.language == language and text in each.text
    }
    return found


def run(lines: str, folder: Path, **env: str) -> str:
    """Run shell lines in a folder that looks like the project's root; the first failure ends it.

    Returns what they printed.

    Raises:
        subprocess.CalledProcessError: a line failed; its `stderr` says why.
    """
    for name in ("sql", "agent_roles_dagster"):
        if not (folder / name).exists():
            (folder / name).symlink_to(CHECKOUT / name)
    programs = f"{_wheel() / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["/bin/bash", "-ec", lines],
        cwd=folder,
        env={**os.environ, "PATH": programs, **env},
        # Where a terminal would be asked for a new password, twice.
        start_new_session=True,
        input="a password\na password\n",
        capture_output=True,
        check=True,
        text=True,
    ).stdout
