"""Real HTTP servers for the tests. They check every request, and fail where a test asks for it."""

from __future__ import annotations

import json
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Received:
    """One request, as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    rows: list[dict[str, Any]]
    at: float
    connection: int

    @property
    def key(self) -> str:
        return self.headers["idempotency-key"]

    @property
    def removes(self) -> bool:
        return self.method == "DELETE" or self.path.endswith("/removals") or b'"event":"removed"' in self.body


@dataclass
class Receiver:
    """A webhook's receiver: applies each batch once, by its key, and removes people on request.

    Requests use up `answers` in order; after them, every batch is applied and answered with 204.
    """

    port: int
    answers: list[Answer] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    applied: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    removed: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    people: dict[Any, dict[str, Any]] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def take(self, request: Received) -> Answer:
        with self.lock:
            bodies = {earlier.body for earlier in self.received if earlier.key == request.key}
            if bodies - {request.body}:
                self.violations.append("another body under the same key")
            if not _KEY.fullmatch(request.key):
                self.violations.append("no key")
            if request.headers.get("content-type") != "application/json":
                self.violations.append("another content type")
            self.received.append(request)
            return self.answers.pop(0) if self.answers else apply_and(status(204))

    def apply(self, request: Received) -> None:
        with self.lock:
            if request.key in self.applied or request.key in self.removed:
                return
            (self.removed if request.removes else self.applied)[request.key] = request.rows
            for row in request.rows:
                if request.removes:
                    self.people.pop(row["id"], None)
                elif "id" in row:
                    self.people[row["id"]] = row

    def applied_rows(self) -> list[dict[str, Any]]:
        with self.lock:
            return [row for rows in self.applied.values() for row in rows]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    receiver: Receiver

    def handle_error(self, request: object, client_address: object) -> None:
        """Log nothing: these tests are about clients that disconnect."""


class Handler(BaseHTTPRequestHandler):
    """A handler of HTTP/1.1 with kept connections."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        document = json.loads(body)
        request = Received(
            method=self.command,
            path=self.path,
            headers={name.lower(): value for name, value in self.headers.items()},
            body=body,
            rows=document["rows"] if isinstance(document, dict) and "rows" in document else document,
            at=time.monotonic(),
            connection=self.client_address[1],
        )
        self.server.receiver.take(request)(self, request)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Write nothing."""


Answer = Callable[[Handler, Received], None]


def status(code: int, body: bytes = b"", **headers: str) -> Answer:
    """Answer with a status, a body and headers (`Retry_After` for `Retry-After`)."""

    def answer(handler: Handler, _: Received) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        if code != 204:
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def says(document: object, code: int = 200) -> Answer:
    """Answer with JSON."""
    return status(code, json.dumps(document).encode(), Content_Type="application/json")


def apply_and(then: Answer) -> Answer:
    """Apply the batch, then answer."""

    def answer(handler: Handler, request: Received) -> None:
        handler.server.receiver.apply(request)
        then(handler, request)

    return answer


def reset(handler: Handler, _: Received) -> None:
    """Reset the connection instead of answering."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True
    handler.connection.close()


def hang(seconds: float) -> Answer:
    """Answer too late."""

    def answer(handler: Handler, request: Received) -> None:
        time.sleep(seconds)
        status(204)(handler, request)

    return answer


def drip(seconds: float) -> Answer:
    """Answer one byte at a time, with a short pause between bytes."""

    def answer(handler: Handler, _: Received) -> None:
        until = time.monotonic() + seconds
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while time.monotonic() < until:
            handler.wfile.write(b".")
            time.sleep(0.05)

    return answer


def raw(answer_bytes: bytes) -> Answer:
    """Answer with exactly these bytes, and close."""

    def answer(handler: Handler, _: Received) -> None:
        handler.wfile.write(answer_bytes)
        handler.close_connection = True

    return answer


def then_close(first: Answer) -> Answer:
    """Answer as usual, then close the kept connection without notice."""

    def answer(handler: Handler, request: Received) -> None:
        first(handler, request)
        handler.close_connection = True

    return answer


@contextmanager
def receiver(*, tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """Serve until the block ends, then assert that every request was correct."""
    server = _Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    server.receiver = Receiver(port=server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert server.receiver.violations == []
