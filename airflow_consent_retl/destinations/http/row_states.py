"""The states of subscriptions that rows carry as fields: those to send, after a question about the present ones.

A state belongs to a person, and often to everyone with the same address as well. So a person who is new to the vendor,
or who gets another address, is looked up by the address too: it may have been unsubscribed before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlencode

import pyarrow as pa

from airflow_consent_retl.contract.destination import Batch
from airflow_consent_retl.contract.outcomes import Outcome, Outcomes
from airflow_consent_retl.destinations.http.answer_maps import MISSING
from airflow_consent_retl.destinations.http.responses import ACCEPTED, NOT_FOUND, of_document
from airflow_consent_retl.destinations.http.subscriptions import after_a_change, with_states
from airflow_consent_retl.destinations.http.text_values import texts_of

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.http.batch_steps import BatchSteps
    from airflow_consent_retl.destinations.http.client import Answer
    from airflow_consent_retl.destinations.http.found_records import Record
    from airflow_consent_retl.destinations.http.responses import SentRows
    from airflow_consent_retl.destinations.http.subscriptions import AddressStates, SubscriptionRules

States = dict[str, Outcome | str]
"""Present states, by person or by address; empty: the vendor has none; an outcome: the doubt about it."""


@dataclass(frozen=True, slots=True)
class StateField:
    """A field of the load with a state.

    Args:
        name: of the field.
        address: the field with the address to which the state belongs as well; empty: it is of the person alone.
    """

    name: str
    address: str = ""


class StateQuestions(Protocol):
    """The questions to a vendor about present states."""

    def profiles(self, keys: Sequence[str], found: dict[str, Record], /) -> Iterable[Outcome]:
        """Fill in the vendor's records of people, and return the outcome of each question."""

    def of_people(self, field: StateField, profiles: Mapping[str, Record], /) -> Mapping[str, Outcome | str]:
        """Return the states of people with a record; one whose state is known by the address only is left out."""

    def of_addresses(self, field: StateField, addresses: Sequence[str], /) -> Mapping[str, Outcome | str]:
        """Return the state of each address."""


def asked_states(
    steps: BatchSteps,
    path: str,
    query: Mapping[str, str],
    name: str,
    texts: Sequence[str],
    read: Callable[[dict[str, Any], Sequence[str]], Mapping[str, str]],
    *,
    most: int,
    **says: str,
) -> States:
    """Ask by GET for the state of each text.

    Args:
        steps: of the batch.
        path: of the endpoint.
        query: of each request.
        name: the parameter of the query with the texts; it is repeated.
        texts: such as addresses.
        read: returns the states that an answer has of some of these texts; it may raise `UnreadableAnswerError`.
        most: the most texts of a request.
        **says: see `of_document`.
    """
    states: dict[str, str] = {}

    def endpoint(some: Sequence[str]) -> str:
        return f"{path}?{urlencode({**query, name: some}, doseq=True)}"

    def read_answer(answer: Answer, sent: SentRows) -> Outcomes | None:
        some = [str(sent[row]) for row in range(len(sent))]

        def of_any(document: dict[str, Any]) -> Outcomes:
            states.update(read(document, some))
            return Outcomes(len(sent), MISSING, {row: ACCEPTED for row, text in enumerate(some) if text in states})

        return of_document(answer, sent, of_any, **says)

    asked = steps.ask(endpoint(texts), endpoint, texts, read_answer, most=most)
    return {text: states[text] if one == ACCEPTED else one for text, one in zip(texts, asked, strict=True)}


def stored_with_states(
    batch: Batch,
    fields: Sequence[StateField],
    *,
    key: str,
    rules: SubscriptionRules,
    cleared: Collection[str],
    questions: StateQuestions,
    store: Callable[[Batch], Outcomes],
) -> Outcomes:
    """Send rows without the states that would subscribe a person who opted out, and return their outcomes.

    Args:
        batch: of the load.
        fields: with states.
        key: the field by which the vendor knows people.
        rules: for states.
        cleared: the fields whose NULL ends a grant at the vendor.
        questions: asked before anyone is subscribed.
        store: sends rows.

    Raises: as `Destination.send`.
    """
    if not fields:
        return store(batch)
    rows = batch.rows.to_pylist()
    keys = [None if row[key] is None else str(row[key]) for row in rows]

    def is_open(state: str | None, field: StateField) -> bool:
        return field.name in cleared if state is None else rules.grants(state)

    asked = {
        field: {one: row for one, row in zip(keys, rows, strict=True) if one and is_open(row[field.name], field)}
        for field in fields
    }
    known = _present(asked, questions, denied=rules.denied)
    sent = batch.rows
    for field in fields:
        states = _to_send(field, rows, [known[field].get(one or "", "") for one in keys], rules)
        place = sent.schema.names.index(field.name)
        sent = sent.set_column(place, sent.schema.field(place), pa.array(states, sent.column(place).type))
    outcomes = store(Batch(key=batch.key, rows=sent))
    doubts = [[state for some in known.values() if isinstance(state := some.get(one or ""), Outcome)] for one in keys]
    return after_a_change(outcomes, with_states(list(outcomes), doubts))


def settled_after(
    batch: Batch,
    columns: Mapping[int, StateField],
    *,
    rules: SubscriptionRules,
    cleared: Collection[str],
    states: Callable[[], AddressStates],
    store: Callable[[Batch], Outcomes],
) -> Outcomes:
    """Send rows, then settle the states of those that were accepted, for a vendor that takes states apart.

    Args:
        batch: of the load.
        columns: the fields with states, by subscription; each has a field with its address.
        rules, cleared, store: see `stored_with_states`.
        states: returns those at the vendor.

    Raises: as `Destination.send`.
    """
    outcomes, rows = store(batch), batch.rows
    if not columns or not len(outcomes):
        return outcomes
    texts = {one: texts_of(rows, field.name) for one, field in columns.items()}
    addresses = {name: texts_of(rows, name) for name in {field.address for field in columns.values()}}
    ends = {one for one, field in columns.items() if field.name in cleared}
    wanted = [
        [
            (addresses[columns[one].address][row], one, some[row])
            for one, some in texts.items()
            if some[row] is not None or one in ends
        ]
        for row in range(len(outcomes))
    ]
    settled = rules.settled_at(list(outcomes), wanted, states())
    return after_a_change(outcomes, settled)


def _to_send(
    field: StateField, rows: Sequence[Mapping[str, Any]], known: Sequence[Outcome | str], rules: SubscriptionRules
) -> list[str | None]:
    """Return the states to send of one field: the no of one person is that of all who share the address."""
    # A person without an address shares the state with no one.
    shared = [str(row.get(field.address) or "").casefold() or place for place, row in enumerate(rows)]
    wanted = rules.strictest(zip(shared, [row[field.name] for row in rows], strict=True))
    return [
        None
        if rules.grants(row[field.name]) and wanted[of] == rules.denied
        else rules.to_send(row[field.name], present)
        for of, row, present in zip(shared, rows, known, strict=True)
    ]


def _present(
    asked: Mapping[StateField, Mapping[str, Mapping[str, Any]]], questions: StateQuestions, *, denied: str
) -> dict[StateField, States]:
    """Return the present states of people, by field; the rows of the people are the values of `asked`."""
    keys = list(dict.fromkeys(key for people in asked.values() for key in people))
    profiles: dict[str, Record] = {}
    known: States = dict(zip(keys, questions.profiles(keys, profiles) if keys else (), strict=True))
    found: dict[StateField, States] = {}
    for field, people in asked.items():
        clear = {key: row for key, row in people.items() if known[key] in {ACCEPTED, NOT_FOUND}}
        own = questions.of_people(field, {key: profiles[key] for key in clear if key in profiles})
        shared: dict[str, list[str]] = {}
        for key, row in clear.items():
            had = profiles.get(key, {}).get(field.address)
            text = str(row.get(field.address) or had or "")
            if field.address and text and (key not in own or text.casefold() != str(had or "").casefold()):
                shared.setdefault(text, []).append(key)
        of_text = questions.of_addresses(field, list(shared))
        of_address = {key: of_text[text] for text, some in shared.items() for key in some if own.get(key) != denied}
        found[field] = {key: {**dict.fromkeys(clear, ""), **own, **of_address}.get(key, known[key]) for key in people}
    return found
