"""TLS in front of a PostgreSQL server: the embedded one is built without it."""

import asyncio
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_SSL_REQUEST = struct.pack("!ii", 8, 80877103)  # length, code


@contextmanager
def tls_proxy(socket: str, context: ssl.SSLContext) -> Iterator[int]:
    """The port on localhost at which the server behind the Unix socket is reached, by TLS only."""
    loop = asyncio.new_event_loop()
    serving = loop.run_until_complete(
        asyncio.start_server(lambda r, w: _serve(r, w, socket, context), "127.0.0.1", 0)
    )
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield serving.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


async def _serve(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    socket: str,
    context: ssl.SSLContext,
) -> None:
    with suppress(OSError, asyncio.IncompleteReadError):
        if await reader.readexactly(8) == _SSL_REQUEST:
            writer.write(b"S")
            await writer.start_tls(context)
            server_reader, server_writer = await asyncio.open_unix_connection(socket)
            await asyncio.gather(_copy(reader, server_writer), _copy(server_reader, writer))
    writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()
