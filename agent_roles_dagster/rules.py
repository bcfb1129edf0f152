"""What a valid id and a valid status are.

The reader's fast path (`reading`) and the Spark expressions (`staging.validation`) are both made
from these definitions. This is plain Python, so that Spark's tasks can import it.
"""

from typing import Literal

Assigned = Literal["assigned"]
ASSIGNED: Assigned = "assigned"
REMOVED = "removed"
# An absent status means `assigned`.
STATUSES = (ASSIGNED, REMOVED)

# An id is one of JSON's integers within BIGINT, or text that is one.
BIGINT = range(-(2**63), 2**63)
_INTEGER = "-?(?:0|[1-9][0-9]{})"
INTEGER = _INTEGER.format("*")
# BIGINT has at most 19 digits. Python takes long over thousands of digits, and then refuses them.
SHORT_INTEGER = _INTEGER.format("{0,18}")
# ASCII's blanks may stand around the integer in a text. `\s` has others, and not the same ones in
# Java's, Rust's and Python's regular expressions.
BLANKS = r"[ \t\n\x0B\f\r]*"
INTEGER_IN_TEXT = f'"{BLANKS}({INTEGER}){BLANKS}"'
