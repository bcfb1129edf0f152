"""Text from the dump, such as a file's name, shown so that it can do no harm.

This is for messages and the web interface. The tables keep the exact text.
"""

import re

_MOST = 200
_WORDS = re.compile(r"(?:[A-Za-z0-9]|(?<=[a-z])_(?=[a-z])|(?<=[a-z])[,;]? (?=[A-Za-z]))*")
# The beginning of a mention, a link or an image. A sign put behind it breaks it.
_ADDRESSED = re.compile(r"@|\](?=[(\[:])|:(?=//)|\bwww(?=\.)|\bmailto(?=:)", re.IGNORECASE)
# These characters count as printable, but show nothing, or change how others look.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def plain(text: str) -> str:
    """The text in one line. A character that can't be seen becomes an escape. A long text is cut.

    A byte of a file's name that is not UTF-8 is shown as a byte: \\xe9.
    """
    cut = text if len(text) <= _MOST else f"{text[: _MOST - 1]}…"
    return "".join(map(_visible, cut))


def in_markdown(text: str) -> str:
    """The same for Markdown: as code, without mark-up, HTML or links. Plain words stay plain."""
    if _WORDS.fullmatch(text):
        return text
    code = plain(text).replace("`", r"\x60").replace("|", r"\x7c")
    return f"`{code or ' '}`"


def in_chat(text: str) -> str:
    """A notice that chat services show to the letter, without mentions, links or images.

    `&`, `<` and `>` are escaped as Slack documents it. Zero-width spaces break what Mattermost and
    others would take for a mention, a link or an image. The lines stay as they are.
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
