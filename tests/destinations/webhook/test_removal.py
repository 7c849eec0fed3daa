"""How a webhook takes people back, which answers count as done, and that nothing goes out without a lease."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pytest
from airflow.sdk import Connection
from support.loading import Lease, load_of
from support.servers import Answer, Receiver, apply_and, receiver, reset, says, status

from airflow_consent_retl.contract.destination import Batch
from airflow_consent_retl.contract.outcomes import Outcomes
from airflow_consent_retl.destinations.http.address import HttpAddress, http_address
from airflow_consent_retl.destinations.webhook.destination import WebhookDestination
from airflow_consent_retl.destinations.webhook.operator import LoadToWebhookOperator
from airflow_consent_retl.destinations.webhook.options import WebhookOptions
from airflow_consent_retl.errors import (
    ConfigurationError,
    DestinationError,
    DestinationUnavailableError,
    LeaseLostError,
)

PEOPLE = pa.schema([("id", pa.string()), ("email", pa.string())])
IDS = pa.schema([("id", pa.string())])
EVENT = {"removal_method": "POST", "removal_event": {"event": "removed"}}
Open = Callable[..., WebhookDestination]


@pytest.fixture
def server() -> Iterator[Receiver]:
    with receiver() as served:
        yield served


def address(server: Receiver, endpoint: str = "/v1/people") -> HttpAddress:
    connection = Connection(
        conn_id="crm_http", conn_type="http", host=server.url, extra=json.dumps({"allow_private": True})
    )
    return http_address(connection, endpoint=endpoint)


@pytest.fixture
def webhook(server: Receiver) -> Iterator[Open]:
    opened: list[WebhookDestination] = []

    def open_webhook(
        *,
        schema: pa.Schema = PEOPLE,
        key_field: str | None = "id",
        lease: Lease | None = None,
        removal_endpoint: str | None = None,
        **options: Any,
    ) -> WebhookDestination:
        destination = WebhookDestination(
            address(server),
            WebhookOptions(**{"timeout_s": 5, "backoff_s": 0.01, **options}),
            removal_address=None if removal_endpoint is None else address(server, removal_endpoint),
        )
        opened.append(destination)
        destination.open(load_of(schema.empty_table(), key_field=key_field, before_request=(lease or Lease()).check))
        return destination

    yield open_webhook
    for destination in opened:
        destination.abort()


def people(*ids: str) -> Batch:
    rows = pa.record_batch([ids, [f"{i}@example.com" for i in ids]], schema=PEOPLE)
    return Batch(key=hashlib.sha256(f"send {ids}".encode()).hexdigest(), rows=rows)


def removals(*ids: str) -> Batch:
    rows = pa.record_batch([ids], schema=IDS)
    return Batch(key=hashlib.sha256(f"remove {ids}".encode()).hexdigest(), rows=rows)


def statuses(outcomes: Outcomes) -> list[str]:
    return [f"{outcome.status}:{outcome.code}".rstrip(":") for outcome in outcomes]


def test_deletes_people_by_their_keys_alone_under_the_batch_key(server: Receiver, webhook: Open) -> None:
    destination = webhook()
    destination.send(people("a", "b", "c"))

    outcomes = destination.remove(removals("a", "c"))

    assert outcomes == Outcomes.accepted(2)
    request = server.received[-1]
    assert (request.method, request.path, request.key) == ("DELETE", "/v1/people", removals("a", "c").key)
    assert json.loads(request.body) == {"rows": [{"id": "a"}, {"id": "c"}]}
    assert set(server.people) == {"b"}


def test_posts_an_event_beside_the_rows_where_told_to(server: Receiver, webhook: Open) -> None:
    destination = webhook(**EVENT)
    destination.send(people("a", "b"))

    outcomes = destination.remove(removals("a"))

    assert outcomes == Outcomes.accepted(1)
    assert json.loads(server.received[-1].body) == {"event": "removed", "rows": [{"id": "a"}]}
    assert "event" not in json.loads(server.received[0].body)
    assert set(server.people) == {"b"}


def test_removes_at_an_endpoint_of_its_own(server: Receiver, webhook: Open) -> None:
    destination = webhook(removal_method="POST", removal_endpoint="/v1/removals?hard=1", envelope=None)

    destination.remove(removals("a"))

    assert (server.received[0].method, server.received[0].path) == ("POST", "/v1/removals?hard=1")
    assert json.loads(server.received[0].body) == [{"id": "a"}]


def test_somebody_who_was_never_there_counts_as_removed_again_and_again(server: Receiver, webhook: Open) -> None:
    destination = webhook()

    assert [destination.remove(removals("nobody")) for _ in range(2)] == [Outcomes.accepted(1)] * 2


@pytest.mark.parametrize("method", [{}, EVENT], ids=["delete", "event"])
@pytest.mark.parametrize("failure", [status(429, Retry_After="0"), status(503), apply_and(reset)])
def test_asks_again_with_the_same_bytes_under_the_same_key_when_a_try_fails(
    server: Receiver, webhook: Open, failure: Answer, method: dict[str, Any]
) -> None:
    server.answers = [failure]

    outcomes = webhook(**method).remove(removals("a", "b"))

    assert outcomes == Outcomes.accepted(2)
    assert len(server.received) == 2
    assert len({(request.method, request.key, request.body) for request in server.received}) == 1


def test_takes_each_row_for_what_the_answer_says_of_it(server: Receiver, webhook: Open) -> None:
    server.answers = [
        says(
            {
                "results": [
                    {"id": "a", "status": "accepted"},
                    {"id": "b", "status": "rejected", "code": "not_found"},
                    {"id": "c", "status": "rejected", "code": "legal_hold"},
                ],
                "rejected": 2,
            }
        )
    ]

    outcomes = webhook().remove(removals("a", "b", "c", "d"))

    assert statuses(outcomes) == ["accepted", "accepted", "rejected:legal_hold", "uncertain:not_in_answer"]


@pytest.mark.parametrize("code", [404, 410])
def test_a_bare_404_or_410_stops_the_load_since_it_may_speak_of_the_endpoint(
    server: Receiver, webhook: Open, code: int
) -> None:
    server.answers = [status(code, b"<html>no such page</html>")]

    with pytest.raises(DestinationError, match=f"refuses every request with {code}"):
        webhook().remove(removals("a"))


@pytest.mark.parametrize("code", [404, 410])
def test_a_404_or_410_that_names_the_rows_removes_those_that_are_not_there(
    server: Receiver, webhook: Open, code: int
) -> None:
    server.answers = [says({"errors": [{"index": 0, "code": "not_found"}, {"index": 1, "code": "locked"}]}, code=code)]

    outcomes = webhook().remove(removals("a", "b", "c"))

    assert statuses(outcomes) == ["accepted", "rejected:locked", f"rejected:http_{code}"]


def test_a_row_that_is_sent_is_still_rejected_where_it_is_not_found(server: Receiver, webhook: Open) -> None:
    server.answers = [says({"errors": [{"index": 0, "code": "not_found"}]})]

    assert statuses(webhook().send(people("a", "b"))) == ["rejected:not_found", "accepted"]


def test_a_status_alone_decides_where_told_so(server: Receiver, webhook: Open) -> None:
    server.answers = [status(202, b"queued"), says({"errors": [{"index": 0, "code": "not_found"}]}, code=422)]
    destination = webhook(answer="status")

    assert destination.remove(removals("a")) == Outcomes.accepted(1)
    assert destination.remove(removals("b")) == Outcomes.rejected(1, "http_422")


def test_is_uncertain_when_nobody_answers_for_a_removal(server: Receiver, webhook: Open) -> None:
    server.answers = [apply_and(reset)] * 2

    assert webhook(max_attempts=2).remove(removals("a")) == Outcomes.uncertain(1, "connection_lost")


def test_is_uncertain_when_a_refusal_follows_a_lost_answer_save_of_those_who_are_not_there(
    server: Receiver, webhook: Open
) -> None:
    gone = {"errors": [{"index": 0, "code": "gone"}, {"index": 1, "code": "locked"}]}
    server.answers = [apply_and(reset), says(gone, code=404), apply_and(reset), status(404)]
    destination = webhook()

    assert statuses(destination.remove(removals("a", "b"))) == ["accepted", "uncertain:http_404"]
    assert destination.remove(removals("c")) == Outcomes.uncertain(1, "http_404")


def test_is_unavailable_when_every_try_was_turned_away(server: Receiver, webhook: Open) -> None:
    server.answers = [status(429)] * 2

    with pytest.raises(DestinationUnavailableError):
        webhook(max_attempts=2).remove(removals("a"))


def test_a_method_that_the_receiver_does_not_know_stops_the_load(server: Receiver, webhook: Open) -> None:
    server.answers = [status(405)]

    with pytest.raises(DestinationError, match="405"):
        webhook().remove(removals("a"))


def test_removes_in_halves_where_the_body_is_too_large(server: Receiver, webhook: Open) -> None:
    destination = webhook(max_body_bytes=60)
    ids = [f"u-{row}" for row in range(16)]

    assert destination.remove(removals(*ids)) == Outcomes.accepted(16)
    assert [row["id"] for request in server.received for row in request.rows] == ids
    assert len({request.key for request in server.received}) == len(server.received) > 1


def test_a_key_that_no_request_can_name_was_never_there(server: Receiver, webhook: Open) -> None:
    rows = pa.record_batch([pa.array([b"\xff", b"a"]).view(pa.string())], schema=IDS)

    outcomes = webhook().remove(Batch(key="a" * 64, rows=rows))

    assert [str(outcome.status) for outcome in outcomes] == ["accepted", "accepted"]
    assert server.received[0].rows == [{"id": "a"}]


def test_keeps_the_primary_key_alone_for_a_later_removal(webhook: Open) -> None:
    destination = webhook()
    load = load_of(PEOPLE.empty_table())

    assert destination.removal_schema(load) == IDS
    assert destination.removal_rows(people("a", "b").rows, load).to_pydict() == {"id": ["a", "b"]}


def test_cannot_remove_when_the_primary_key_is_not_mapped(server: Receiver, webhook: Open) -> None:
    destination = webhook(key_field=None)

    with pytest.raises(ConfigurationError, match="primary key"):
        destination.remove(removals("a"))
    with pytest.raises(ConfigurationError, match="primary key"):
        destination.removal_schema(load_of(PEOPLE.empty_table(), key_field=None))
    assert server.received == []


@pytest.mark.parametrize("action", ["send", "remove"])
def test_asks_for_the_lease_before_every_request(server: Receiver, webhook: Open, action: str) -> None:
    lease = Lease()
    batch = people("a", "b") if action == "send" else removals("a", "b")
    server.answers = [status(503), status(413), status(429, Retry_After="0")]

    outcomes = getattr(webhook(lease=lease), action)(batch)

    # The whole batch in doubt twice: never cut, since the first try may have been applied.
    assert outcomes == Outcomes.uncertain(2, "http_413")
    assert lease.asked == len(server.received) == 2


@pytest.mark.parametrize("action", ["send", "remove"])
def test_asks_for_the_lease_before_each_half(server: Receiver, webhook: Open, action: str) -> None:
    lease = Lease()
    batch = people("a", "b") if action == "send" else removals("a", "b")
    server.answers = [status(413), status(429, Retry_After="0")]

    getattr(webhook(lease=lease), action)(batch)

    assert lease.asked == len(server.received) == 4


@pytest.mark.parametrize("action", ["send", "remove"])
@pytest.mark.parametrize("requests", [0, 1, 2])
def test_sends_nothing_more_once_the_lease_is_lost(server: Receiver, webhook: Open, action: str, requests: int) -> None:
    batch = people("a", "b") if action == "send" else removals("a", "b")
    server.answers = [status(413), apply_and(reset)]

    with pytest.raises(LeaseLostError):
        getattr(webhook(lease=Lease(lost_after=requests)), action)(batch)

    assert len(server.received) == requests


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"removal_method": "PATCH"}, "removal_method must be `DELETE` or `POST`"),
        ({"removal_batch_rows": 0}, "removal_batch_rows must be at least 1"),
        ({"removal_event": {}}, "removal_event must be fields with text"),
        ({"removal_event": {"rows": "x"}}, "removal_event must not name the field of the rows"),
        ({"removal_event": {"event": "x"}, "envelope": None}, "removal_event needs an envelope"),
    ],
)
def test_refuses_removal_options_that_mean_nothing(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        WebhookOptions(**options)


def test_refuses_removals_that_would_look_like_rows_to_be_stored(server: Receiver) -> None:
    with pytest.raises(ConfigurationError, match="would look like rows to be stored"):
        WebhookDestination(address(server), WebhookOptions(removal_method="POST"))


def test_refuses_to_remove_at_another_host(server: Receiver) -> None:
    with receiver() as other, pytest.raises(ConfigurationError, match="to the host"):
        WebhookDestination(address(server), WebhookOptions(), removal_address=address(other))


def test_the_operator_passes_its_removal_parameters_on(server: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CRM_HTTP", json.dumps({"conn_type": "http", "host": f"{server.url}/api"}))
    operator = LoadToWebhookOperator(
        task_id="load",
        permitted={},
        destination="crm",
        fields={"id": "id"},
        conn_id="crm_http",
        endpoint="/v1/people?secret=1",
        removal_endpoint="/v1/removals",
        removal_method="POST",
        removal_batch_rows=50,
    )

    destination = operator.build_destination()

    assert destination.can_remove
    assert destination.limits.removal_rows == 50
    assert list(destination.former_targets) == ["`/api/v1/people` of connection `crm_http`"]
    assert destination.target.endswith("/api/v1/people")
    assert destination.target_details == {"the query": "secret=1"}
    assert "removal_endpoint" in operator.template_fields
