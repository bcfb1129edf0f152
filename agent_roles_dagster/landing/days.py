"""Which days have landed."""

from agent_roles_dagster.landing.errors import storage_errors
from agent_roles_dagster.landing.files import entry_name, file_system, is_folder, shown
from agent_roles_dagster.outcomes import InvalidSyncDay
from agent_roles_dagster.sync_days import EXPECTED, day_number, is_sync_day


def landed_days(landing: str) -> list[str]:
    """The days that have a folder in the landing folder, in their order."""
    fs, root = file_system(landing)
    with storage_errors(shown(landing)):
        try:
            entries = fs.ls(root, detail=True, refresh=True)
        except FileNotFoundError:
            return []
    names = (entry_name(entry) for entry in entries if is_folder(fs, entry))
    return sorted(filter(is_sync_day, names), key=day_number)


def require_landed(landing: str, sync_day: str) -> None:
    """Refuse a name that is no day's, and a day without a folder.

    Raises:
        InvalidSyncDay: its text says what is expected, and which days have landed.
        NotRead: the landing folder can't be read.
    """
    try:
        day_number(sync_day)
    except InvalidSyncDay as error:
        raise InvalidSyncDay(f"{error}. {landed_sentence(landing)}") from error
    fs, root = file_system(landing)
    with storage_errors(sync_day):
        try:
            # Not by `fs.isdir`, which answers no if the disk gives an error.
            is_there = is_folder(fs, fs.info(f"{root}/{sync_day}"))
        except (FileNotFoundError, NotADirectoryError):
            is_there = False
    if not is_there:
        raise InvalidSyncDay(
            f"{sync_day!r} has not landed: there is no such folder; {EXPECTED}."
            f" {landed_sentence(landing)}"
        )


def landed_sentence(landing: str) -> str:
    """Which days have landed, or why none can have."""
    fs, root = file_system(landing)
    with storage_errors(shown(landing)):
        try:
            if not is_folder(fs, fs.info(root)):
                return f"{shown(landing)}, which AGENT_ROLES_LANDING names, is no folder"
        except FileNotFoundError:
            return f"{shown(landing)}, which AGENT_ROLES_LANDING names, is not there"
    days = landed_days(landing)
    last = ", ".join(days[-10:]) if days else "none"
    before = f"{len(days) - 10} earlier ones, " if len(days) > 10 else ""
    return f"Landed so far under {shown(landing)}: {before}{last}"
