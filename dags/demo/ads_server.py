"""A small receiver for the demonstration: an advertising partner's API, in memory."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Received:
    """The received data: the accepted ids of all batches, counts, and the answers by batch key."""

    accepted: set[int] = field(default_factory=set)
    rejected: int = 0
    requests: int = 0
    batches: dict[str, bytes] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, method: str, key: str, body: bytes) -> bytes:
        """Apply a batch only once, even if it is sent several times, and return an answer for each row."""
        with self.lock:
            self.requests += 1
            if key not in self.batches:
                self.batches[key] = self._remove(body) if method == "DELETE" else self._apply(body)
            return self.batches[key]

    def _remove(self, body: bytes) -> bytes:
        rows = json.loads(body)["rows"]
        self.accepted.difference_update(row["id"] for row in rows)
        return json.dumps({"accepted": len(rows)}).encode()

    def _apply(self, body: bytes) -> bytes:
        results: list[dict[str, object]] = []
        for index, row in enumerate(json.loads(body)["rows"]):
            if "@" in row["email"]:
                self.accepted.add(row["id"])
                results.append({"index": index, "status": "accepted"})
            else:
                self.rejected += 1
                results.append({"index": index, "status": "rejected", "code": "invalid_email"})
        return json.dumps({"results": results}).encode()


@contextmanager
def ads_server() -> Iterator[tuple[int, Received]]:
    """Serve on a free port of the loopback interface until the end of the `with` block."""
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.take()

        def do_DELETE(self) -> None:
            self.take()

        def take(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = received.take(self.command, self.headers["Idempotency-Key"], body)
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the base class uses this name
            """Log nothing, so that the demonstration shows only Airflow's output."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port, received
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
