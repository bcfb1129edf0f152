"""Breaks lines of the product, one at a time, in a copy of the checkout: do the tests notice?

    python -m tests.mutate                    all of `tests/mutations.py`, for about an hour
    python -m tests.mutate "socket" "a day"   those with one of these texts in their names

By hand, not in CI. The exit status is 0 if the tests noticed each of them, 1 if not, and 2 if no
name has a text that was given.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from tests import CHECKOUT
from tests.mutations import MUTATIONS, Mutation
from tests.processes import killed_at_the_end

# Seconds for all the tests of one mutation.
PATIENCE = 900
_PYTEST = (sys.executable, "-m", "pytest", "-n0", "-x", "-q", "-p", "no:cacheprovider")
_NOT_COPIED = (".git", ".venv", "venv", ".dagster", ".hypothesis", "__pycache__", ".*_cache")


def main(texts: Sequence[str]) -> int:
    """Try the mutations that are asked for, and say what became of each."""
    chosen = [each for each in MUTATIONS if not texts or any(text in each.name for text in texts)]
    if unknown := [text for text in texts if not any(text in each.name for each in chosen)]:
        print(f"No mutation has this in its name: {', '.join(unknown)}")
        return 2
    with tempfile.TemporaryDirectory(prefix="agent-roles-mutate-") as folder:
        Path(folder).chmod(0o755)  # the tests run a server under another account
        copy = Path(folder, "checkout")
        shutil.copytree(CHECKOUT, copy, ignore=shutil.ignore_patterns(*_NOT_COPIED))
        noticed = 0
        for mutation in chosen:
            verdict = _try(copy, mutation)
            noticed += verdict.startswith("noticed")
            print(f"{mutation.name}: {verdict}", flush=True)
    print(f"{noticed} of {len(chosen)} were noticed.")
    return int(noticed < len(chosen))


def _try(copy: Path, mutation: Mutation) -> str:
    path = copy / mutation.file
    text = path.read_text() if path.exists() else ""
    if (times := text.count(mutation.text)) != 1:
        return f"STALE, since its text stands in {mutation.file} {times} times"
    if (unbroken := _unbroken(copy, mutation.tests)) != "passed":
        return f"NOT JUDGED, since without it {mutation.tests} {unbroken}"
    try:
        path.write_text(text.replace(mutation.text, mutation.becomes))
        ended = _run(copy, mutation.tests)
    finally:
        path.write_text(text)
    if ended == "passed":
        return f"SURVIVED {mutation.tests}"
    return f"noticed by {ended}" if ended.startswith("tests/") else f"NOT JUDGED: pytest {ended}"


@cache
def _unbroken(copy: Path, tests: str) -> str:
    return _run(copy, tests)


def _run(copy: Path, tests: str) -> str:
    """How the tests ended: "passed", or the first that failed and why, or why they did neither."""
    process = subprocess.Popen(
        [*_PYTEST, *tests.split()],
        cwd=copy,
        # A line that is broken within a second of another may be taken for it, once compiled.
        env={**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
        | {"COLUMNS": "300"},  # else the summary is cut
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    with killed_at_the_end(process):
        try:
            said, _ = process.communicate(timeout=PATIENCE)
        except (subprocess.TimeoutExpired, KeyboardInterrupt) as error:
            process.send_signal(signal.SIGINT)  # It stops its database server.
            with suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=60)
            if isinstance(error, KeyboardInterrupt):
                raise
            return f"took more than {PATIENCE} s"
    # A set-up that fails is an ERROR, and says nothing of what the test is about.
    failed = re.search(r"^FAILED (.*)$", said, re.MULTILINE)
    if process.returncode == 1 and failed:
        return failed[1][:200]
    if process.returncode == 0 and re.search(r"^\d+ passed", said, re.MULTILINE):
        return "passed"
    return f"ended with {process.returncode}: {said.strip().rpartition(chr(10))[2]}"


if __name__ == "__main__":
    # A shell's & has it and its children ignore Ctrl-C; and SIGTERM is to leave nothing behind.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))
