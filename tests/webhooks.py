"""A web server that takes notices, as a chat service's webhook does."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.planted import PLANTED


class Webhook:
    """What was posted to it, and what it answers."""

    def __init__(self) -> None:
        self.url = ""
        self.texts: list[str] = []
        self.answers = 200
        self.asked = 0


@contextmanager
def webhook() -> Iterator[Webhook]:
    """A running server; its address has a secret in it, as they do."""
    hook = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            hook.asked += 1
            if hook.answers == 200:
                assert self.headers["Content-Type"] == "application/json"
                assert body.keys() == {"text"}
                hook.texts.append(body["text"])
            if hook.answers == 0:  # What no web server answers: the address, bare.
                self.wfile.write(f"{hook.url}\r\n".encode())
                return
            self.send_response(hook.answers)
            if 300 <= hook.answers < 400:
                self.send_header("Location", "/login")
            self.end_headers()

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hook.url = f"http://127.0.0.1:{server.server_port}/hooks/{PLANTED}-secret"
    try:
        yield hook
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def silent_server() -> Iterator[str]:
    """The URL of a server that accepts, says nothing, and hangs up after half a minute."""
    is_over = threading.Event()

    def accept() -> None:
        with listening.accept()[0]:
            is_over.wait(30)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/hooks"
        is_over.set()
        thread.join()
