"""What each column means, as Dagster shows it with the assets."""

import dagster as dg


def _columns(*columns: tuple[str, str, str]) -> dict[str, object]:
    """Dagster's standard metadata for columns: name, type, description of each."""
    return {
        "dagster/column_schema": dg.TableSchema(
            [dg.TableColumn(column, kind, description=text) for column, kind, text in columns]
        )
    }


def _table(name: str, *columns: tuple[str, str, str]) -> dict[str, object]:
    """Dagster's standard metadata for a table."""
    return {"dagster/table_name": name, **_columns(*columns)}


_IDS = (
    ("agent_id", "BIGINT", "The agent, by the help desk's own number"),
    ("role_id", "BIGINT", "The role, by the help desk's own number"),
)
_SYNC_DAY = ("sync_day", "TEXT", "The day whose dump this is, such as day1 or 2026-11-23")

RAW_ROLES = _columns(
    ("agent_id", "JSON", "The agent as the dump says it: a number, text, anything, or nothing"),
    ("role_id", "JSON", "The role as the dump says it: a number, text, anything, or nothing"),
    ("status", "JSON", "assigned or removed; absent means assigned"),
)
STG_AGENT_ROLES = _table(
    "stg_agent_roles",
    *_IDS,
    (
        "status",
        "TEXT",
        "assigned: the day's dump has the pair. removed: the previous day assigned it, and this"
        " day does not",
    ),
    _SYNC_DAY,
    ("source", "TEXT", "Where the dump is from: always api"),
    (
        "ingested_at",
        "TIMESTAMP",
        "When this row's content was loaded, UTC; loading the same dump again does not change it",
    ),
)
AGENT_ROLE_PIPELINE_ERRORS = _table(
    "agent_role_pipeline_errors",
    ("id", "SERIAL", "The row's own number"),
    ("agent_id", "BIGINT", "The agent, if it could be read"),
    ("role_id", "BIGINT", "The role, if it could be read"),
    ("error_type", "TEXT", "The kind of error: always VALIDATION_ERROR"),
    ("error_message", "TEXT", "Every rule that the row breaks, separated by semicolons"),
    (
        "raw_record",
        "JSONB",
        "The row as received, with its file and its place there. It may have names and addresses,"
        " so few accounts may read it",
    ),
    ("created_at", "TIMESTAMP", "When the row was found invalid, UTC"),
    _SYNC_DAY,
)
AGENT_ROLE_MAPPING = _table(
    "agent_role_mapping",
    *_IDS,
    (
        "status",
        "TEXT",
        "assigned: the agent holds the role on the newest staged day. removed: it did before",
    ),
    (
        "assigned_at",
        "TIMESTAMP",
        "When the source was read, UTC, on the day on which the latest assignment began",
    ),
    (
        "removed_at",
        "TIMESTAMP",
        "When the source was read, UTC, on the day on which it ended; null while it holds",
    ),
)
