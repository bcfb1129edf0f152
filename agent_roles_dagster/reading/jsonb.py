"""What PostgreSQL's JSONB can hold to the letter."""

import json
import re
from typing import Any

from agent_roles_dagster.reading.exact_json import refuse_constant

_NUL_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
# JSONB holds a number as NUMERIC: at most 131072 digits before the point and 16383 after it.
_NUMERIC_DIGITS = 16_000


def jsonb_holds(text: str) -> bool:
    """Whether JSONB keeps each key, string and number of this text to the letter.

    It can't hold NUL, lone surrogates, repeated keys, numbers beyond NUMERIC, and text that is no
    JSON. It changes -0, and numbers with an exponent: 1e3 becomes 1000. That it changes blanks,
    escapes and the order of keys does not count here.
    """
    if _NUL_ESCAPE.search(text) or "\x00" in text:
        return False
    try:
        value = json.loads(
            text,
            object_pairs_hook=_refuse_repeated,
            parse_float=_refuse_rewritten,
            parse_int=_refuse_rewritten,
            parse_constant=refuse_constant,
        )
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):  # A lone surrogate can't be encoded.
        return False
    return True


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a repeated key")
    return value


def _refuse_rewritten(number: str) -> int:
    is_minus_zero = number.startswith("-") and not number.strip("-0.")
    if "e" in number.lower() or is_minus_zero or len(number) > _NUMERIC_DIGITS:
        raise ValueError("a number that NUMERIC writes otherwise, or can't hold")
    return 0
