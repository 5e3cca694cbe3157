"""An HTTP server on loopback that serves one file, records requests, and misbehaves on demand."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class FileServer:
    """Serves one file under every path except ``/moved…``, a redirect to the file, and ``/loop``, a redirect to itself.

    Set the attributes between requests. ``cuts``: bytes after which the next responses are interrupted. ``statuses``:
    status codes sent first. ``before``: called at each request with its number, from 0.
    """

    def __init__(self) -> None:
        self.content = b""
        self.headers: dict[str, str] = {}
        self.cuts: list[int] = []
        self.statuses: list[int] = []
        self.before: Callable[[int], object] = lambda number: None
        self.supports_ranges = self.honours_conditions = True
        self.shift = 0  # offset in bytes from the requested start
        self.declared_length: int | None = None
        self.stall = 0.0  # seconds before a response
        self.requests: list[dict[str, str | None]] = []
        self.sent = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.root = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.url = f"{self.root}/corpus.pkl"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def ranges(self) -> list[str | None]:
        """Return the Range header of every request."""
        return [request["range"] for request in self.requests]


def _handler(server: FileServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.before(len(server.requests))
            names = {"range": "Range", "condition": "If-Range", "encoding": "Accept-Encoding"}
            server.requests.append({"path": self.path} | {key: self.headers.get(n) for key, n in names.items()})
            time.sleep(server.stall)
            if server.statuses:
                self.send_error(server.statuses.pop(0))
            elif self.path.startswith(("/moved", "/loop")):
                self.answer(302, {"Location": "/loop" if self.path == "/loop" else "/corpus.pkl"})
            else:
                self.answer_file()

        def answer_file(self) -> None:
            whole, wanted = server.content, re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            condition = self.headers.get("If-Range")
            marks = (None, server.headers.get("ETag"), server.headers.get("Last-Modified"))
            if not wanted or not server.supports_ranges or (server.honours_conditions and condition not in marks):
                return self.answer(200, {}, whole)
            start = int(wanted[1]) + server.shift
            if start >= len(whole):
                return self.answer(416, {"Content-Range": f"bytes */{len(whole)}"})
            stated = f"bytes {start}-{len(whole) - 1}/{len(whole)}"
            return self.answer(206, {"Content-Range": stated}, whole[start:])

        def answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
            self.send_response(status)
            length = len(body) if server.declared_length is None else server.declared_length
            stated = {"Content-Length": str(length)} | headers | server.headers
            for name, value in stated.items():
                if value:
                    self.send_header(name, value)
            self.end_headers()
            sent = body[: server.cuts.pop(0)] if body and server.cuts else body
            server.sent += len(sent)
            self.wfile.write(sent)

        def log_message(self, *_arguments: object) -> None:
            pass

    return Handler
