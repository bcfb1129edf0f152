"""What all steps of staging a day need to know."""

from collections.abc import Callable
from dataclasses import dataclass, field

from agent_roles_dagster.settings import Settings


@dataclass(frozen=True)
class Staging:
    """A run that stages a day.

    Attributes:
        url: libpq URL of the database.
        run_id: the run of Dagster.
        accept_removals: why the removals are right although the guard would hold the day. None if
            nobody accepted them.
        approver: the person who accepted them.
        say: takes a line for the user.
    """

    settings: Settings
    url: str = field(repr=False)  # may hold a password
    sync_day: str
    run_id: str
    accept_removals: str | None
    approver: str | None
    say: Callable[[str], None]
