"""The rules that a raw row must keep, as Spark expressions.

The transform applies them, and the messages in `agent_role_pipeline_errors` are theirs. What a
valid id and a valid status are stands in `rules`. Columns hold JSON texts, as
`reading.raw_rows.RAW_ROWS` says.
"""

from pyspark.sql import Column
from pyspark.sql import functions as F

from agent_roles_dagster.rules import ASSIGNED, INTEGER, INTEGER_IN_TEXT, STATUSES

# `\z` is the end of the text. In Java, `$` would also match before a last line end.
_INTEGER = rf"\A{INTEGER}\z"
_INTEGER_IN_TEXT = rf"\A{INTEGER_IN_TEXT}\z"


def id_value(column: str) -> Column:
    """The id as BIGINT; null if the JSON text is no valid id."""
    text = F.col(column)
    # The patterns decide. A cast alone would trim other characters, too, and take floats.
    digits = F.when(text.rlike(_INTEGER), text).when(
        text.rlike(_INTEGER_IN_TEXT), F.regexp_extract(text, _INTEGER_IN_TEXT, 1)
    )
    return digits.try_cast("bigint")


def status_value(column: str) -> Column:
    """'assigned' or 'removed'; null for any other status. An absent status means 'assigned'."""
    status = F.coalesce(F.col(column), F.lit(f'"{ASSIGNED}"'))
    return F.when(status.isin([f'"{s}"' for s in STATUSES]), F.trim(status, F.lit('"')))


def message(agent: str, role: str, status: str, problem: str) -> Column:
    """Every rule that the row breaks, separated by '; '; null for a valid row.

    If `problem` explains why an id is missing, the message does not report that id again.
    `agents is null` and `agent_id is given twice` explain a missing agent. A problem of the roles
    explains a missing role, `status is given twice` explains neither, and any other explains both.
    """
    has_problem = F.col(problem).isNotNull()
    explains_agent = has_problem & ~F.col(problem).rlike(r"\A(role|status)")
    explains_role = has_problem & ~F.col(problem).rlike(r"\A(agent|status)")
    broken = F.concat_ws(
        "; ",
        F.col(problem),
        F.when(
            ~explains_agent | F.col(agent).isNotNull(),
            _id_message("agent_id", agent),
        ),
        F.when(
            ~explains_role | F.col(role).isNotNull(),
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
