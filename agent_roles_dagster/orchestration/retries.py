"""What is worth trying again within a run: a step that lost PostgreSQL, or the landed dump.

What PostgreSQL calls operational is tried again (a lost connection, no memory left), but not where
it refuses the user or the database. A step leaves each table as before or as after, so it can be.
"""

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import dagster as dg
import psycopg

from agent_roles_dagster.outcomes import NotRead
from agent_roles_dagster.postgres.connection import Refused

# A server that is restarted, or fails over, is back within a minute.
RETRIES = 3
SECONDS = 20.0


_P = ParamSpec("_P")
_E = TypeVar("_E")


def retried_if_lost(compute: Callable[_P, Iterator[_E]]) -> Callable[_P, Iterator[_E]]:
    """The generator of an asset or a check, retried after NotRead or an OperationalError.

    But not after `Refused`, which is such an error, too. Its first argument is Dagster's context,
    whose log is told at once why a step waits.
    """

    @wraps(compute)
    def each(*args: _P.args, **kwargs: _P.kwargs) -> Iterator[_E]:
        context: Any = args[0]
        try:
            yield from compute(*args, **kwargs)
        except Refused:
            raise
        except (NotRead, psycopg.OperationalError) as error:
            tried = getattr(context, "op_execution_context", context).retry_number + 1
            if tried <= RETRIES:
                why = " ".join(str(error).split()).rstrip(".")
                context.log.warning(
                    f"{why}. Trying again in {SECONDS:g} seconds ({tried} of {RETRIES})."
                )
            raise dg.RetryRequested(RETRIES, SECONDS) from error

    return each
