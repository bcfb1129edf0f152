"""Text from the dump's side, made fit for people: names of files, and whatever else it chooses.

What is kept (tables, `raw_record`) has the exact text; this is for what is read.
"""

import re

_MOST = 200
_WORDS = re.compile(r"(?:[A-Za-z0-9]|(?<=[a-z])_(?=[a-z])|(?<=[a-z])[,;]? (?=[A-Za-z]))*")
# What a mention, a link or an image can't do without, up to where it is broken.
_ADDRESSED = re.compile(r"@|\](?=[(\[:])|:(?=//)|\bwww(?=\.)|\bmailto(?=:)", re.IGNORECASE)
# Characters that show nothing, or change how others show, though they count as printable.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def plain(text: str) -> str:
    """The text in one line: what is not seen as it is stands there as an escape; cut if too long.

    A byte of a file's name that is no UTF-8 is shown as such: \\xe9.
    """
    cut = text if len(text) <= _MOST else f"{text[: _MOST - 1]}…"
    return "".join(map(_visible, cut))


def in_markdown(text: str) -> str:
    """As `plain`, for Markdown: nothing in it is mark-up, HTML or an address. Mere words stay."""
    if _WORDS.fullmatch(text):
        return text
    code = plain(text).replace("`", r"\x60").replace("|", r"\x7c")
    return f"`{code or ' '}`"


def in_chat(text: str) -> str:
    """A notice as chat services show it to the letter, without mentions, links or images.

    For Slack, `&`, `<` and `>` are escaped as it documents. A zero-width space keeps Mattermost and
    others from taking anything as a mention, a link or an image. The notice's lines stay.
    """
    for sign, escape in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(sign, escape)
    return _ADDRESSED.sub("\\g<0>\u200b", text)


def _visible(character: str) -> str:
    if character.isprintable() and not _INVISIBLE.match(character):
        return character
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()
