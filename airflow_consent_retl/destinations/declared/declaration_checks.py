"""The checks of a declaration, and of what a load gives to it. Each finds all errors at once. Contacts nothing."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from airflow_consent_retl.destinations.declared.declared_request import DeclaredRequest
from airflow_consent_retl.fields.field_values import ConsentAnswer, value_of
from airflow_consent_retl.fields.vendor_consent import VendorSignal

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.declared.declaration import DestinationDeclaration

_CHOICE = re.compile(r"[a-z]+(_[a-z]+)*")
Problems = Iterator[tuple[str, str]]


def problems(declaration: DestinationDeclaration) -> list[tuple[str, str]]:
    """Return the errors in a declaration, each with its path."""
    alone = [*_values(declaration), *_consents(declaration), *_choices(declaration), *_requests(declaration)]
    # What parts have to do with each other is clear only if each of them is right.
    return alone or [
        *_signals(declaration),
        *_parameters(declaration),
        *_removals(declaration),
        *_answers(declaration),
    ]


def wrong_fields(declaration: DestinationDeclaration, mapped: Collection[str]) -> list[str]:
    """Return the errors in the fields that a load maps."""
    name, needed = declaration.name, declaration.needed()
    known = {*declaration.send.fields_without(declaration.parameters), *chain.from_iterable(needed)}
    refused = {one: reason for one in mapped if (reason := _refusal(declaration, one))}
    wrong = [f"{name} takes no field `{one}`: {reason}" for one, reason in refused.items()]
    for names in needed:
        found = [one for one in names if one in mapped]
        if not found:
            wrong.append(f"{name} needs the field {_or(names)}{_near(names[0], set(mapped) - known)}")
        elif len(found) > 1:
            wrong.append(f"{name} takes only one of the fields {_or(names)}")
    if declaration.send.takes_other_fields:
        return wrong
    return wrong + [
        f"{name} has no place for the field `{one}`{_near(one, known)}"
        for one in mapped
        if one not in known and one not in refused
    ]


def wrong_consent(declaration: DestinationDeclaration, fields: Mapping[str, object]) -> list[str]:
    """Return the errors in fields for consent: each tells a person's own answer, in values that the vendor takes."""
    wrong: list[str] = []
    for name, values in declaration.consent.items():
        text = fields.get(name)
        if not isinstance(text, str) or "{{" in text:
            continue
        answer = value_of(text)
        if not isinstance(answer, ConsentAnswer):
            wrong.append(f"{declaration.name} takes `{name}` for consent: map it to `consent(…)`")
        elif isinstance(values, VendorSignal):
            if not values.tells(text):
                told = f"granted={values.granted!r}, otherwise={values.otherwise!r}"
                wrong.append(f"{declaration.name} takes `{name}` for consent: map it to `consent(…, {told})`")
        elif not {answer.granted, answer.otherwise} <= {*values, None}:
            taken = ", ".join(f"`{one}`" for one in values)
            wrong.append(f"{declaration.name} takes only {taken} for `{name}`")
    return wrong


def wrong_parameters(
    declaration: DestinationDeclaration, given: Mapping[str, object], *, on_withdrawal: str
) -> list[tuple[str, str]]:
    """Return the errors in the values of parameters, each with its name: those of the requests of this choice."""
    declared, name = declaration.parameters, declaration.name
    used = [
        request
        for path, request in declaration.requests()
        if not path.startswith("on_withdrawal.") or path == f"on_withdrawal.{on_withdrawal}.request"
    ]
    needed = dict.fromkeys(one for request in used for one in request.parameters_in(declared))
    if declaration.account:
        needed[declaration.account] = None
    return [
        *((one, f"{name} has no parameter `{one}`{_near(one, declared)}") for one in given if one not in declared),
        *((one, f"{name} needs the parameter `{one}`: {declared[one]}") for one in needed if given.get(one) is None),
        *((one, f"the parameter `{one}` is a number") for one in needed if not _fits(used, one, given.get(one))),
        *(
            (one, f"the parameter `{one}` is a text, a number or a boolean")
            for one, value in given.items()
            if value is not None and not isinstance(value, str | int | float | bool)
        ),
    ]


def _fits(requests: Sequence[DeclaredRequest], name: str, value: object) -> bool:
    """Return whether a text is a number where it is sent as one; a template is known when the task runs."""
    as_number = any(request.sends_as_number(name) for request in requests)
    return not (as_number and isinstance(value, str) and "{{" not in value) or value.isdecimal()


def _values(declaration: DestinationDeclaration) -> Problems:
    if not declaration.name.strip():
        yield "name", "a destination has a name"
    if declaration.nulls not in {"omit", "null"}:
        yield "nulls", "nulls is `omit` or `null`"
    if declaration.vendor is not None and declaration.authentication is not None:
        yield "authentication", "the record of the vendor has the authentication"
    for name in ("needs", "own_codes"):
        if isinstance(getattr(declaration, name), str):
            yield name, "this is a list of texts"
    for name, sentence in declaration.parameters.items():
        if not name.isidentifier() or not sentence.strip():
            yield f"parameters.{name}", "a parameter has a name like one of Python, and a sentence"


def _consents(declaration: DestinationDeclaration) -> Problems:
    for name, values in declaration.consent.items():
        if isinstance(values, VendorSignal):
            if values.field != name:
                yield f"consent.{name}", f"this is the vendor's signal of the field `{values.field}`"
        elif isinstance(values, str) or not values:
            yield f"consent.{name}", "this is a list of the values that the vendor takes"


def _signals(declaration: DestinationDeclaration) -> Problems:
    send = declaration.send
    for name, values in declaration.consent.items():
        placed = send.takes_other_fields or name in send.fields_without(declaration.parameters)
        if isinstance(values, VendorSignal) and not placed:
            yield f"consent.{name}", "the body of `send` has no place for this field"


def _choices(declaration: DestinationDeclaration) -> Problems:
    rates = {"rate": declaration.rate}
    for choice, removal in declaration.on_withdrawal.items():
        rates[f"on_withdrawal.{choice}.rate"] = removal.rate
        if not _CHOICE.fullmatch(choice):
            yield f"on_withdrawal.{choice}", "a choice is a word in small letters, such as `leave_audience`"
        if not removal.sentence.strip():
            yield f"on_withdrawal.{choice}.sentence", "a choice has a sentence for people"
    for path, rate in rates.items():
        each = rate if isinstance(rate, tuple) else [rate]
        if any(one is not None and not (one.requests >= 1 and one.period_s > 0) for one in each):
            yield path, "a rate has at least 1 request in a period above 0 s"


def _requests(declaration: DestinationDeclaration) -> Problems:
    for path, request in declaration.requests():
        if not isinstance(request, DeclaredRequest):
            yield path, "this is a `DeclaredRequest`"
        else:
            yield from ((f"{path}{place}", text) for place, text in request.wrong(declaration.parameters))


def _parameters(declaration: DestinationDeclaration) -> Problems:
    used: set[str] = set()
    for path, request in declaration.requests():
        for name, place in request.parameters_in(declaration.parameters).items():
            used.add(name)
            if name not in declaration.parameters:
                yield f"{path}{place}", f"`parameters` has no `{name}`{_near(name, declaration.parameters)}"
    if declaration.account and declaration.account not in declaration.parameters:
        near = _near(declaration.account, declaration.parameters)
        yield "account", f"`parameters` has no `{declaration.account}`{near}"
    for name in declaration.parameters:
        if name not in used and name != declaration.account:
            yield f"parameters.{name}", "no request uses this parameter"


def _removals(declaration: DestinationDeclaration) -> Problems:
    sent = {
        *declaration.send.fields_without(declaration.parameters),
        *chain.from_iterable(declaration.needed()),
    }
    for path, request in declaration.requests()[1:]:
        named = request.fields_without(declaration.parameters)
        for name in named:
            if name not in sent:
                yield path, f"`send` and `needs` have no field `{name}`{_near(name, sent)}"
        if not named:
            yield path, "the body or the path needs a field that names the person"
        if path == "clear" and not request.takes_other_fields:
            yield path, "a request that clears fields needs `other_fields()`: the fields to clear, each as null"
        if path != "clear" and request.takes_other_fields:
            yield path, "a removal takes only what names a person, and no `other_fields()`"


def _answers(declaration: DestinationDeclaration) -> Problems:
    for path, request in declaration.requests():
        sent = request.fields_without(declaration.parameters)
        for name in request.reader.sent_fields:
            if name not in sent:
                yield f"{path}.answer", f"`{name}` is not sent, so no answer repeats it{_near(name, sent)}"


def _refusal(declaration: DestinationDeclaration, name: str) -> str:
    """Return why a field must not be mapped; a refused object is refused in parts, too."""
    return next(
        (reason for one, reason in declaration.refuses.items() if name == one or name.startswith(f"{one}.")), ""
    )


def _near(name: str, known: Collection[str]) -> str:
    # Not at the top: a DAG file that imports an operator loads no engine.
    from airflow_consent_retl.near import suggestion

    return suggestion(name, sorted(known))


def _or(names: Sequence[str]) -> str:
    return " or ".join(f"`{name}`" for name in names)
