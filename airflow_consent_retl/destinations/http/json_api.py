"""Documents and answers in the form of JSON:API (https://jsonapi.org/format/1.1/): resources, attributes and pages.

The form of a filter is each vendor's own: the one here is `any(field,["a","b"])`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from airflow_consent_retl.contract.outcomes import Outcomes
from airflow_consent_retl.destinations.http.answer_maps import entries
from airflow_consent_retl.destinations.http.responses import UnreadableAnswerError, json_object, of_document, of_kind
from airflow_consent_retl.destinations.http.text_values import folded

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.http.batch_steps import BatchSteps
    from airflow_consent_retl.destinations.http.client import Answer
    from airflow_consent_retl.destinations.http.found_records import Record
    from airflow_consent_retl.destinations.http.responses import SentRows

JSON_API = "application/vnd.api+json"


def document_of(kind: str, attributes: Mapping[str, object], **relationships: object) -> dict[str, Any]:
    """Return the document of one resource; a relationship that is None is left out."""
    related = {name: {"data": one} for name, one in relationships.items() if one is not None}
    resource = {"type": kind, "attributes": attributes}
    return {"data": {**resource, "relationships": related} if related else resource}


def resource_id(answer: Answer) -> object:
    """Return the id of an answer's only resource; raises as `attributes_of`."""
    return _resource(answer).get("id")


def attributes_of(answer: Answer) -> dict[str, Any]:
    """Return the attributes of an answer's only resource.

    Raises:
        UnreadableAnswerError: it has none.
    """
    return of_kind(_resource(answer).get("attributes"), dict)


def resources(answer: Answer) -> list[dict[str, Any]]:
    """Return the attributes of each resource of a list, with its `id`.

    Raises:
        UnreadableAnswerError: there is no list, or a resource has no id or no attributes.
    """
    document = json_object(answer.body)
    # Not even a null may look as if there were none.
    if not isinstance(document.get("data"), list):
        raise UnreadableAnswerError
    found = [{**of_kind(one.get("attributes"), dict), "id": one.get("id")} for one in entries(document, "data")]
    if not all(isinstance(one["id"], str) for one in found):
        raise UnreadableAnswerError
    return found


def next_page(answer: Answer) -> str | None:
    """Return the link to the next page; None: it was the last.

    Raises:
        UnreadableAnswerError: the link is no text.
    """
    links = json_object(answer.body).get("links") or {}
    link = links.get("next") if isinstance(links, dict) else None
    if link is not None and not isinstance(link, str):
        raise UnreadableAnswerError
    return link


def is_over(answer: Answer, *, running: Collection[str], ended: Collection[str]) -> bool:
    """Return from the `status` of an answer's only resource whether a job ended.

    Raises:
        UnreadableAnswerError: it is neither a word for a running job nor one for a job that ended.
    """
    status = attributes_of(answer).get("status")
    if status not in {*running, *ended}:
        raise UnreadableAnswerError
    return status in ended


def asked_with_any(
    steps: BatchSteps,
    path: str,
    field: str,
    values: Sequence[str],
    found: dict[str, Record],
    *,
    most: int,
    page_rows: int,
    query: Mapping[str, str],
) -> Outcomes:
    """Fill in the resources in which a field has one of these values, by value; return the outcome of each question.

    A page that is not the only one, or that has two resources with one value, leaves its values uncertain.

    Args:
        steps: of the batch.
        path: of the endpoint.
        field: of the resources.
        values: to ask about.
        found: to fill in.
        most: the most values in a filter.
        page_rows: the most resources of a page.
        query: further parameters.
    """
    keys = {folded(value, field): value for value in values}

    def endpoint(some: Sequence[str]) -> str:
        condition = f"any({field},{json.dumps(some, ensure_ascii=False)})"
        return f"{path}?{urlencode({'filter': condition, **query, 'page[size]': page_rows}, quote_via=quote, safe='')}"

    def read(answer: Answer, sent: SentRows) -> Outcomes | None:
        def of_page(_: dict[str, Any]) -> Outcomes:
            if next_page(answer) is not None:
                raise UnreadableAnswerError
            found_here = resources(answer)
            named = {folded(one.get(field), field): one for one in found_here}
            # INVARIANT: the state of one resource never stands for that of another one with the same value.
            if len(named) < len(found_here):
                raise UnreadableAnswerError
            found.update({keys[value]: one for value, one in named.items() if value in keys})
            return Outcomes.accepted(len(sent))

        return of_document(answer, sent, of_page)

    return steps.ask(f"{path} by {field}", endpoint, values, read, most=most)


def _resource(answer: Answer) -> dict[str, Any]:
    return of_kind(json_object(answer.body).get("data"), dict)
