"""JSON texts that a parser may stumble over, and texts that are no JSON."""

from hypothesis import strategies as st

# Texts that are JSON and that a parser may stumble over.
ODD = (
    "-0", "1e400", "1E+2", "1e200000", "0.10", "9" * 5000, "-" + "9" * 5000, '"\\ud800"',
    '"\\udc00\\ud800"', '"\\ud83d\\ude00"', '"\\u0000"', '"\\u0041"', '"\u2028"', '"\x7f"',
    '"\U0001f600"', '"\uffff"', '"\\/"', '"\\\\"', '"\\""', '""', "true", "null", "{}", "[ ]",
    '{"a": 1, "a": 2}', "[" * 500 + "]" * 500, '{"":' * 400 + "1" + "}" * 400,
)  # fmt: skip

NO_JSON = (
    "", " ", "\ufeff[]", "NaN", "Infinity", "-Infinity", "nul", "True", "'a'", "01", "-01", "+1",
    "1.", ".5", "1e", "1e+", "-", "0x1", "1_0", '"', '"\n"', '"\x01"', '"\\x41"', '"\\u12g4"',
    '"\\u123"', "[", "]", "[1", "[1,]", "[,1]", "[1 2]", "[1]]", "[1] [2]", "[1]\x00", "\x00",
    "{", '{"a"}', '{"a":}', '{"a":1,}', "{a:1}", '{"a" 1}', '{"a":1}}', "{1:2}", "/**/[]",
    "[1]\x0c", "\xa0[]", "[" * 100_000, "[" * 100_000 + "]" * 100_000, '{"a":' * 100_000,
)  # fmt: skip

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters()),  # lone surrogates too
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


def short(text: object) -> str:
    """A test's id, for a text of any length."""
    return ascii(text)[:40]


_PIECES = (
    "{", "}", "[", "]", ",", ":", '"', "\\", "\\u00", "\\ud800", "0", "1", "-", "+", ".", "e",
    "true", "null", '"a"', '"a":1', "\x01", "é", "\ufeff",
)  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A JSON text with one or a few pieces put in or exchanged."""
    text = draw(
        st.sampled_from(
            ('[1,{"a":"b\\n","c":[1.5e3,-0,null]},true,"x\\u0041"]', '[[],{},"",0]', '[{"a":{}}]')
        )
    )
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        piece = draw(st.sampled_from(("", " ", *_PIECES)))
        text = text[:at] + piece + text[at + draw(st.integers(0, 2)) :]
    return text
