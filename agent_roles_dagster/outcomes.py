"""Every way in which a day is refused: the exception, the outcome, the advice, and the retry.

A new way is a new class here. Retries, reports, notices and the closing line follow from it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

# The outcome of a run that failed in any other way.
FAILED = "failed"


class DayRefused(Exception):
    """A day was refused, and nothing of it was published. The text is for the user.

    Attributes:
        outcome: the word for it in a run's metadata, in notices and in the closing line.
        advice: what was left unchanged, and what to do. It is empty if the text says that.
        is_retried: whether the same step may soon succeed without anybody's help.
        kinds: all exceptions of this module.
    """

    outcome: ClassVar[str] = FAILED
    advice: ClassVar[str] = ""
    is_retried: ClassVar[bool] = False

    kinds: ClassVar[list[type["DayRefused"]]] = []

    def __init_subclass__(cls) -> None:
        DayRefused.kinds.append(cls)

    def sentence(self) -> str:
        """What happened, what was left unchanged, and what to do."""
        return f"{self}. {self.advice}" if self.advice else str(self)


# Reading


class Unreadable(DayRefused):
    """The dump is damaged or incomplete. The text names the file and the reason."""

    outcome = "unreadable"
    advice = "Nothing was changed in any table. Land the whole dump again and materialise the day."


class NotRead(DayRefused):
    """The disk or the store failed to deliver the dump, which may be whole.

    The text says what was asked for, and the kind of the error.
    """

    advice = (
        "Nothing was changed in any table. The dump may be whole: once the place where it landed"
        " can be reached and read, materialise the day again."
    )
    is_retried = True


class InvalidSyncDay(DayRefused, ValueError):
    """The name is not valid for a sync day, or the day has not landed."""

    outcome = "refused"


class SameNumber(InvalidSyncDay):
    """A day with the same number is staged under another name."""


class NoDay(DayRefused):
    """A run was launched without a partition."""

    outcome = "refused"
    advice = "Nothing was changed in any table. Run it again with the sync day as its partition."


class RangeOfDays(DayRefused):
    """A run was launched over a range of days, which Dagster would not take in their order."""

    outcome = "refused"


class InvalidLoad(DayRefused):
    """The config of a run over many days asks for days that can't be loaded."""

    outcome = "refused"
    advice = (
        "Nothing was changed in any table. Correct the run's config and run load_landed_days again."
    )


# Staging


class Pruned(DayRefused):
    """A snapshot with which the day is compared is not there any more, or was changed."""

    outcome = "pruned"


class LostRows(DayRefused, RuntimeError):
    """The counts don't add up: rows were lost or doubled on the way."""


class Held(DayRefused):
    """The guard finds that the dump looks like damage.

    Attributes:
        counts: the day's record as staging it would have left it, by column.
        sample: some of the removals.
    """

    outcome = "held"

    def __init__(self, text: str, counts: Mapping[str, Any], sample: Sequence[str]) -> None:
        super().__init__(text)
        self.counts = counts
        self.sample = sample


class NotAccepted(DayRefused):
    """The acceptance of a held day is incomplete, or is for another day."""

    outcome = "not accepted"
    advice = (
        "Nothing was changed in any table. Run the job accept_held_day again with the day, the"
        " reason and the approver."
    )


# Applying


class ChecksFailed(DayRefused):
    """The day is staged. A blocking check failed, so the day is not applied."""

    outcome = "checks failed"


class NotApplied(DayRefused):
    """The day can't be applied. The mapping is as before."""

    outcome = "not applied"


class NotTakenBack(DayRefused):
    """The day can't be taken back. Nothing was changed."""

    outcome = "not taken back"
