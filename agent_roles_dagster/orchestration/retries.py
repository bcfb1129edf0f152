"""Retries within a run: a step that lost PostgreSQL or the landed dump is tried again.

A retry follows what PostgreSQL calls an operational error, such as a lost connection or a lack of
memory. None follows if the server refuses the user or the database. Steps are idempotent: each
leaves every table as before or as after. `outcomes` says which refused days are worth a retry.
"""

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import dagster as dg
import psycopg

from agent_roles_dagster.outcomes import DayRefused
from agent_roles_dagster.postgres.connection import Refused

# A server that is restarted, or fails over, is back within a minute.
RETRIES = 3
SECONDS = 20.0


_P = ParamSpec("_P")
_E = TypeVar("_E")


def retried_if_lost(compute: Callable[_P, Iterator[_E]]) -> Callable[_P, Iterator[_E]]:
    """Retry the generator of an asset or a check after an error that may pass.

    The generator's first argument is Dagster's context. Its log says at once why the step waits.
    """

    @wraps(compute)
    def each(*args: _P.args, **kwargs: _P.kwargs) -> Iterator[_E]:
        context: Any = args[0]
        try:
            yield from compute(*args, **kwargs)
        except (DayRefused, psycopg.OperationalError) as error:
            if not _is_worth_a_retry(error):
                raise
            if is_tried_again(context, error):
                tried = getattr(context, "op_execution_context", context).retry_number + 1
                why = " ".join(str(error).split()).rstrip(".")
                context.log.warning(
                    f"{why}. Trying again in {SECONDS:g} seconds ({tried} of {RETRIES})."
                )
            raise dg.RetryRequested(RETRIES, SECONDS) from error

    return each


def is_tried_again(context: Any, error: BaseException) -> bool:
    """Whether a retry of the step follows this error."""
    tried = getattr(context, "op_execution_context", context).retry_number
    return _is_worth_a_retry(error) and tried < RETRIES


def _is_worth_a_retry(error: BaseException) -> bool:
    if isinstance(error, DayRefused):
        return error.is_retried
    return isinstance(error, psycopg.OperationalError) and not isinstance(error, Refused)
