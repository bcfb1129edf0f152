"""The rules that a raw row must keep, stated once, as Spark expressions.

The transform applies them, the checks count by them, and the messages in the errors table are
theirs. Columns hold JSON texts, as `dump.RAW_ROWS` says.
"""

from pyspark.sql import Column
from pyspark.sql import functions as F

ASSIGNED = "assigned"
REMOVED = "removed"
STATUSES = (ASSIGNED, REMOVED)

# JSON's integers; in a text, ASCII's blanks may stand around one. Java's engine and Rust's read
# these patterns alike; a `$` would match before a last line end in one of them, and `\s` is not the
# same in both.
_BLANKS = r"[ \t\n\x0B\f\r]*"
_DIGITS = r"-?(?:0|[1-9][0-9]*)"
_INTEGER = rf"\A{_DIGITS}\z"
_INTEGER_IN_TEXT = rf'\A"{_BLANKS}({_DIGITS}){_BLANKS}"\z'


def id_value(column: str) -> Column:
    """The BIGINT that the id's JSON text is, null where it is none."""
    text = F.col(column)
    # By the patterns first: a cast trims more than blanks, and takes what is no integer.
    digits = F.when(text.rlike(_INTEGER), text).when(
        text.rlike(_INTEGER_IN_TEXT), F.regexp_extract(text, _INTEGER_IN_TEXT, 1)
    )
    return digits.try_cast("bigint")


def status_value(column: str) -> Column:
    """'assigned' or 'removed', null for any other status; an absent one is 'assigned'."""
    status = F.coalesce(F.col(column), F.lit(f'"{ASSIGNED}"'))
    return F.when(status.isin([f'"{s}"' for s in STATUSES]), F.trim(status, F.lit('"')))


def message(agent: str, role: str, status: str, problem: str) -> Column:
    """Every rule the row breaks, separated by '; ', null for a valid row.

    If `problem` already explains a missing id, that id is not reported again: `agents is null` and
    `agent_id is given twice` explain the agent's, `status is given twice` neither, others both.
    """
    explains_agent = ~F.col(problem).rlike(r"\A(role|status)")
    explains_role = ~F.col(problem).rlike(r"\A(agent|status)")
    broken = F.concat_ws(
        "; ",
        F.col(problem),
        F.when(
            F.col(problem).isNull() | ~explains_agent | F.col(agent).isNotNull(),
            _id_message("agent_id", agent),
        ),
        F.when(
            F.col(problem).isNull() | ~explains_role | F.col(role).isNotNull(),
            _id_message("role_id", role),
        ),
        _status_message(status),
    )
    return F.when(broken != "", broken)


def _id_message(name: str, column: str) -> Column:
    text = F.col(column)
    first = F.substring(text, 1, 1)
    return F.when(
        id_value(column).isNull(),
        F.concat(
            F.lit(f"{name} is "),
            F.when(text.isNull(), "missing")
            .when(text == "null", "null")
            .when(first == "{", "an object, not an integer")
            .when(first == "[", "a list, not an integer")
            .when(text.isin("true", "false"), "a boolean, not an integer")
            .when(text.rlike(_INTEGER) | text.rlike(_INTEGER_IN_TEXT), "beyond BIGINT")
            .when(first == '"', "text that is no integer")
            .otherwise("a number that is no integer"),
        ),
    )


def _status_message(column: str) -> Column:
    return F.when(F.col(column) == "null", "status is null").when(
        status_value(column).isNull(), f"status is neither {' nor '.join(STATUSES)}"
    )
