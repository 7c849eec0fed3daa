"""Requests in a vendor's own form: each kind of body, limits in bytes, several endpoints, one person a request."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pytest
from support.vendor_server import Reply, VendorServer, vendor_server

from airflow_consent_retl.contract import (
    Batch,
    ConfigurationError,
    DestinationError,
    Load,
    Outcome,
    Outcomes,
    RowStatus,
)
from airflow_consent_retl.destinations.http.address import HttpAddress
from airflow_consent_retl.destinations.http.answer_maps import by_index, entries, rejected_by
from airflow_consent_retl.destinations.http.attempt import AttemptError
from airflow_consent_retl.destinations.http.bodies import (
    CSV,
    FORM,
    NDJSON,
    ShapedRows,
    UnfitRowError,
    csv_body,
    form_body,
    json_body,
    ndjson_body,
)
from airflow_consent_retl.destinations.http.client import Answer
from airflow_consent_retl.destinations.http.destination import HttpDestination
from airflow_consent_retl.destinations.http.options import HttpOptions
from airflow_consent_retl.destinations.http.purpose import Purpose
from airflow_consent_retl.destinations.http.responses import ACCEPTED, SentRows, json_object

SCHEMA = pa.schema([("id", pa.string()), ("name", pa.string()), ("place.city", pa.string()), ("age", pa.int64())])
ROWS = pa.RecordBatch.from_pylist(
    [
        {"id": "u-1", "name": 'Ada, "A"', "place.city": "Zürich", "age": 36},
        {"id": "u-2", "name": None, "place.city": None, "age": None},
        {"id": "u-3", "name": "Cyd\nE", "place.city": "Bern", "age": 9_007_199_254_740_993},
    ],
    schema=SCHEMA,
)
LOAD = Load(
    key="0" * 64,
    destination="acme",
    model="customers",
    schema=SCHEMA,
    key_field="id",
    rows=3,
    decided_at=dt.datetime(2026, 11, 1, tzinfo=dt.UTC),
)


def taken(answer: Answer, sent: SentRows) -> Outcomes | None:
    return Outcomes.accepted(len(sent)) if answer.status < 300 else None


def users(objects: Any) -> object:
    return {"users": list(objects)}


class Probe(HttpDestination):
    name = "probe"

    def __init__(self, address: HttpAddress, purpose: Callable[[HttpAddress], Purpose], **options: Any) -> None:
        super().__init__(address, HttpOptions(max_attempts=2, backoff_s=0.01, timeout_s=10, **options))
        self._purpose = purpose

    def sending(self, load: Load) -> Purpose:
        return self._purpose(self._address)

    def removing(self, load: Load) -> Purpose | None:
        return self._purpose(self._address)


@pytest.fixture
def server() -> Iterator[VendorServer]:
    with vendor_server(lambda asked: answers.pop(0) if (answers := ANSWERS) else Reply(200, {})) as found:
        yield found
    ANSWERS.clear()


ANSWERS: list[Reply] = []


def send(
    server: VendorServer, purpose: Callable[[HttpAddress], Purpose], *, rows: pa.RecordBatch = ROWS, **options: Any
) -> Outcomes:
    host, port = "127.0.0.1", server.port
    address = HttpAddress(conn_id="acme", scheme="http", host=host, port=port, path="/users", allow_private=True)
    destination = Probe(address, purpose, **options)
    destination.open(LOAD)
    try:
        return destination.send(Batch(key="a" * 64, rows=rows))
    finally:
        destination.commit()


def simple(**parts: Any) -> Callable[[HttpAddress], Purpose]:
    rows = ShapedRows(SCHEMA, body=json_body(users))
    return lambda address: Purpose(**{"method": "POST", "address": address, "encoder": rows, "read": taken, **parts})


def test_a_body_of_any_shape_with_the_vendors_headers_and_nested_names(server: VendorServer) -> None:
    def shape(row: dict[str, Any]) -> object:
        return {"type": "user", "attributes": row}

    rows = ShapedRows(SCHEMA, shape=shape, body=json_body(lambda objects: {"data": {"users": objects}}))

    send(server, simple(encoder=rows, key_header=None, headers={"X-Method": "BATCH_CREATE"}))

    (asked,) = server.asked
    assert [one["attributes"] for one in asked.document["data"]["users"]] == [
        {"id": "u-1", "name": 'Ada, "A"', "place": {"city": "Zürich"}, "age": 36},
        {"id": "u-2"},
        {"id": "u-3", "name": "Cyd\nE", "place": {"city": "Bern"}, "age": 9_007_199_254_740_993},
    ]
    assert (asked.headers["x-method"], asked.headers["content-type"]) == ("BATCH_CREATE", "application/json")
    assert "idempotency-key" not in asked.headers


def test_ndjson_csv_and_forms_keep_every_value(server: VendorServer) -> None:
    flat = ShapedRows(SCHEMA, body=csv_body(["id", "name", "age"]))
    form = ShapedRows(SCHEMA, body=form_body(lambda rows: {"payload": {"rows": rows}, "count": len(rows)}))

    send(server, simple(encoder=ShapedRows(SCHEMA, body=ndjson_body), content_type=NDJSON))
    send(server, simple(encoder=flat, content_type=CSV))
    send(server, simple(encoder=form, content_type=FORM, key_header="X-Request-Key"))

    lines, table, fields = server.asked
    assert [one.headers["content-type"] for one in server.asked] == [NDJSON, CSV, FORM]
    assert [json.loads(line)["id"] for line in lines.body.splitlines()] == ["u-1", "u-2", "u-3"]
    assert list(csv.reader(io.StringIO(table.body.decode(), newline=""))) == [
        ["id", "name", "age"],
        ["u-1", 'Ada, "A"', "36"],
        ["u-2", "", ""],
        ["u-3", "Cyd\nE", "9007199254740993"],
    ]
    assert (json.loads(fields.form["payload"])["rows"][1], fields.form["count"]) == ({"id": "u-2"}, "3")
    assert fields.headers["x-request-key"] == "a" * 64


def test_a_row_that_the_vendor_would_not_take_is_rejected_and_the_others_keep_their_places(
    server: VendorServer,
) -> None:
    def shape(row: dict[str, Any]) -> object:
        if "name" not in row:
            raise UnfitRowError("no_name")
        return row

    def read(answer: Answer, sent: SentRows) -> Outcomes:
        errors = entries(json_object(answer.body), "errors")
        return by_index(errors, sent, rejected_by("code"), others=ACCEPTED)

    ANSWERS.append(Reply(200, {"errors": [{"index": 1, "code": "too_old"}]}))

    outcomes = send(server, simple(encoder=ShapedRows(SCHEMA, shape=shape, body=json_body(users)), read=read))

    rejected = [Outcome(RowStatus.REJECTED, code) for code in ("no_name", "too_old")]
    assert list(outcomes) == [ACCEPTED, *rejected]


def test_two_names_of_which_one_is_a_value_and_an_object_are_refused() -> None:
    schema = pa.schema([("place", pa.string()), ("place.city", pa.string())])

    with pytest.raises(ConfigurationError, match="a value and an object at once: place"):
        ShapedRows(schema, body=ndjson_body)


def test_a_row_beyond_the_vendors_size_is_rejected_alone_and_the_rest_is_sent(server: VendorServer) -> None:
    small, large = {"id": "u-1", "name": "x"}, {"id": "u-2", "name": "é" * 40}
    rows = pa.RecordBatch.from_pylist([small, large, small], schema=SCHEMA)

    outcomes = send(server, simple(max_row_bytes=60), rows=rows)

    assert list(outcomes) == [ACCEPTED, Outcome(RowStatus.REJECTED, "row_too_large"), ACCEPTED]
    (asked,) = server.asked
    assert [one["id"] for one in asked.document["users"]] == ["u-1", "u-1"]
    # The next try leaves out the same row, so it has the same key.
    send(server, simple(max_row_bytes=60), rows=rows)
    assert len({one.headers["idempotency-key"] for one in server.asked}) == 1


def test_bodies_and_rows_stay_within_the_limits_of_the_purpose(server: VendorServer) -> None:
    rows = pa.RecordBatch.from_pylist([{"id": f"u-{number:03}"} for number in range(100)], schema=SCHEMA)

    assert send(server, simple(max_body_bytes=300, max_rows=30), rows=rows) == Outcomes.accepted(100)

    assert max(len(one.body) for one in server.asked) <= 300
    assert [user["id"] for one in server.asked for user in one.document["users"]] == rows.column("id").to_pylist()
    assert len({one.headers["idempotency-key"] for one in server.asked}) == len(server.asked)


def test_a_person_in_the_endpoint_is_percent_encoded_and_one_that_makes_no_endpoint_is_rejected(
    server: VendorServer,
) -> None:
    rows = pa.RecordBatch.from_pylist([{"id": "a/b?c@x"}, {"id": ".."}, {"id": "u-3"}], schema=SCHEMA)

    def endpoint(sent: SentRows) -> str:
        return f"/users/{quote(str(sent[0]['id']), safe='')}"

    bodiless = ShapedRows(SCHEMA, body=lambda objects: b"")
    ANSWERS[:] = [Reply(204), Reply(404)]
    outcomes = send(
        server,
        simple(method="DELETE", encoder=bodiless, endpoint=endpoint, max_rows=1, row_statuses=(404,), read=taken),
        rows=rows,
    )

    assert [one.path for one in server.asked] == ["/users/a%2Fb%3Fc%40x", "/users/u-3"]
    assert "content-type" not in server.asked[0].headers
    assert [one.code for one in outcomes] == ["", "no_endpoint", "http_404"]


def test_an_answer_that_asks_for_another_try_or_refuses_everything_is_known_by_its_body(
    server: VendorServer,
) -> None:
    def refuse(answer: Answer) -> None:
        match json_object(answer.body).get("code"):
            case 40100:
                raise AttemptError("vendor_busy", maybe_applied=False)
            case 40105:
                raise DestinationError("the token is not valid any more")

    ANSWERS[:] = [Reply(200, {"code": 40100}), Reply(200, {"code": 0})]
    assert send(server, simple(refuse=refuse)) == Outcomes.accepted(3)
    assert len(server.asked) == 2

    ANSWERS[:] = [Reply(200, {"code": 40105})]
    with pytest.raises(DestinationError, match="token"):
        send(server, simple(refuse=refuse))


def test_an_answers_headers_are_there_for_the_reader(server: VendorServer) -> None:
    found: list[str] = []

    def read(answer: Answer, sent: SentRows) -> Outcomes:
        found.append(answer.headers["x-quota-left"])
        return Outcomes.accepted(len(sent))

    ANSWERS[:] = [Reply(200, {}, {"X-Quota-Left": "41"})]
    send(server, simple(read=read))

    assert found == ["41"]
