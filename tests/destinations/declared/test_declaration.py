"""A declaration is checked as a whole: every error with its path and the near name, before anything is sent."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from destinations.declared.acme import ACME, page_names

from airflow_consent_retl.destinations.customerio.customerio_requests import customerio
from airflow_consent_retl.destinations.declared import (
    ApiKey,
    ById,
    ByIndex,
    DeclaredRemoval,
    DeclaredRequest,
    DestinationDeclaration,
    Errors,
    Rate,
    StatusOnly,
    each_row,
    field,
    other_fields,
    parameter,
)
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.fields import consent, constant
from airflow_consent_retl.operators import LoadToDeclaredHttpOperator
from airflow_consent_retl.operators.removing_load import from_parameters

ERRORS = Errors(row=ByIndex())
SEND = DeclaredRequest(
    path="/people", body=each_row({"id": field("id"), "more": other_fields()}), rows=10, answer=ERRORS
)
DELETE = DeclaredRemoval("the person is deleted", DeclaredRequest(path="/people/{id}", answer=StatusOnly()))


def declared(**parts: Any) -> DestinationDeclaration:
    return DestinationDeclaration(**{"name": "Acme", "send": SEND, "on_withdrawal": {"delete": DELETE}, **parts})


def removal(**parts: Any) -> dict[str, DeclaredRemoval]:
    return {"delete": DeclaredRemoval("gone", replace(DELETE.request, **parts))}


def test_requests_have_what_the_declaration_says_where_they_say_nothing() -> None:
    people, one = each_row(field("id")), DeclaredRequest(path="/people/{id}", method="DELETE")
    own = DeclaredRequest(path="/out", body=people, rows=5, max_body_bytes=7, answer=StatusOnly())
    removals = {"delete": DeclaredRemoval("gone", one), "leave": DeclaredRemoval("left", own)}
    send = DeclaredRequest(path="/people", body=people)

    made = declared(send=send, on_withdrawal=removals, rows=10, max_body_bytes=99, answer=ERRORS)

    requests = dict(made.requests())
    assert requests["send"] == replace(send, rows=10, max_body_bytes=99, answer=ERRORS)
    # A request with one row is no smaller because of the others.
    assert requests["on_withdrawal.delete.request"] == replace(one, answer=ERRORS)
    assert (requests["on_withdrawal.delete.request"].most_rows, requests["on_withdrawal.leave.request"]) == (1, own)


def test_a_request_without_an_answer_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"an answer is read by one of .* @ \$\.send\.answer"):
        declared(send=replace(SEND, answer=None))


def test_a_vendor_has_its_own_name() -> None:
    assert replace(customerio("id", in_segment=False), name="").name == "Customer.io"


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"name": " "}, "a destination has a name @ $.name"),
        ({"nulls": "keep"}, "nulls is `omit` or `null` @ $.nulls"),
        ({"needs": "email"}, "this is a list of texts @ $.needs"),
        ({"rate": (Rate(5), Rate(1, period_s=0))}, "a rate has at least 1 request in a period above 0 s @ $.rate"),
        ({"rate": Rate(0)}, "a rate has at least 1 request in a period above 0 s @ $.rate"),
        ({"consent": {"state": "yes"}}, "this is a list of the values that the vendor takes @ $.consent.state"),
        ({"parameters": {"list-id": "the list"}}, "a parameter has a name like one of Python, and a sentence @ $."),
        ({"parameters": {"list_id": "the list"}}, "no request uses this parameter @ $.parameters.list_id"),
        ({"on_withdrawal": {"Delete": DELETE}}, "a word in small letters, such as `leave_audience` @ $.on_withdrawal"),
        ({"on_withdrawal": {"delete": replace(DELETE, sentence="")}}, "has a sentence for people @ $.on_withdrawal.d"),
        ({"send": "POST /people"}, "this is a `DeclaredRequest` @ $.send"),
        ({"send": replace(SEND, path="people")}, "a path begins with `/`, such as `/v1/people` @ $.send.path"),
        ({"send": replace(SEND, path="/a b/{x y}")}, "with the name of a parameter or of a field in braces @ $.send."),
        ({"send": replace(SEND, method="GET")}, "a method is one of POST, PUT, PATCH, DELETE @ $.send.method"),  # type: ignore[arg-type]
        ({"send": replace(SEND, rows=0)}, "this is a number of at least 1 @ $.send.rows"),
        ({"send": replace(SEND, answer="ok")}, "an answer is read by one of `StatusOnly`, `ErrorsByIndex`"),  # type: ignore[arg-type]
        ({"send": replace(SEND, body={"a": field("id")})}, "several rows needs `each_row` in its body @ $.send.body"),
        ({"send": replace(SEND, body=each_row(each_row(field("id"))))}, "no list of rows inside @ $.send.body"),
        ({"send": replace(SEND, body=[each_row(1), each_row(2)])}, "a body has one list of rows @ $.send.body[1]"),
        ({"send": replace(SEND, body={"a": {"b": {1, 2}}})}, "no form for a value of type set @ $.send.body.a.b"),
        ({"send": replace(SEND, body=[float("nan")])}, "JSON has no such number @ $.send.body[0]"),
        ({"send": replace(SEND, body={"a": other_fields})}, "`other_fields` is a function: call it"),
        ({"send": replace(SEND, body={1: 2})}, "the names of an object are texts @ $.send.body"),
        ({"send": replace(SEND, body=each_row([field("id", optional=True)]))}, "in an object, which leaves it out @ "),
        ({"send": replace(SEND, body=[each_row(1), field("id")])}, "inside of `each_row` @ $.send.body[1]"),
        ({"send": replace(SEND, path="/{list}/people")}, "is no parameter, and a field in a path needs rows=1 @ $.se"),
        ({"send": replace(SEND, answer=Errors(row=ById("e", "emial")))}, "`emial` is not sent, so no answer repeats "),
        ({"on_withdrawal": removal(path="/people/{ids}")}, "have no field `ids`, did you mean `id`? @ $.on_withdrawa"),
        ({"on_withdrawal": removal(path="/people")}, "needs a field that names the person @ $.on_withdrawal.delete.r"),
        ({"on_withdrawal": removal(body=other_fields())}, "a removal takes only what names a person"),
        ({"on_withdrawal": removal(body=parameter("list"))}, "`parameters` has no `list` @ $.on_withdrawal.delete.re"),
        ({"clear": replace(SEND, body=each_row(field("id")))}, "needs `other_fields()`: the fields to clear"),
    ],
    ids=lambda value: value[-50:] if isinstance(value, str) else None,
)  # fmt: skip
def test_an_error_is_named_with_its_path(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        declared(**parts)

    assert message in str(refusal.value)


def test_all_errors_of_a_declaration_are_named_at_once_with_the_near_name() -> None:
    with pytest.raises(ConfigurationError) as refusal:
        declared(
            parameters={"list_id": "the list"},
            send=replace(SEND, body={"list": parameter("lst_id"), "people": each_row(field("id"))}),
            on_withdrawal=removal(path="/people/{idd}"),
        )

    assert str(refusal.value) == (
        "`parameters` has no `lst_id`, did you mean `list_id`? @ $.send.body.list; no request uses this parameter "
        "@ $.parameters.list_id; `send` and `needs` have no field `idd`, did you mean `id`? @ "
        "$.on_withdrawal.delete.request"
    )


def load(declaration: DestinationDeclaration = ACME, **parameters: Any) -> LoadToDeclaredHttpOperator:
    given = {"on_withdrawal": "delete", "parameters": {"list_id": 7}, "fields": {"id": "customer"}, **parameters}
    return LoadToDeclaredHttpOperator(
        task_id="load", permitted=None, destination="acme", declaration=declaration, conn_id="acme", **given
    )


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"on_withdrawal": "delte"}, "on_withdrawal is not one of the destination's choices, did you mean `delete`?"),
        (
            {"on_withdrawal": None},
            "`leave_audience`: the contact leaves the list, and Acme keeps it; `delete`: the con",
        ),
        ({"parameters": {}}, "Acme CRM needs the parameter `list_id`: the number of the list that the contacts are on"),
        ({"parameters": {"list_id": 7, "lst": 8}}, "Acme CRM has no parameter `lst`"),
        ({"parameters": {"list_id": [7]}}, "the parameter `list_id` is a text, a number or a boolean"),
        ({"fields": {"idd": "customer"}}, "Acme CRM needs the field `id`, did you mean `idd`?"),
        ({"fields": {"id": "a", "newsletter": "b"}}, "Acme CRM takes `newsletter` for consent: map it to `consent(…)`"),
        ({"fields": {"id": "a", "newsletter": constant("subscribed")}}, "for consent: map it to `consent(…)`"),
        ({"fields": {"id": "a", "newsletter": consent("C4", granted="yes")}}, "only `subscribed`, `unsubscribed` for"),
        (
            {"fields": {"id": "a", "opted_out": "b"}},
            "takes no field `opted_out`: Acme keeps it, and a load must not ov",
        ),
    ],
)
def test_a_load_that_does_not_suit_the_declaration_is_refused_when_the_dag_is_parsed(
    parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        load(**parameters)

    assert message in str(refusal.value)


def test_a_field_without_a_place_and_two_of_which_only_one_fits_are_refused() -> None:
    body = each_row({"email": field("email", optional=True), "phone": field("phone", optional=True)})
    one_of = declared(
        send=replace(SEND, body=body), needs=(("email", "phone"),), on_withdrawal={"unsubscribe": replace(
            DELETE, request=DeclaredRequest(path="/out", body={"email": field("email", optional=True)}, answer=ERRORS)
        )}
    )  # fmt: skip

    with pytest.raises(ConfigurationError) as refusal:
        load(one_of, on_withdrawal="unsubscribe", parameters=None, fields={"email": "a", "phone": "b", "phne": "c"})

    assert "Acme takes only one of the fields `email` or `phone`" in str(refusal.value)
    assert "Acme has no place for the field `phne`, did you mean `phone`?" in str(refusal.value)


def test_a_destination_that_cannot_remove_has_no_choice() -> None:
    with pytest.raises(ConfigurationError, match="Acme cannot remove people: on_withdrawal has to be None"):
        load(declared(on_withdrawal={}), parameters=None)

    assert not load(declared(on_withdrawal={}), on_withdrawal=None, parameters=None).knows_by_identifiers


def test_withdrawals_build_the_declared_destination_without_an_airflow_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ACME", '{"conn_type": "http", "host": "https://acme.example/v2", "password": "k"}')

    removing = from_parameters(page_names(blocks=2)["load"], "acme", render=lambda value: value)

    assert removing is not None
    destination = removing.build_destination()
    assert destination.target == "https://acme.example:443/v2/v1/lists/7/contacts with list_id 7"
    (rate,) = destination.limits.account_rates
    assert (rate.requests, rate.period_s, destination.limits.batch_rows) == (1_000, 10, 100)
    assert destination.removal_sentence == "delete: the contact is deleted with all its data"


@pytest.mark.parametrize("conn_type", ["http", "consentwebhook"])
def test_the_declared_way_to_authenticate_reads_a_connection_of_its_type(
    conn_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ACME", f'{{"conn_type": "{conn_type}", "host": "https://acme.example"}}')
    build = partial(load, declared(authentication=ApiKey(header="X-Key"), headers={"Version": "3"}), parameters=None)

    with pytest.raises(ConfigurationError, match=r"the API key of connection `acme` \(password\) is missing"):
        build().build_destination()


def test_a_value_that_a_template_renders_is_checked_when_the_task_runs() -> None:
    found = load(fields={"id": "customer", "newsletter": "{{ params.newsletter }}"})
    found.fields = {"id": "customer", "newsletter": constant("subscribed")}

    with pytest.raises(ConfigurationError, match="map it to `consent"):
        found.destination_spec()
