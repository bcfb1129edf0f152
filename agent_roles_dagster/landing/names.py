"""Names of files: which are part of a dump, how each is read, and how people see it."""

from agent_roles_dagster.display import plain

_LINES = (".jsonl", ".ndjson")
_KINDS = (".json", *_LINES)
_GZIP = ".gz"
_SUFFIXES = tuple(kind + gzip for kind in _KINDS for gzip in ("", _GZIP))
# For messages.
PATTERNS = ", ".join(f"*{suffix}" for suffix in (*_KINDS, _GZIP))


def is_dump_file(name: str) -> bool:
    """Whether a file of this name, in a day's folder, is part of the dump."""
    return name.endswith(_SUFFIXES) and not name.startswith((".", "_"))


def is_json_lines(name: str) -> bool:
    """Whether the dump file has a record on each line. If not, it is one document."""
    return name.removesuffix(_GZIP).endswith(_LINES)


def is_gzip(name: str) -> bool:
    """Whether the dump file is zipped."""
    return name.endswith(_GZIP)


def shown_path(sync_day: str, name: str) -> str:
    """The day and the name, for people to read."""
    return f"{sync_day}/{plain(name)}"
