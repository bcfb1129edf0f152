"""Summaries of a day in Markdown, for the web interface. They have ids and counts only.

A table shows its first rows and how many more there are. The queries are in `sql/reports/`. Their
cost grows with what the day changed, not with what the tables hold.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from agent_roles_dagster.display import in_markdown
from agent_roles_dagster.postgres.sql_files import Connection, rows_of_file

_SHOWN = 10


def day_summary(connection: Connection, known: Mapping[str, Any]) -> str:
    """What a staged day changed, and which roles it changed most.

    Args:
        known: the day's row of reports/shown_day.
    """
    day, before = known["sync_day"], known["previous_day"]
    newly = known["assigned"] - known["previous_assigned"] + known["removed"]
    versus = f" since {before}" if before else "; no day before it is staged"
    parts = [
        f"**{day}**: {newly:,} newly assigned, {known['removed']:,} removed{versus}."
        f" {known['invalid_rows']:,} of {known['raw_rows']:,} raw rows are invalid."
    ]
    if roles := rows_of_file(connection, "reports/biggest_changes", sync_day=day):
        rows = [(f"{row['role_id']}", row["assigned"], row["removed"]) for row in roles]
        parts.append("The roles that it changed most:")
        parts.append(_table(["Role", "Newly assigned", "Removed"], rows, roles[0]["roles"]))
    return "\n\n".join(parts)


def changed_pairs(connection: Connection, known: Mapping[str, Any]) -> str:
    """The first of the pairs that the day changed, and how many more there are.

    Args:
        known: the day's row of reports/shown_day.
    """
    pairs = rows_of_file(connection, "reports/changed_pairs", sync_day=known["sync_day"])
    rows = [(pair["change"], f"{pair['agent_id']}", f"{pair['role_id']}") for pair in pairs]
    of = known["assigned"] - known["previous_assigned"] + 2 * known["removed"]
    table = _table(["Change", "Agent", "Role"], rows, of, most=len(rows))
    return f"What was different from {known['previous_day']}:\n\n{table}"


def what_was_read(known: Mapping[str, Any]) -> str:
    """The counts of the dump, from records to invalid rows."""
    columns = "records", "raw_rows", "valid_pairs", "duplicates", "invalid_rows"
    header = [column.replace("_", " ").capitalize() for column in columns]
    table = _table(header, [[known[column] for column in columns]], 1)
    return f"What the dump of {known['sync_day']} had in it:\n\n{table}"


def errors_summary(connection: Connection, known: Mapping[str, Any]) -> str:
    """Removals that may be damage, and the rules that were broken.

    Args:
        known: the day's row of reports/shown_day.
    """
    day, before = known["sync_day"], known["previous_day"]
    parts = [
        f"**{day}**: {known['error_rows']:,} of {known['error_raw_rows']:,} raw rows are invalid."
    ]
    rows: list[tuple[str | int, ...]]
    suspects = []
    if known["is_staged"]:
        suspects = rows_of_file(connection, "checks/suspect_removals", sync_day=day)
    if suspects:
        parts.append("Removals beside invalid rows of the same role, which may be damage:")
        rows = [
            (f"{row['role_id']}", row["removals"], f"{row['one_agent_id']}", row["invalid_rows"])
            for row in suspects
        ]
        parts.append(_table(["Role", "Removed", "Such as agent", "Invalid rows"], rows, len(rows)))
    if rules := rows_of_file(connection, "checks/errors", sync_day=day):
        header = ["Why invalid", "Rows", *([f"On {before}"] if before else [])]
        rows = [
            # By the header's length: without a day before, nothing is new.
            (in_markdown(rule["broken"]), rule["rows_refused"], rule["day_before"] or "none: new")[
                : len(header)
            ]
            for rule in rules
        ]
        parts.append("The rules that were broken, and how often:")
        parts.append(_table(header, rows, len(rows)))
    return "\n\n".join(parts)


def acceptance(known: Mapping[str, Any]) -> str:
    """Who accepted the day, why, and in which run."""
    rows = [
        (name, in_markdown(known[column]))
        for name, column in (
            ("Reason", "accepted_reason"),
            ("Approver", "accepted_by"),
            ("Run", "accepted_run"),
            ("What was accepted", "accepted_what"),
        )
        if known[column]
    ]
    return _table(["Accepted", ""], rows, len(rows))


def mapping_preview(connection: Connection) -> str:
    """How many rows of the mapping would change if the staged days were applied, and how."""
    changes = rows_of_file(connection, "reports/preview_mapping")
    number = sum(change["pairs"] for change in changes)
    parts = [f"Applying would change {number:,} rows of agent_role_mapping."]
    if changes:
        rows = [
            (
                in_markdown(change["status_now"] or "not there"),
                in_markdown(_then(change["status_now"], change["status_then"])),
                change["pairs"],
                "; ".join(change["sample"]),
            )
            for change in changes
        ]
        parts.append("From what to what:")
        parts.append(_table(["Now", "Then", "Pairs", "Such as"], rows, len(rows)))
    return "\n\n".join(parts)


def _then(now: str | None, then: str | None) -> str:
    if then is None:
        return "not there"
    return f"{then}, at another time" if now == then else then


def _table(
    header: Sequence[str], rows: Sequence[Sequence[str | int]], of: int, *, most: int = _SHOWN
) -> str:
    """The first rows as a Markdown table, and how many more of them there are."""
    lines = [header, ["---"] * len(header), *rows[:most]]
    text = "\n".join(
        f"| {' | '.join(f'{cell:,}' if isinstance(cell, int) else cell for cell in line)} |"
        for line in lines
    )
    return text if of <= most else f"{text}\n\nand {of - most:,} more."
