"""Progress: a step that lasts says every ten seconds what it does and how far it is.

The numbers come from PostgreSQL's counters, which do not depend on the engine, and from the tasks
of this process. In the first ten seconds, nothing is asked.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from types import TracebackType
from typing import Self

from agent_roles_dagster.engines.tasks import rows_read
from agent_roles_dagster.postgres.connection import connect
from agent_roles_dagster.postgres.sql_files import Connection, one, rows_of_file

EVERY = 10.0
_PATIENCE = 5
# A row is two BIGINTs, and a page has 8192 bytes.
_ROWS_PER_PAGE = 185
_PAGES = "SELECT pg_relation_size(to_regclass(%s)) / 8192 AS pages"

Describe = Callable[[float], str]


class Progress:
    """While the context lasts, its thread says what is being done.

    Args:
        say: takes a line for the user.
        begun: describes what is done first.
        every: seconds between two lines. None means `EVERY`.
    """

    def __init__(
        self, say: Callable[[str], None], begun: Describe, every: float | None = None
    ) -> None:
        self._say, self._every = say, EVERY if every is None else every
        self._is_over = Event()
        self._thread = Thread(target=self._tell, name="progress", daemon=True)
        self.begin(begun)

    def begin(self, doing: Describe) -> None:
        """From now on, `doing` describes what is being done. It gets the seconds since then."""
        self._doing = doing, time.monotonic()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._is_over.set()
        # Not for ever: PostgreSQL may not answer the thread. It says nothing more in any case.
        self._thread.join(_PATIENCE)

    def _tell(self) -> None:
        while not self._is_over.wait(self._every):
            describe, since = self._doing
            # An error here must not end the step.
            with suppress(Exception):
                line = describe(time.monotonic() - since)
                if not self._is_over.is_set():
                    self._say(line)


def lasting(what: str) -> Describe:
    """Describes how long it has taken so far."""
    return lambda seconds: f"{what}, {seconds:.0f} s so far"


def loading(url: str, day: str, load_table: str, expected: int | None) -> Describe:
    """Describes how many raw rows were read, or how many pairs were loaded once there are some.

    Args:
        load_table: the quoted name of the load table that takes the pairs.
        expected: about how many pairs will be loaded. None if that is not known.
    """
    read_before = rows_read()
    last = "", 0, 0.0

    def describe(seconds: float) -> str:
        nonlocal last
        with _short_question(url) as connection:
            pages = one(connection, _PAGES, (load_table,)) or 0
        what, count = "loaded", pages * _ROWS_PER_PAGE
        if not pages:
            what, count = "read", rows_read() - read_before
        before, since = (last[1] if last[0] == what else 0), last[2]
        last = what, count, seconds
        if not count:
            return lasting(f"{day}: reading and comparing")(seconds)
        rate = (count - before) / max(seconds - since, 0.001)
        counted = f"{count:,} raw rows"
        if pages:
            counted = f"about {count:,}{f' of {expected:,}' if expected else ''} pairs"
        return f"{day}: {what} {counted}, {rate:,.0f} a second"

    return describe


def writing(url: str, what: str) -> Describe:
    """Describes how long it has taken so far, and which table's index is being built."""

    def describe(seconds: float) -> str:
        with _short_question(url) as connection:
            rows = rows_of_file(connection, "reports/index_progress")
        indexes = "; ".join(
            f"{row['phase']} of {row['name']}, {row['share'] or 0} %" for row in rows
        )
        return lasting(what)(seconds) + (f": {indexes}" if indexes else "")

    return describe


@contextmanager
def _short_question(url: str) -> Iterator[Connection]:
    """A connection on which PostgreSQL gives up what takes longer than `_PATIENCE`."""
    with connect(url) as connection, connection.transaction():
        connection.execute(f"SET LOCAL statement_timeout = '{_PATIENCE}s'".encode())
        yield connection
