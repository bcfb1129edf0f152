"""Which sync days have landed."""

from agent_roles_dagster.landing.files import file_system, giving, is_folder, name_of, shown
from agent_roles_dagster.landing.find import landed_sentence
from agent_roles_dagster.sync_days import EXPECTED, InvalidSyncDay, day_number, is_sync_day


def landed_days(landing: str) -> list[str]:
    """The sync days that have a folder under `landing`, in their order."""
    fs, root = file_system(landing)
    with giving(shown(landing)):
        try:
            entries = fs.ls(root, detail=True, refresh=True)
        except FileNotFoundError:
            return []
    names = (name_of(entry) for entry in entries if is_folder(fs, entry))
    return sorted(filter(is_sync_day, names), key=day_number)


def require_landed(landing: str, sync_day: str) -> None:
    """Refuse a name that is no sync day's, or a day that has no folder.

    Raises:
        InvalidSyncDay: with what is expected and which days are there.
        NotRead: nobody can tell.
    """
    try:
        day_number(sync_day)
    except InvalidSyncDay as error:
        raise InvalidSyncDay(f"{error}. {landed_sentence(landing)}") from error
    fs, root = file_system(landing)
    with giving(sync_day):
        try:
            # Not by isdir, which says no where a disk gives an error.
            is_there = is_folder(fs, fs.info(f"{root}/{sync_day}"))
        except (FileNotFoundError, NotADirectoryError):
            is_there = False
    if not is_there:
        raise InvalidSyncDay(
            f"{sync_day!r} has not landed: there is no such folder; {EXPECTED}."
            f" {landed_sentence(landing)}"
        )
