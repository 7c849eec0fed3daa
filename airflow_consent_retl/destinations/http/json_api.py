"""Documents and answers in the form of JSON:API (https://jsonapi.org/format/1.1/): resources, attributes and pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.destinations.http.answer_maps import entries
from airflow_consent_retl.destinations.http.responses import UnreadableAnswerError, json_object, of_kind

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.http.client import Answer

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


def _resource(answer: Answer) -> dict[str, Any]:
    return of_kind(json_object(answer.body).get("data"), dict)
