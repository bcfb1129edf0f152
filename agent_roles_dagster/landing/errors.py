"""Turns errors of the disk or the store into this package's own."""

from collections.abc import Iterator
from contextlib import contextmanager

from agent_roles_dagster.outcomes import NotRead, Unreadable


@contextmanager
def storage_errors(where: str = "") -> Iterator[None]:
    """Turn the errors of the disk or the store into ours. Nothing else belongs into the block.

    Args:
        where: begins the error's text. If it is not given, the caller adds it.

    Raises:
        Unreadable: instead of FileNotFoundError, or as it comes.
        ImportError, NotImplementedError: as they come. This kind of store needs a package, or does
            not offer the operation.
        NotRead: instead of any other error. Each kind of store has errors of its own.
    """
    begin = f"{where}: " if where else ""
    try:
        yield
    except FileNotFoundError:
        raise Unreadable(f"{begin}it is not there, or not any more") from None
    except (Unreadable, ImportError, NotImplementedError):
        raise
    except Exception as error:
        # The error's own text is the library's, and may quote anything.
        raise NotRead(f"{begin}can't be read ({type(error).__name__})") from None


@contextmanager
def errors_about(where: str) -> Iterator[None]:
    """Put the file's name before the text of an error that does not have it yet."""
    try:
        yield
    except (NotRead, Unreadable) as error:
        raise type(error)(f"{where}: {error}") from None
