"""Reporting that must not fail a run."""

from collections.abc import Iterator
from contextlib import contextmanager

from agent_roles_dagster.orchestration.reports import Context


@contextmanager
def best_effort(context: Context, day: str, otherwise: str) -> Iterator[None]:
    """Log a warning instead of an error of the block, since the tables are right without it.

    Args:
        otherwise: what is not done, or may be out of date, after an error.
    """
    try:
        yield
    except Exception as error:
        # The kind only: the text of another package's error may quote a record.
        context.log.warning(f"{day}: {otherwise} ({type(error).__name__})")
