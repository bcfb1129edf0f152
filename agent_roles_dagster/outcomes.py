"""Why a day is refused, or can't be read. Each text is for the user."""


class Unreadable(Exception):
    """The day is not a snapshot. Its text names the file and says why."""


class NotRead(Exception):
    """The disk or the store where the dump landed does not give it, which may be whole.

    Its text names what was asked for and the kind of the error.
    """


class Pruned(Exception):
    """Staging the day needs a snapshot that is not kept any more. Its text is for the user."""


class LostRows(RuntimeError):
    """The counts don't add up: rows were lost or doubled on the way. Nothing was published."""
