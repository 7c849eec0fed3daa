"""The APIs of vendors for `vendors.py`, run in a separate process: `vendors_server.py LATENCY_MS`.

It prints its port. It answers each request after the latency as the vendor would, and reads its JSON in the meantime. A
GET of `/` answers with the number of rows that have arrived since the last one.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import msgspec

_AT = "2026-11-29T09:00:00.000Z"


class _Api(asyncio.Protocol):
    latency_s = 0.0
    rows = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._data = bytearray()
        self._head, self._length = b"", 0

    def data_received(self, data: bytes) -> None:
        # A file of many megabytes comes in many parts: none of them is looked at twice.
        self._data += data
        if not self._head:
            end = self._data.find(b"\r\n\r\n")
            if end < 0:
                return
            self._head = bytes(self._data[:end])
            del self._data[: end + 4]
            lines = self._head.lower().split(b"\r\n")
            self._length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
        if len(self._data) < self._length:
            return
        head, body = self._head, bytes(self._data[: self._length])
        del self._data[: self._length]
        self._head = b""
        method, path, _ = head.split(b"\r\n")[0].decode().split(" ")
        if (method, path) == ("GET", "/"):
            rows, _Api.rows = _Api.rows, 0
            self._write(200, {"rows": rows})
            return
        loop, begun = asyncio.get_running_loop(), asyncio.get_running_loop().time()
        if path.startswith("/services/"):
            status, answer = _salesforce(method, path, body)
        elif method == "GET":
            status, answer = _job(path)
        elif path.partition("?")[0].endswith("/events"):
            status, answer = _events(body)
        else:
            status, answer = _answer(path, json.loads(body))
        loop.call_at(begun + self.latency_s, self._write, status, answer)

    def _write(self, status: int, document: object) -> None:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self._transport.write(
            b"HTTP/1.1 %d OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (status, len(body), body)
        )


_JOBS: list[int] = []


def _job(path: str) -> tuple[int, object]:
    """Return the state of an import, which is over when it is asked for: the vendor's own time is not measured."""
    job = int(path.rpartition("/job")[2])
    attributes = {"status": "complete", "total_count": _JOBS[job], "completed_count": _JOBS[job], "failed_count": 0}
    return 200, {"data": {"type": "profile-bulk-import-job", "id": f"job{job}", "attributes": attributes}}


def _answer(path: str, document: dict[str, Any]) -> tuple[int, object]:
    if path.endswith("/contacts/batch/upsert"):
        _Api.rows += len(document["inputs"])
        return 200, {
            "status": "COMPLETE",
            "startedAt": _AT,
            "completedAt": _AT,
            "results": [
                {
                    "id": str(number),
                    "objectWriteTraceId": one["objectWriteTraceId"],
                    "new": True,
                    "archived": False,
                    "createdAt": _AT,
                    "updatedAt": _AT,
                    "properties": {},
                }
                for number, one in enumerate(document["inputs"], 1)
            ],
        }
    if path.endswith("/v3/objects/contacts"):
        _Api.rows += 1
        return 201, {"id": "1", "properties": {}}
    if path.endswith("/profile-bulk-import-jobs"):
        _JOBS.append(len(document["data"]["attributes"]["profiles"]["data"]))
        _Api.rows += _JOBS[-1]
        started = {"type": "profile-bulk-import-job", "id": f"job{len(_JOBS) - 1}", "attributes": {"status": "queued"}}
        return 202, {"data": started}
    assert path.endswith("/profiles/"), path
    _Api.rows += 1
    return 201, {"data": {"type": "profile", "id": "01H"}}


class _Events(msgspec.Struct):
    data: list[msgspec.Raw]


_EVENTS = msgspec.json.Decoder(_Events)


def _events(body: bytes) -> tuple[int, object]:
    received = len(_EVENTS.decode(body).data)
    _Api.rows += received
    return 200, {"events_received": received, "messages": [], "fbtrace_id": "AbCdEf"}


_FILES: dict[str, bytes] = {}


def _salesforce(method: str, path: str, body: bytes) -> tuple[int, object]:  # noqa: PLR0911 - the map of the API
    """Answer as an org whose jobs are over when they are asked for. Each line of a file is one record."""
    last = path.rpartition("/")[2]
    job = path.partition("/jobs/ingest/")[2].partition("/")[0]
    if job == "last":
        job = list(_FILES)[-1]
    if last == "token":
        return 200, {"access_token": "token", "instance_url": "", "token_type": "Bearer"}
    if last == "describe":
        key = {"name": "Customer_Key__c", "externalId": True, "unique": True, "caseSensitive": True}
        return 200, {"fields": [key, {"name": "FirstName"}, {"name": "MailingCity"}]}
    if last == "batches":
        _FILES[job] = body
        _Api.rows += body.count(b"\n") - 1
        return 201, b""
    if last == "successfulResults":
        # The server's own time is not measured: each line gets the same id.
        header, _, lines = _FILES[job].partition(b"\n")
        applied = b'"003000000000000001","true",' + lines[:-1].replace(b"\n", b'\n"003000000000000001","true",')
        return 200, b'"sf__Id","sf__Created",%b\n%b\n' % (header, applied)
    if last in {"failedResults", "unprocessedrecords"}:
        return 200, b""
    if method == "POST":
        job = f"750{len(_FILES):015d}"
        _FILES[job] = b""
        return 200, {"id": job, "state": "Open"}
    count = _FILES[job].count(b"\n") - 1
    state = {"id": job, "object": "Contact", "operation": "upsert", "state": "JobComplete"}
    return 200, {**state, "numberRecordsProcessed": count, "numberRecordsFailed": 0}


async def _serve(latency_s: float) -> None:
    _Api.latency_s = latency_s
    server = await asyncio.get_running_loop().create_server(_Api, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(float(sys.argv[1]) / 1000))
