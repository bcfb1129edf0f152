"""A dump file's bytes, in pieces: hashed, unzipped, and held to UTF-8."""

import codecs
import zlib
from collections.abc import Iterator
from typing import Any

from agent_roles_dagster.landing.files import DumpFile, giving
from agent_roles_dagster.outcomes import Unreadable

_CHUNK = 1 << 20
# JSON is ten times as long unzipped, seldom fifty times; a bomb is a thousand times as long.
_MOST_INFLATED = 200
_BYTES_NOT_LOOKED_AT = 64 << 20
BLANKS = b" \t\r\n"
_BOM = b"\xef\xbb\xbf"
_UTF8 = codecs.getincrementaldecoder("utf-8")


def content(file: DumpFile, digest: Any) -> Iterator[bytes]:
    """The dump file's text in pieces, unzipped, without a byte order mark.

    Args:
        digest: is fed the file's bytes as they landed.

    Raises:
        Unreadable: it is blank, not UTF-8, holds a NUL, is a broken or overlong gzip, or not there.
        NotRead: it can't be read.
    """
    decoder = _UTF8()
    head, is_blank, is_begun = b"", True, False
    try:
        for piece in inflate(hashed(file, digest), file.name):
            if decoder.getstate()[0] or not piece.isascii():
                decoder.decode(piece)
            if b"\0" in piece:
                raise Unreadable(
                    "it holds a NUL byte, which no JSON has; a crash while it is copied leaves such"
                )
            if not is_begun:
                head += piece
                if len(head) < len(_BOM):
                    continue
                piece, is_begun = head.removeprefix(_BOM), True
            is_blank = is_blank and not piece.strip(BLANKS)
            yield piece
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise Unreadable(f"the file is not UTF-8 ({error.reason})") from error
    if not is_begun:
        is_blank = not head.strip(BLANKS)
        yield head
    if is_blank:
        raise Unreadable("the file is blank")


def hashed(file: DumpFile, digest: Any) -> Iterator[bytes]:
    """The file's bytes in pieces, each fed to the digest first.

    Raises:
        Unreadable: it is not there, or not any more.
        NotRead: it can't be read.
    """
    with giving():
        stream = file.open()
    with stream:
        while True:
            with giving():
                chunk = stream.read(_CHUNK)
            if not chunk:
                return
            digest.update(chunk)
            yield chunk


def inflate(chunks: Iterator[bytes], name: str) -> Iterator[bytes]:
    """The file's content in pieces: unzipped if its name ends in .gz, else as it is.

    Raises:
        Unreadable: it is no gzip, damaged or cut short, or unzipped it is too many times as long.
    """
    if not name.endswith(".gz"):
        yield from chunks
        return
    zipped = unzipped = 0

    def counted() -> Iterator[bytes]:
        nonlocal zipped
        for chunk in chunks:
            zipped += len(chunk)
            yield chunk

    try:
        for piece in _unzipped(counted()):
            unzipped += len(piece)
            if unzipped > max(zipped * _MOST_INFLATED, _BYTES_NOT_LOOKED_AT):
                raise Unreadable(
                    f"unzipped it is more than {_MOST_INFLATED} times as long, as no dump is; if"
                    " this one is, land it unzipped"
                )
            yield piece
    except (zlib.error, EOFError) as error:
        raise Unreadable(f"a broken gzip file ({error})") from error


def _unzipped(chunks: Iterator[bytes]) -> Iterator[bytes]:
    member = zlib.decompressobj(wbits=31)
    started = False
    for chunk in chunks:
        while chunk:
            if member.eof:
                # Several members may stand one after the other, and zeros after the last.
                chunk = chunk.lstrip(b"\0")
                if not chunk:
                    break
                member, started = zlib.decompressobj(wbits=31), False
            piece = member.decompress(chunk, _CHUNK)
            started = True
            if piece:
                yield piece
            chunk = member.unused_data if member.eof else member.unconsumed_tail
    while started and not member.eof:
        piece = member.decompress(member.unconsumed_tail, _CHUNK)
        if not piece:
            raise EOFError("cut short")
        yield piece
    if not started:
        raise EOFError("cut short")
