"""A vendor in a process of its own: it honours idempotency keys, misbehaves by a seed, and logs all that it does.

    python vendor.py SEED LOG        prints its port, serves until its standard input ends

Each line of the log is JSON: `received` when a request was read, `applied` when it took effect, which may be later
than its connection lived, and `answered` when an answer was written out. A `GET` of a mode's name changes how it
behaves, see `Mode`.
"""

from __future__ import annotations

import json
import random
import socket
import struct
import sys
import threading
import time
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TextIO

# A request may take effect so long after its connection broke.
LATEST_EFFECT_S = 2.2
SLOW_S = 0.2
TOO_SLOW_S = 1.3


class Fault(StrEnum):
    """What goes wrong with a request."""

    NONE = "none"
    UNAVAILABLE = "503_before"
    TOO_MANY = "429"
    RESET_BEFORE = "reset_before"
    RESET_AFTER = "reset_after"
    RESET_THEN_LATE = "reset_then_late"
    ERROR_AFTER = "500_after"
    SLOW = "slow"
    TOO_SLOW = "too_slow"
    UNREADABLE = "unreadable"
    PARTIAL = "partial"


class Mode(StrEnum):
    """How the vendor behaves."""

    # Whatever goes wrong does so by chance.
    MISBEHAVE = "misbehave"
    # No addition, or no removal, is answered, and each takes effect as late as may be; all else goes well.
    LOSE_ADDITIONS = "lose_additions"
    LOSE_REMOVALS = "lose_removals"
    OBEY = "obey"
    # As `obey`, from when nothing of before is left that could still take effect.
    QUIET = "quiet"


_LOSES = {Mode.LOSE_ADDITIONS: False, Mode.LOSE_REMOVALS: True}

# In per cent.
_SHARES = {
    Fault.NONE: 61,
    Fault.UNAVAILABLE: 7,
    Fault.TOO_MANY: 5,
    Fault.RESET_BEFORE: 5,
    Fault.RESET_AFTER: 6,
    Fault.RESET_THEN_LATE: 5,
    Fault.ERROR_AFTER: 3,
    Fault.SLOW: 4,
    Fault.TOO_SLOW: 1,
    Fault.UNREADABLE: 2,
    Fault.PARTIAL: 1,
}
# Faults come in groups, and requests lost in them take effect when no one expects it any more.
_SHARES_IN_OUTAGE = {Fault.NONE: 15, Fault.UNAVAILABLE: 20, Fault.RESET_THEN_LATE: 65}
OUTAGE_EVERY_S = 6.0
OUTAGE_S = 1.5


@dataclass
class Vendor:
    """Who the vendor knows, what it answered under each key, and its log."""

    faults: random.Random
    log: TextIO
    answers: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    people: set[int] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)
    mode: Mode = Mode.MISBEHAVE
    requests: int = 0
    late: int = 0

    def receive(self, *, worker: str, key: str, removes: bool, rows: list[dict[str, Any]]) -> tuple[int, Fault]:
        """Note a request, and say what goes wrong with it."""
        with self.lock:
            self.requests += 1
            fault = self._fault(removes=removes)
            self._note(
                "received",
                self.requests,
                worker=worker,
                key=key,
                removes=removes,
                clears=_clears(rows, removes=removes),
                rows=[[row["id"], row.get("version")] for row in rows],
                without_mail=[row["id"] for row in rows if row.get("email") is None],
                fault=fault,
            )
            return self.requests, fault

    def apply(self, number: int, *, key: str, removes: bool, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Apply a request unless another one under its key was, and return the answer for each row."""
        with self.lock:
            if key not in self.answers:
                clears = _clears(rows, removes=removes)
                results = [self._apply_row(row, removes=removes, clears=clears) for row in rows]
                rejected = [row["id"] for row, code in zip(rows, results, strict=True) if code]
                self.answers[key] = [
                    {"id": row["id"], "status": "rejected", "code": code}
                    if code
                    else {"id": row["id"], "status": "accepted"}
                    for row, code in zip(rows, results, strict=True)
                ]
                self._note("applied", number, rejected=[] if removes or clears else rejected)
            return self.answers[key]

    def answered(self, number: int, *, clear: bool) -> None:
        """Record that an answer was written, and whether it is about every row."""
        with self.lock:
            self._note("answered", number, clear=clear)

    def apply_late(self, number: int, *, key: str, removes: bool, rows: list[dict[str, Any]]) -> None:
        """Apply a request some time after its connection broke."""

        def apply() -> None:
            self.apply(number, key=key, removes=removes, rows=rows)
            with self.lock:
                self.late -= 1

        with self.lock:
            self.late += 1
            earliest_s = 0.1 if self.mode is Mode.MISBEHAVE else 0.9 * LATEST_EFFECT_S
            pause_s = self.faults.uniform(earliest_s, LATEST_EFFECT_S)
        timer = threading.Timer(pause_s, apply)
        timer.daemon = True
        timer.start()

    def change(self, mode: Mode) -> None:
        """Behave in another way; to be quiet means to wait for what may still take effect."""
        with self.lock:
            self.mode = mode
        while mode is Mode.QUIET:
            with self.lock:
                if not self.late:
                    return
            time.sleep(0.02)

    def _fault(self, *, removes: bool) -> Fault:
        if self.mode is not Mode.MISBEHAVE:
            return Fault.RESET_THEN_LATE if _LOSES.get(self.mode) is removes else Fault.NONE
        shares = _SHARES_IN_OUTAGE if time.monotonic() % OUTAGE_EVERY_S < OUTAGE_S else _SHARES
        return self.faults.choices(list(shares), list(shares.values()))[0]

    def _apply_row(self, row: dict[str, Any], *, removes: bool, clears: bool) -> str:
        identifier = int(row["id"])
        if removes or clears:
            known = identifier in self.people
            if removes:
                self.people.discard(identifier)
            return "" if known else "not_found"
        if identifier % 13 == 5 and self.mode is Mode.MISBEHAVE and self.faults.random() < 0.5:
            return "invalid_email"
        self.people.add(identifier)
        return ""

    def _note(self, event: str, number: int, **details: object) -> None:
        self.log.write(json.dumps({"event": event, "number": number, "at": time.time_ns(), **details}) + "\n")
        self.log.flush()


def _clears(rows: list[dict[str, Any]], *, removes: bool) -> bool:
    """Return whether a request clears fields: its rows have the key and these fields only."""
    return not removes and all("version" not in row for row in rows)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    vendor: Vendor

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay quiet: clients that are killed are what this is about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        self.server.vendor.change(Mode(self.path.removeprefix("/")))
        self._answer(204)

    def do_POST(self) -> None:
        self._take(removes=False)

    def do_DELETE(self) -> None:
        self._take(removes=True)

    def _take(self, *, removes: bool) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        content = {"key": self.headers["Idempotency-Key"], "removes": removes, "rows": json.loads(body)["rows"]}
        vendor = self.server.vendor
        number, fault = vendor.receive(worker=self.headers["Authorization"].removeprefix("Bearer "), **content)
        if fault is Fault.UNAVAILABLE:
            self._answer(503)
        elif fault is Fault.TOO_MANY:
            self._answer(429, retry_after="0" if number % 2 else "1")
        elif fault is Fault.RESET_BEFORE:
            self._reset()
        elif fault is Fault.RESET_THEN_LATE:
            vendor.apply_late(number, **content)
            self._reset()
        else:
            if fault is Fault.TOO_SLOW and number % 2:
                time.sleep(TOO_SLOW_S / 2)
            self._answer_applied(number, vendor.apply(number, **content), fault)

    def _answer_applied(self, number: int, results: list[dict[str, Any]], fault: Fault) -> None:
        """Say what was applied, as well as the fault lets it."""
        if fault is Fault.RESET_AFTER:
            self._reset()
        elif fault is Fault.ERROR_AFTER:
            self._answer(500)
        elif fault is Fault.UNREADABLE:
            self._answer(200, b'{"results": [{"status": "acc')
        else:
            time.sleep({Fault.SLOW: SLOW_S, Fault.TOO_SLOW: TOO_SLOW_S}.get(fault, 0))
            answered = results[: len(results) // 2] if fault is Fault.PARTIAL else results
            self._answer(200, json.dumps({"results": answered}).encode())
            self.server.vendor.answered(number, clear=fault in {Fault.NONE, Fault.SLOW})

    def _answer(self, status: int, body: bytes = b"", *, retry_after: str | None = None) -> None:
        self.send_response(status)
        if retry_after is not None:
            self.send_header("Retry-After", retry_after)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
        """Write nothing: there is a log already."""


def _main() -> None:
    seed, log = sys.argv[1:]
    with Path(log).open("a", encoding="utf-8") as file:
        server = _Server(("127.0.0.1", 0), _Handler)
        server.vendor = Vendor(random.Random(f"vendor {seed}"), file)  # noqa: S311 - chance, not secrets
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        sys.stdout.write(f"{server.server_port}\n")
        sys.stdout.flush()
        # Until the process that started it ends, however that happens.
        sys.stdin.read()


if __name__ == "__main__":
    _main()
