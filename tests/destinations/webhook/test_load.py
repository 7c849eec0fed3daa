"""What a webhook's destination sends, when it sends again, and what it makes of each way to fail."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import format_datetime
from typing import Any

import pyarrow as pa
import pytest
from airflow.sdk import Connection
from support.servers import Answer, Receiver, apply_and, drip, hang, raw, receiver, reset, says, status, then_close

from airflow_consent_retl.contract.destination import Batch, Load
from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus
from airflow_consent_retl.destinations.http.address import http_address
from airflow_consent_retl.destinations.webhook.destination import WebhookDestination
from airflow_consent_retl.destinations.webhook.options import WebhookOptions
from airflow_consent_retl.errors import ConfigurationError, DestinationError, DestinationUnavailableError

REQUEST_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
PEOPLE = pa.schema([("id", pa.string()), ("email", pa.string())])
Open = Callable[..., WebhookDestination]


@pytest.fixture
def server() -> Iterator[Receiver]:
    with receiver() as served:
        yield served


@pytest.fixture
def webhook(server: Receiver) -> Iterator[Open]:
    opened: list[WebhookDestination] = []

    def open_webhook(*, host: str | None = None, schema: pa.Schema = PEOPLE, **options: Any) -> WebhookDestination:
        connection = Connection(
            conn_id="crm_http", conn_type="http", host=host or server.url, extra=json.dumps({"allow_private": True})
        )
        address = http_address(connection, endpoint="/v1/people")
        destination = WebhookDestination(address, WebhookOptions(**{"timeout_s": 5, "backoff_s": 0.01, **options}))
        destination.open(load(schema))
        opened.append(destination)
        return destination

    yield open_webhook
    for destination in opened:
        destination.abort()


def load(schema: pa.Schema) -> Load:
    return Load(
        key="0" * 64,
        destination="webhook",
        model="customers",
        schema=schema,
        key_field=schema.names[0],
        rows=0,
        decided_at=dt.datetime(2026, 11, 1, tzinfo=dt.UTC),
    )


def people(count: int, *, start: int = 0) -> Batch:
    ids = [f"u-{row}" for row in range(start, start + count)]
    rows = pa.record_batch([ids, [f"{i}@example.com" for i in ids]], schema=PEOPLE)
    return Batch(key=hashlib.sha256(f"{start}:{count}".encode()).hexdigest(), rows=rows)


def statuses(outcomes: Outcomes) -> list[str]:
    return [f"{outcomes[row].status}:{outcomes[row].code}".rstrip(":") for row in range(len(outcomes))]


def test_sends_each_row_once_in_a_json_envelope_under_the_batch_key(server: Receiver, webhook: Open) -> None:
    outcomes = webhook().send(people(3))

    assert outcomes == Outcomes.accepted(3)
    [request] = server.received
    assert request.path == "/v1/people"
    assert request.key == people(3).key
    assert request.headers["user-agent"].startswith("airflow-consent-retl/")
    assert json.loads(request.body) == {
        "rows": [{"id": f"u-{row}", "email": f"u-{row}@example.com"} for row in range(3)]
    }


@pytest.mark.parametrize(
    ("header", "known"),
    [(REQUEST_ID, [(0, REQUEST_ID)]), ("u-0@example.com", []), ("4915112345678", []), ("u-0", [])],
)
def test_the_id_of_a_request_is_kept_as_proof_unless_it_may_be_a_value(
    server: Receiver, webhook: Open, header: str, known: list[tuple[int, str]]
) -> None:
    server.answers = [apply_and(status(204, X_Request_Id=header))]

    outcomes = webhook().send(people(3))

    assert outcomes.request_ids() == known


def test_sends_a_bare_array_when_there_is_no_envelope(server: Receiver, webhook: Open) -> None:
    webhook(envelope=None).send(people(1))

    assert json.loads(server.received[0].body) == [{"id": "u-0", "email": "u-0@example.com"}]


def test_sends_every_row_once_from_many_threads_over_as_many_connections(server: Receiver, webhook: Open) -> None:
    destination = webhook(concurrency=8)

    with ThreadPoolExecutor(8) as threads:
        outcomes = list(threads.map(destination.send, [people(50, start=50 * batch) for batch in range(100)]))
    destination.commit()

    assert all(outcome == Outcomes.accepted(50) for outcome in outcomes)
    assert sorted(row["id"] for row in server.applied_rows()) == sorted(f"u-{row}" for row in range(5000))
    assert len({request.connection for request in server.received}) <= 8


@pytest.mark.parametrize(
    "failure",
    [
        status(429, Retry_After="0"),
        status(429),
        status(500),
        status(503, Retry_After="soon"),
        status(503, Retry_After="-5"),
        apply_and(status(502, b"<html>")),
        apply_and(reset),
        raw(b"220 smtp.example.com ESMTP\r\n"),
        raw(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"accepted":'),
    ],
    ids=["429", "429-bare", "500", "503-word", "503-negative", "502-applied", "reset", "not-http", "cut-short"],
)
def test_sends_the_same_bytes_again_under_the_same_key_when_a_try_fails(
    server: Receiver, webhook: Open, failure: Answer
) -> None:
    server.answers = [failure]

    outcomes = webhook().send(people(2))

    assert outcomes == Outcomes.accepted(2)
    assert len(server.received) == 2
    assert len({(request.key, request.body) for request in server.received}) == 1
    assert len(server.applied_rows()) == 2


def test_waits_the_seconds_that_the_other_side_asks_for(server: Receiver, webhook: Open) -> None:
    server.answers = [status(429, Retry_After="1")]

    webhook().send(people(1))

    first, second = server.received
    assert 1.0 <= second.at - first.at < 20


def test_waits_until_the_date_that_the_other_side_names(server: Receiver, webhook: Open) -> None:
    now, began = dt.datetime.now(dt.UTC), time.monotonic()
    # HTTP dates have whole seconds.
    named = now.replace(microsecond=0) + dt.timedelta(seconds=2)
    server.answers = [status(503, Retry_After=format_datetime(named, usegmt=True))]

    webhook().send(people(1))

    _, second = server.received
    waited_s = second.at - began
    assert (named - now).total_seconds() - 0.1 <= waited_s < 20


def test_holds_back_other_threads_while_the_other_side_wants_a_pause(server: Receiver, webhook: Open) -> None:
    server.answers = [status(429, Retry_After="1")]
    destination = webhook()

    with ThreadPoolExecutor(2) as threads:
        threads.submit(destination.send, people(1))
        while not server.received:
            time.sleep(0.01)
        time.sleep(0.1)
        threads.submit(destination.send, people(1, start=1)).result()

    assert server.received[1].at - server.received[0].at >= 0.99


def test_gives_up_at_once_when_the_wished_pause_is_beyond_the_retry_time(server: Receiver, webhook: Open) -> None:
    server.answers = [status(429, Retry_After="3600")] * 2
    destination = webhook()

    with pytest.raises(DestinationUnavailableError, match="http_429") as refused:
        destination.send(people(1))
    with pytest.raises(DestinationUnavailableError, match=r"pause that ends at .*[0-9]{2}:[0-9]{2} UTC") as held_back:
        destination.send(people(1, start=1))

    assert refused.value.retry_after_s == 3600
    assert held_back.value.retry_after_s == pytest.approx(3600, abs=5)
    assert len(server.received) == 1


def test_says_unavailable_when_every_try_was_turned_away_unapplied(server: Receiver, webhook: Open) -> None:
    server.answers = [status(429)] * 3

    with pytest.raises(DestinationUnavailableError, match="`/v1/people` of connection `crm_http`"):
        webhook(max_attempts=3).send(people(1))

    assert len(server.received) == 3


def test_says_unavailable_when_nobody_listens(webhook: Open) -> None:
    with receiver() as gone:
        pass

    with pytest.raises(DestinationUnavailableError, match="the connection was refused"):
        webhook(host=gone.url, max_attempts=2).send(people(1))


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (status(500), "http_500"),
        (status(503, Retry_After="0"), "http_503"),
        (apply_and(reset), "connection_lost"),
        (apply_and(hang(1.5)), "timeout"),
        (drip(1.5), "timeout"),
    ],
    ids=["500", "503", "reset", "hang", "drip"],
)
def test_is_uncertain_when_the_last_try_may_have_been_applied(
    server: Receiver, webhook: Open, failure: Answer, code: str
) -> None:
    server.answers = [failure] * 2

    outcomes = webhook(max_attempts=2, timeout_s=0.6).send(people(2))

    assert outcomes == Outcomes.uncertain(2, code)
    assert len(server.received) == 2


def test_is_uncertain_when_a_try_may_have_been_applied_and_the_last_was_turned_away(
    server: Receiver, webhook: Open
) -> None:
    server.answers = [apply_and(reset), status(429)]

    outcomes = webhook(max_attempts=2).send(people(1))

    assert outcomes == Outcomes.uncertain(1, "connection_lost")


@pytest.mark.parametrize("refusal", [409, 422, 413, 401, 302])
def test_is_uncertain_when_a_refusal_follows_a_try_that_may_have_been_applied(
    server: Receiver, webhook: Open, refusal: int
) -> None:
    server.answers = [apply_and(reset), status(refusal)]

    outcomes = webhook().send(people(2))

    assert outcomes == Outcomes.uncertain(2, f"http_{refusal}")


@pytest.mark.parametrize(
    "answer",
    [
        status(200, b"<html><body>Welcome</body></html>", Content_Type="text/html"),
        status(200, b'{"accepted": 2'),
        status(200, b"\x1f\x8b\x08\x00\xff\xff\xff", Content_Encoding="gzip"),
        says({"ok": True}),
        says({"accepted": 1}),
    ],
    ids=["html", "truncated", "gzip", "other-shape", "other-count"],
)
def test_is_uncertain_and_sends_no_more_when_a_success_cannot_be_read(
    server: Receiver, webhook: Open, answer: Answer
) -> None:
    server.answers = [answer]

    outcomes = webhook().send(people(2))

    assert outcomes == Outcomes.uncertain(2, "unreadable_answer")
    assert not any(outcome.may_come_late for outcome in outcomes)
    assert len(server.received) == 1


@pytest.mark.parametrize(
    ("answers", "code"),
    [
        ([status(200, b'{"accepted": 2}' + b" " * (4 * 1024 * 1024))], "answer_too_long"),
        ([status(202, b"{}")], "accepted_for_later"),
        ([status(202, b'{"results": []}')], "accepted_for_later"),
        ([status(500), status(200, b"{}")], "http_500"),
        ([reset, says({"results": []})], "connection_lost"),
        ([apply_and(reset), says({"ok": True})], "connection_lost"),
    ],
    ids=["too long", "202", "202 without rows", "after an error", "after a reset", "after a reset that applied"],
)
def test_a_request_without_a_whole_answer_may_come_late_whatever_a_later_one_is_answered(
    server: Receiver, webhook: Open, answers: list[Answer], code: str
) -> None:
    server.answers = answers

    outcomes = webhook().send(people(2))

    assert {outcome.status for outcome in outcomes} == {RowStatus.UNCERTAIN}
    assert all(outcome.may_come_late for outcome in outcomes)
    assert {outcome.code for outcome in outcomes} == {code}


def test_accepts_any_success_when_told_that_the_status_is_the_answer(server: Receiver, webhook: Open) -> None:
    server.answers = [status(200, b"<html>"), status(202, b'{"accepted": 1')]
    destination = webhook(answer="status")

    assert destination.send(people(2)) == Outcomes.accepted(2)
    assert destination.send(people(2, start=2)) == Outcomes.accepted(2)


def test_takes_each_row_for_what_the_answer_says_of_it(server: Receiver, webhook: Open) -> None:
    server.answers = [
        says(
            {
                "results": [
                    {"index": 0, "status": "accepted"},
                    {"id": "u-2", "status": "rejected", "code": "invalid_email"},
                    {"id": "u-1", "status": "rejected", "code": "u-1@example.com is no e-mail"},
                ]
            }
        )
    ]

    outcomes = webhook().send(people(4))

    assert statuses(outcomes) == [
        "accepted",
        "rejected:unnamed",
        "rejected:invalid_email",
        "uncertain:not_in_answer",
    ]


@pytest.mark.parametrize("code", [400, 409, 415, 422])
def test_rejects_all_rows_with_the_status_when_a_request_is_refused(server: Receiver, webhook: Open, code: int) -> None:
    server.answers = [status(code, b"u-0@example.com is wrong")]

    assert webhook().send(people(2)) == Outcomes.rejected(2, f"http_{code}")


def test_rejects_rows_with_their_own_codes_when_a_refusal_names_them(server: Receiver, webhook: Open) -> None:
    server.answers = [says({"errors": [{"index": 1, "code": "too_young"}]}, code=422)]

    assert statuses(webhook().send(people(2))) == ["rejected:http_422", "rejected:too_young"]


@pytest.mark.parametrize("code", [401, 403, 404, 405, 410])
def test_stops_the_load_when_no_request_can_succeed(server: Receiver, webhook: Open, code: int) -> None:
    server.answers = [status(code, b"secret u-0@example.com")]

    with pytest.raises(DestinationError, match=rf"`/v1/people` of connection `crm_http` .* {code}$") as stopped:
        webhook().send(people(1))

    assert "example.com" not in str(stopped.value)


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_never_follows_a_redirect(server: Receiver, webhook: Open, code: int) -> None:
    with receiver() as elsewhere:
        server.answers = [status(code, Location=f"{elsewhere.url}/token-7731")]

        with pytest.raises(DestinationError, match=f"answers {code}: redirects are not followed") as stopped:
            webhook().send(people(1))

        assert elsewhere.received == []
        assert "7731" not in str(stopped.value)


def test_sends_a_batch_in_halves_under_keys_of_their_own_when_its_body_is_too_large(
    server: Receiver, webhook: Open
) -> None:
    destination = webhook(max_body_bytes=500)

    outcomes = destination.send(people(64))
    first_try = list(server.received)
    destination.send(people(64))

    assert outcomes == Outcomes.accepted(64)
    assert [row["id"] for request in first_try for row in request.rows] == [f"u-{row}" for row in range(64)]
    assert max(len(request.body) for request in first_try) <= 500
    assert len({request.key for request in first_try} | {people(64).key}) == len(first_try) + 1
    assert [request.key for request in server.received[len(first_try) :]] == [request.key for request in first_try]
    assert len(server.applied_rows()) == 64


def test_sends_a_batch_in_halves_when_the_other_side_finds_it_too_large(server: Receiver, webhook: Open) -> None:
    server.answers = [status(413)]

    assert webhook().send(people(5)) == Outcomes.accepted(5)
    assert [len(request.rows) for request in server.received] == [5, 2, 3]


def test_rejects_a_row_that_is_too_large_alone_and_accepts_the_others(server: Receiver, webhook: Open) -> None:
    batch = people(3)
    rows = pa.record_batch([batch.rows["id"], ["a@example.com", "b" * 1000, "c@example.com"]], schema=PEOPLE)

    outcomes = webhook(max_body_bytes=200).send(Batch(key=batch.key, rows=rows))

    assert statuses(outcomes) == ["accepted", "rejected:row_too_large", "accepted"]
    assert [row["id"] for row in server.applied_rows()] == ["u-0", "u-2"]


def test_is_uncertain_of_the_second_half_when_only_the_first_was_applied(server: Receiver, webhook: Open) -> None:
    server.answers = [status(413), apply_and(status(204)), status(429)]

    outcomes = webhook(max_attempts=1).send(people(2))

    assert statuses(outcomes) == ["accepted", "uncertain:not_sent"]


def test_says_unavailable_when_no_half_was_applied(server: Receiver, webhook: Open) -> None:
    server.answers = [status(413), status(429)]

    with pytest.raises(DestinationUnavailableError):
        webhook(max_attempts=1).send(people(2))


def test_names_rows_by_their_place_in_the_batch_when_others_could_not_be_sent(server: Receiver, webhook: Open) -> None:
    schema = pa.schema([("id", pa.int64()), ("score", pa.float64())])
    server.answers = [says({"errors": [{"index": 1, "code": "too_low"}]})]
    rows = pa.record_batch([[1, 2, 3, 4], [0.5, float("nan"), 0.25, float("inf")]], schema=schema)

    outcomes = webhook(schema=schema).send(Batch(key="a" * 64, rows=rows))

    assert statuses(outcomes) == [
        "accepted",
        "rejected:not_a_number",
        "rejected:too_low",
        "rejected:not_a_number",
    ]
    assert server.received[0].rows == [{"id": 1, "score": 0.5}, {"id": 3, "score": 0.25}]


def test_sends_nothing_when_no_row_can_be_sent(server: Receiver, webhook: Open) -> None:
    schema = pa.schema([("id", pa.int64()), ("score", pa.float64())])
    rows = pa.record_batch([[1], [float("nan")]], schema=schema)

    outcomes = webhook(schema=schema).send(Batch(key="a" * 64, rows=rows))

    assert outcomes.counts() == Counter({Outcome(RowStatus.REJECTED, "not_a_number"): 1})
    assert server.received == []


def test_goes_on_when_the_other_side_closes_kept_connections(server: Receiver, webhook: Open) -> None:
    server.answers = [then_close(apply_and(status(204))) for _ in range(5)]
    destination = webhook()

    outcomes = [destination.send(people(1, start=batch)) for batch in range(6)]

    assert outcomes == [Outcomes.accepted(1)] * 6
    assert len(server.applied_rows()) == 6


def test_abort_ends_a_request_under_way_and_leaves_it_uncertain(server: Receiver, webhook: Open) -> None:
    server.answers = [hang(10)]
    destination = webhook(timeout_s=30)

    with ThreadPoolExecutor(1) as threads:
        sending = threads.submit(destination.send, people(2))
        while not server.received:
            time.sleep(0.01)
        started = time.monotonic()
        destination.abort()
        outcomes = sending.result()

    assert outcomes == Outcomes.uncertain(2, "connection_lost")
    assert time.monotonic() - started < 8


def test_abort_ends_a_wait_before_the_next_try(server: Receiver, webhook: Open) -> None:
    server.answers = [status(429, Retry_After="60")]
    destination = webhook()
    failures: list[DestinationUnavailableError] = []

    def send() -> None:
        try:
            destination.send(people(1))
        except DestinationUnavailableError as failure:
            failures.append(failure)

    sending = threading.Thread(target=send)
    sending.start()
    while not server.received:
        time.sleep(0.01)
    # Until the client has read the answer and waits.
    time.sleep(0.5)
    destination.abort()
    sending.join(timeout=30)

    assert len(failures) == 1
    assert len(server.received) == 1


def test_says_unavailable_after_abort(server: Receiver, webhook: Open) -> None:
    destination = webhook()
    destination.abort()

    with pytest.raises(DestinationUnavailableError, match="given_up"):
        destination.send(people(1))

    assert server.received == []


def test_refuses_to_open_when_a_type_has_no_exact_form_in_json(webhook: Open) -> None:
    schema = pa.schema([("id", pa.int64()), ("age", pa.duration("s")), ("tags", pa.map_(pa.string(), pa.int8()))])

    with pytest.raises(ConfigurationError, match=r"`age` \(duration\[s\]\), `tags`"):
        webhook(schema=schema)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_rows": 0}, "batch_rows must be at least 1"),
        ({"timeout_s": 0, "backoff_s": -1}, "timeout_s must be above 0; backoff_s must be above 0"),
        ({"nulls": "drop"}, "nulls must be `null` or `omit`"),
        ({"answer": "body"}, "answer must be `rows` or `status`"),
        ({"envelope": ""}, "envelope"),
    ],
)
def test_refuses_options_out_of_their_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        WebhookOptions(**options)
