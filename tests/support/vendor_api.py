"""The base of local vendors' APIs over HTTP: a real server, requests decoded by strict shapes, and faults on demand."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Self, TypeVar
from urllib.parse import parse_qs, urlsplit

import msgspec

Shape = TypeVar("Shape")


@dataclass(frozen=True)
class ApiCall:
    """One request, as it arrived."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class ApiAnswer:
    """An answer: JSON, or raw bytes; `status` 0 resets the connection."""

    status: int
    document: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        if self.document is None:
            return b""
        return self.document if isinstance(self.document, bytes) else json.dumps(self.document).encode()


RESET = ApiAnswer(0)
Fault = Callable[[ApiCall, Callable[[], ApiAnswer]], ApiAnswer]
"""Gets a call and the function that applies it, and returns the answer."""


class RefusedCallError(Exception):
    """The vendor refuses a call with this answer."""

    def __init__(self, answer: ApiAnswer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class VendorApi:
    """A vendor; a subclass answers calls from what it stores.

    Attributes:
        token: that every call has to have, after `scheme`.
        scheme: of the header `Authorization`.
        content_type: of the bodies.
        calls: all calls, in the order of their arrival.
        violations: errors in requests that the vendor's specification does not allow; there must be none.
        fault: lasts until it is set to None.
    """

    token: ClassVar[str] = "token-9c41"
    scheme: ClassVar[str] = "Bearer"
    content_type: ClassVar[str] = "application/json"

    def __init__(self) -> None:
        self.calls: list[ApiCall] = []
        self.violations: list[str] = []
        self.fault: Fault | None = None
        self.port = 0
        self.lock = threading.RLock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, call: ApiCall) -> ApiAnswer:
        """Apply a call and return the answer; called under the lock."""
        raise NotImplementedError

    def take(self, call: ApiCall) -> ApiAnswer:
        with self.lock:
            self.calls.append(call)
            if call.headers.get("authorization") != f"{self.scheme} {self.token}":
                self.violations.append("no token")
            fault = self.fault or (lambda _, apply: apply())
            return fault(call, lambda: self._applied(call))

    def shaped(self, call: ApiCall, shape: type[Shape]) -> Shape:
        """Return the body in a strict shape of the specification."""
        if call.headers.get("content-type") != self.content_type:
            self.violations.append(f"{call.path}: another content type")
        try:
            return msgspec.json.decode(call.body, type=shape)
        except msgspec.ValidationError as error:
            self.violations.append(f"{call.path}: {error}")
            raise RefusedCallError(ApiAnswer(400, {"message": "Invalid input JSON"})) from None

    def expect(self, correct: bool, words: str) -> None:
        """Note a violation where a request is not correct."""
        if not correct:
            self.violations.append(words)

    def called(self, path: str) -> list[Any]:
        """Return the bodies of all calls of a path that ends so."""
        return [json.loads(call.body) for call in self.calls if call.path.endswith(path)]

    @contextmanager
    def serving(self) -> Iterator[Self]:
        """Serve until the block ends, then assert that every request was correct."""
        server = _ApiServer(("127.0.0.1", 0), _ApiHandler)
        server.api = self
        self.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
        assert self.violations == []

    def _applied(self, call: ApiCall) -> ApiAnswer:
        try:
            return self.answer(call)
        except RefusedCallError as refusal:
            return refusal.answer


def applied_then_reset(_: ApiCall, apply: Callable[[], ApiAnswer]) -> ApiAnswer:
    """Apply a call, and reset the connection instead of answering."""
    apply()
    return RESET


def unreadable(_: ApiCall, apply: Callable[[], ApiAnswer]) -> ApiAnswer:
    """Apply a call, and answer something else."""
    apply()
    return ApiAnswer(200, b"<html>all is well</html>")


class _ApiServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    api: VendorApi

    def handle_error(self, request: object, client_address: object) -> None:
        """Log nothing: some tests are about clients that disconnect."""


class _ApiHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _ApiServer

    def do_POST(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def _answer(self) -> None:
        target = urlsplit(self.path)
        answer = self.server.api.take(
            ApiCall(
                method=self.command,
                path=target.path,
                query=parse_qs(target.query, keep_blank_values=True),
                headers={name.lower(): value for name, value in self.headers.items()},
                body=self.rfile.read(int(self.headers.get("Content-Length") or 0)),
            )
        )
        if answer.status == 0:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != 204:
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(b"" if answer.status == 204 else answer.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Write nothing."""
