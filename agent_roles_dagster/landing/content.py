"""A dump file's bytes in pieces: hashed, unzipped, and checked to be UTF-8."""

import codecs
import zlib
from collections.abc import Iterator
from typing import Any

from agent_roles_dagster.landing.errors import storage_errors
from agent_roles_dagster.landing.files import DumpFile
from agent_roles_dagster.landing.names import is_gzip
from agent_roles_dagster.outcomes import Unreadable

_CHUNK = 1 << 20
# Unzipped, JSON is ten times as long, seldom fifty times. A bomb is a thousand times as long.
_MOST_TIMES = 200
# Below this length, a file may be unzipped to any number of times its own.
_HARMLESS = 64 << 20
# What JSON takes for blanks.
BLANKS = b" \t\r\n"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_UTF8 = codecs.getincrementaldecoder("utf-8")


def read_text(file: DumpFile, digest: Any) -> Iterator[bytes]:
    """The dump file's text in pieces, unzipped, without a byte order mark.

    Args:
        digest: gets the file's bytes as they landed.

    Raises:
        Unreadable: the file is blank, not UTF-8, a broken or overlong gzip, holds a NUL byte, or is
            not there.
        NotRead: it can't be read.
    """
    is_blank = True
    pieces = unzip(read_bytes(file, digest), file.name)
    for piece in _without_mark(_checked(pieces)):
        is_blank = is_blank and not piece.strip(BLANKS)
        yield piece
    if is_blank:
        raise Unreadable("the file is blank")


def _checked(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The pieces as they are. Text that is not UTF-8 or holds a NUL byte is refused."""
    decoder = _UTF8()
    try:
        for piece in pieces:
            # ASCII is valid, unless the piece before it ends within a character.
            if decoder.getstate()[0] or not piece.isascii():
                decoder.decode(piece)
            if b"\0" in piece:
                raise Unreadable(
                    "it holds a NUL byte, which JSON can't have. A crash while a file is copied"
                    " leaves such bytes"
                )
            yield piece
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise Unreadable(f"the file is not UTF-8 ({error.reason})") from error


def _without_mark(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The pieces without the byte order mark at their beginning, if there is one."""
    head = b""
    for piece in pieces:
        head += piece
        if len(head) >= len(_BYTE_ORDER_MARK):
            yield head.removeprefix(_BYTE_ORDER_MARK)
            yield from pieces
            return
    yield head


def read_bytes(file: DumpFile, digest: Any) -> Iterator[bytes]:
    """The file's bytes in pieces. The digest gets each piece first.

    Raises:
        Unreadable: it is not there, or not any more.
        NotRead: it can't be read.
    """
    with storage_errors():
        stream = file.open()
    with stream:
        while True:
            with storage_errors():
                chunk = stream.read(_CHUNK)
            if not chunk:
                return
            digest.update(chunk)
            yield chunk


def unzip(chunks: Iterator[bytes], name: str) -> Iterator[bytes]:
    """The file's content in pieces, unzipped if its name is that of a gzip file.

    Raises:
        Unreadable: it is no gzip file, damaged or cut short, or too long once it is unzipped.
    """
    if not is_gzip(name):
        yield from chunks
        return
    zipped = unzipped = 0

    def counted() -> Iterator[bytes]:
        nonlocal zipped
        for chunk in chunks:
            zipped += len(chunk)
            yield chunk

    try:
        for piece in _unzip_members(counted()):
            unzipped += len(piece)
            if unzipped > max(zipped * _MOST_TIMES, _HARMLESS):
                raise Unreadable(
                    f"unzipped it is more than {_MOST_TIMES} times as long, as if it were made to"
                    " fill the disk. If it is right, land it unzipped"
                )
            yield piece
    except (zlib.error, EOFError) as error:
        raise Unreadable(f"a broken gzip file ({error})") from error


def _unzip_members(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The content of all gzip members in pieces, none longer than a chunk."""
    member = zlib.decompressobj(wbits=31)
    started = False
    for chunk in chunks:
        while chunk:
            if member.eof:
                # Another member may follow, or zeros, which are padding.
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
