"""The receiver of JSON batches for `webhook.py`, run in a separate process: `webhook_server.py LATENCY_MS`.

It prints its port. It answers a POST after the latency with the number of its rows. A GET reads every body as JSON and
answers with the number of rows that have arrived since the last GET.
"""

from __future__ import annotations

import asyncio
import json
import sys

_BODIES: list[bytes] = []


class _Receiver(asyncio.Protocol):
    latency_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._head = b""
        self._parts: list[bytes] = []
        self._missing = -1

    def data_received(self, data: bytes) -> None:
        if self._missing < 0:
            self._head += data
            head, found, rest = self._head.partition(b"\r\n\r\n")
            if not found:
                return
            lengths = [line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            self._head, self._parts, self._missing = b"", [], int(lengths[0]) if lengths else 0
            data = rest
        self._parts.append(data)
        self._missing -= len(data)
        if self._missing == 0:
            self._missing = -1
            self._answer(b"".join(self._parts))

    def _answer(self, body: bytes) -> None:
        if not body:
            # JSON is read only now: reading it during the measurement would measure this process too.
            rows = sum(len(json.loads(posted)["rows"]) for posted in _BODIES)
            _BODIES.clear()
            self._write(json.dumps({"rows": rows}).encode())
            return
        _BODIES.append(body)
        # Writers differ in the space after a colon.
        answer = b'{"accepted":%d}' % (body.count(b'"id":'))
        asyncio.get_running_loop().call_later(self.latency_s, self._write, answer)

    def _write(self, body: bytes) -> None:
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )


async def _serve(latency_s: float) -> None:
    _Receiver.latency_s = latency_s
    server = await asyncio.get_running_loop().create_server(_Receiver, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(float(sys.argv[1]) / 1000))
