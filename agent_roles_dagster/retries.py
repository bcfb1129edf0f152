"""What is worth trying again within a run: a step that lost PostgreSQL, or the landed dump.

What PostgreSQL calls operational is tried again (a lost connection, no memory left), but not where
it refuses the user or the database. A step leaves each table as before or as after, so it can be.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from inspect import isgeneratorfunction
from typing import Any, ParamSpec, TypeVar

import dagster as dg
import psycopg

from agent_roles_dagster.database import Refused
from agent_roles_dagster.landing import NotRead

# A server that is restarted, or fails over, is back within a minute.
RETRIES = 3
SECONDS = 20.0


_P = ParamSpec("_P")
_R = TypeVar("_R")


def retried_if_lost(compute: Callable[_P, _R]) -> Callable[_P, _R]:
    """The function of an asset or a check, retried after NotRead or an OperationalError.

    But not after `Refused`, which is such an error, too.
    """
    if isgeneratorfunction(compute):

        @wraps(compute)
        def each(*args: Any, **kwargs: Any) -> Iterator[Any]:
            with _retry():
                yield from compute(*args, **kwargs)

        return each  # type: ignore[return-value]

    @wraps(compute)
    def all_at_once(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        with _retry():
            return compute(*args, **kwargs)

    return all_at_once


@contextmanager
def _retry() -> Iterator[None]:
    try:
        yield
    except Refused:
        raise
    except (NotRead, psycopg.OperationalError) as error:
        raise dg.RetryRequested(RETRIES, SECONDS) from error
