"""The page on the webhook's contract: its requests are those that are sent, and its answers mean what it says."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from airflow.sdk import Connection
from support.loading import load_of
from support.servers import Receiver, receiver, status

from airflow_consent_retl.contract.destination import Batch
from airflow_consent_retl.contract.outcomes import Outcomes
from airflow_consent_retl.destinations.http.address import http_address
from airflow_consent_retl.destinations.webhook.destination import WebhookDestination
from airflow_consent_retl.destinations.webhook.options import WebhookOptions

PAGE = (Path(__file__).parents[3] / "docs" / "webhook-contract.md").read_text()
CONTRACT, REMOVALS = PAGE.partition("## What to answer")[2].split("### Answers to removals")
_ANSWER = re.compile(r"^\| [^|]+ \| `(\d{3})`(?: `([^`]+)`)? \| ([a-z, ]+) \|$", re.MULTILINE)
REQUESTS = re.findall(r"^```http\n(\w+) (\S+)\n(?:[\w-]+: .*\n)+\n(.*)\n```", PAGE, re.MULTILINE)
ROWS = pa.record_batch({"id": ["u-1", "u-2"], "email": ["ada@example.com", None]})
IDS = pa.record_batch({"id": ["u-2"]})


@pytest.fixture
def server() -> Iterator[Receiver]:
    with receiver() as served:
        yield served


def opened(port: int, **options: Any) -> WebhookDestination:
    extra = json.dumps({"allow_private": True})
    connection = Connection(conn_id="crm_http", conn_type="http", host=f"http://127.0.0.1:{port}", extra=extra)
    address = http_address(connection, endpoint="/v1/people")
    destination = WebhookDestination(address, WebhookOptions(timeout_s=5, max_attempts=1, **options))
    destination.open(load_of(pa.table(ROWS).slice(0, 0)))
    return destination


def batch(rows: pa.RecordBatch, key: str = "0" * 64) -> Batch:
    return Batch(key=key, rows=rows)


@pytest.mark.parametrize(
    ("request_shown", "options", "rows"),
    [
        (REQUESTS[0], {}, ROWS),
        (REQUESTS[1], {}, IDS),
        (REQUESTS[2], {"removal_method": "POST", "removal_event": {"event": "removed"}}, IDS),
    ],
)
def test_a_request_of_the_page_is_the_one_that_is_sent(
    server: Receiver, request_shown: tuple[str, str, str], options: dict[str, Any], rows: pa.RecordBatch
) -> None:
    destination = opened(server.port, **options)

    (destination.send if rows is ROWS else destination.remove)(batch(rows))

    (sent,) = server.received
    assert (sent.method, sent.path, sent.body.decode()) == request_shown
    destination.abort()


def outcomes_of(answered: Callable[[Batch], Outcomes], rows: pa.RecordBatch) -> str:
    return ", ".join(str(outcome.status) for outcome in answered(batch(rows)))


@pytest.mark.parametrize(("code", "body", "outcomes"), _ANSWER.findall(CONTRACT))
def test_an_answer_of_the_page_has_the_outcome_that_the_page_says(
    server: Receiver, code: str, body: str, outcomes: str
) -> None:
    server.answers = [status(int(code), body.encode())]
    destination = opened(server.port)

    assert outcomes_of(destination.send, pa.record_batch({"id": ["u-1", "u-2", "u-3"], "email": ["a", "b", "c"]})) == (
        outcomes
    )
    destination.abort()


@pytest.mark.parametrize(("code", "body", "outcomes"), _ANSWER.findall(REMOVALS))
def test_an_answer_to_a_removal_has_the_outcome_that_the_page_says(
    server: Receiver, code: str, body: str, outcomes: str
) -> None:
    server.answers = [status(int(code), body.encode())]
    destination = opened(server.port)

    assert outcomes_of(destination.remove, pa.record_batch({"id": ["u-1", "u-2", "u-3"]})) == outcomes
    destination.abort()


def test_every_answer_of_the_page_is_read_by_these_tests() -> None:
    assert len(_ANSWER.findall(CONTRACT)) == 10
    assert len(_ANSWER.findall(REMOVALS)) == 3


def test_the_receiver_of_the_page_keeps_the_contract() -> None:
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "ThreadingHTTPServer" in block)
    names: dict[str, Any] = {"__name__": "receiver"}
    exec(code, names)  # noqa: S102 - the block is this repository's own
    with names["ThreadingHTTPServer"](("127.0.0.1", 0), names["People"]) as server:
        server.RequestHandlerClass.log_message = lambda *_: None
        threading.Thread(target=server.serve_forever, daemon=True).start()
        destination = opened(server.server_port)

        sent = destination.send(batch(ROWS, "1" * 64))
        removed = destination.remove(batch(IDS, "2" * 64))
        again = destination.send(batch(ROWS, "1" * 64))
        destination.abort()
        server.shutdown()

    assert sent == again == Outcomes.accepted(2)
    assert removed == Outcomes.accepted(1)
    assert names["PEOPLE"] == {"u-1": {"id": "u-1", "email": "ada@example.com"}}
