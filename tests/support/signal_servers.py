"""Local servers that receive what operators of Airflow are told: lineage, metrics, e-mails, messages of Slack."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

import airflow_consent_retl.signals

_SPEC = Path(__file__).parent / "openlineage_spec"
_OUR_FACET = Path(airflow_consent_retl.signals.__path__[0]) / "ConsentRetlOutcomeRunFacet.json"


class Posts:
    """An HTTP server that keeps the bodies of posts, and answers each with `ok`."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        posts = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                posts.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Write nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @property
    def documents(self) -> list[dict[str, Any]]:
        return [json.loads(body) for body in self.bodies]

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self._server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()


class Packets:
    """A StatsD server: it keeps the lines of all packets."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self._receive)
        thread.start()
        try:
            yield
        finally:
            # An empty packet is the last one.
            self._socket.sendto(b"", ("127.0.0.1", self.port))
            thread.join()
            self._socket.close()

    def _receive(self) -> None:
        while packet := self._socket.recv(65_535):
            self.lines += packet.decode().splitlines()

    def values(self, name: str, **tags: str) -> list[float]:
        """Return the values of a metric with these tags, in the order of their arrival."""
        wanted = {f"{key}={value}" for key, value in tags.items()}
        found = []
        for line in self.lines:
            head, _, value = line.rpartition(":")
            metric, *pairs = head.split(",")
            if metric == f"airflow.consent_retl.{name}" and wanted <= set(pairs):
                found.append(float(value.partition("|")[0]))
        return found


class Mails:
    """An SMTP server: it keeps the messages."""

    def __init__(self) -> None:
        self.contents: list[bytes] = []
        self._controller = Controller(self, hostname="127.0.0.1", port=_free_port())
        self.port = self._controller.port

    @property
    def messages(self) -> list[Message]:
        return list(map(message_from_bytes, self.contents))

    @contextmanager
    def running(self) -> Iterator[None]:
        self._controller.start()
        try:
            yield
        finally:
            self._controller.stop()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        assert isinstance(envelope.content, bytes)
        self.contents.append(envelope.content)
        return "250 OK"


def body_of(message: Message) -> str:
    """Return the text of an e-mail."""
    part = next(part for part in message.walk() if part.get_content_maintype() == "text")
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    return content.decode()


def check_lineage_event(event: dict[str, Any]) -> None:
    """Hold an event, and each of its facets, against the schema that it names.

    Raises:
        ValidationError: it does not follow the schema.
        Unresolvable: it names a schema that is not known.
    """
    _validate(event, event["schemaURL"])
    for facet in _facets(event):
        _validate(facet, facet["_schemaURL"])


def _validate(document: object, url: str) -> None:
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    jsonschema.Draft202012Validator({"$ref": url}, registry=_registry(), format_checker=checker).validate(document)


def _registry() -> Registry[Any]:
    documents = [json.loads(file.read_text()) for file in [*_SPEC.glob("*.json"), _OUR_FACET]]
    resources = [(document["$id"], Resource.from_contents(document, DRAFT202012)) for document in documents]
    return Registry().with_resources(resources)


def _facets(event: object) -> Iterator[dict[str, Any]]:
    if isinstance(event, dict):
        if "_schemaURL" in event:
            yield event
        for value in event.values():
            yield from _facets(value)
    elif isinstance(event, list):
        for value in event:
            yield from _facets(value)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
