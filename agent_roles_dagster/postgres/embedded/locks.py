"""Locks on files. A lock ends with the process that holds it."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent_roles_dagster.postgres.embedded.account import open_file

if sys.platform != "win32":
    import fcntl


@contextmanager
def file_lock(folder: Path) -> Iterator[None]:
    lock = open_file(folder / "lock")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def try_exclusive(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
