"""The run config with which a person accepts a held day."""

import dagster as dg
from pydantic import Field

from agent_roles_dagster.orchestration.failures import failure
from agent_roles_dagster.outcomes import NotAccepted

ACCEPT = "accept_held_day"


class Acceptance(dg.Config):
    """Why removals beyond the guard's limits are right, and who approved them."""

    day: str = Field(description="The held day, e.g. day4: the same as the run's partition.")
    reason: str = Field(description="Why the removals are right, e.g. the tenant was closed.")
    approver: str = Field(description="Who approved it: a name, an address or a ticket.")


class StageConfig(dg.Config):
    """Run config of `stage_agent_roles`."""

    accept_removals: str | None = Field(
        default=None,
        description="Why removals beyond the guard's limits are right. It counts for this run"
        " only. It is kept with the day.",
    )
    accept: Acceptance | None = Field(
        default=None, description="The same with an approver, as the job accept_held_day asks."
    )

    def accepted(self, job: str, sync_day: str) -> tuple[str | None, str | None]:
        """The reason and the approver; None where nothing is accepted.

        Raises:
            dg.Failure: the acceptance is incomplete, or is for another day.
        """
        if self.accept is None and job != ACCEPT:
            return (self.accept_removals or "").strip() or None, None
        given = self.accept or Acceptance(day=sync_day, reason="", approver="")
        reason, approver = given.reason.strip(), given.approver.strip()
        needed = {"the reason": reason, "the approver": approver}
        wrong = [f"{name} is empty" for name, text in needed.items() if not text]
        if given.day.strip() != sync_day:
            wrong.insert(0, f"it is of {given.day!r}, and the run's partition is {sync_day!r}")
        if wrong:
            raise failure(NotAccepted(f"{sync_day} is not accepted: {' and '.join(wrong)}"))
        return reason, approver
