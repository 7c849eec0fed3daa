"""A destination that processes later, written with the kit: an imaginary CRM that imports contacts in jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from airflow_consent_retl.contract import DestinationSpec, Load, Outcomes
from airflow_consent_retl.destinations.http.address import http_address
from airflow_consent_retl.destinations.http.answer_maps import by_pointer, entries, rejected_by
from airflow_consent_retl.destinations.http.bodies import ShapedRows, json_body
from airflow_consent_retl.destinations.http.client import Answer
from airflow_consent_retl.destinations.http.destination import HttpDestination
from airflow_consent_retl.destinations.http.jobs import Job
from airflow_consent_retl.destinations.http.options import HttpOptions
from airflow_consent_retl.destinations.http.purpose import Purpose
from airflow_consent_retl.destinations.http.responses import (
    ACCEPTED,
    SentRows,
    UnreadableAnswerError,
    is_integer,
    json_object,
)
from airflow_consent_retl.hooks.lookups import connection_named
from airflow_consent_retl.operators.spec_load import SpecLoadOperator


def _data(answer: Answer) -> dict[str, Any]:
    data = json_object(answer.body).get("data")
    if not isinstance(data, dict):
        raise UnreadableAnswerError
    return data


def _is_over(answer: Answer) -> bool:
    match _data(answer).get("status"):
        case "queued" | "processing":
            return False
        case "complete" | "cancelled":
            return True
    raise UnreadableAnswerError


def _first_page(job_id: str, status: Answer) -> str | None:
    failed = _data(status).get("failed_count")
    if not is_integer(failed):
        raise UnreadableAnswerError
    return f"/imports/{job_id}/errors" if failed else None


def _next_page(page: Answer) -> str | None:
    link = json_object(page.body).get("next")
    if link is not None and not isinstance(link, str):
        raise UnreadableAnswerError
    return link


def _outcomes(status: Answer, pages: Sequence[Answer], rows: SentRows) -> Outcomes:
    if _data(status)["status"] != "complete":
        raise UnreadableAnswerError
    errors = [error for page in pages for error in entries(json_object(page.body), "errors")]
    outcomes = by_pointer(errors, rows, rejected_by("code"), prefix="/contacts", field="pointer", others=ACCEPTED)
    if len(outcomes.exceptions) != _data(status)["failed_count"]:
        raise UnreadableAnswerError
    return outcomes


IMPORT = Job(
    name="import",
    id_of=lambda answer: _data(answer).get("id"),
    status=lambda job_id: f"/imports/{job_id}",
    is_over=_is_over,
    results=_first_page,
    next_page=_next_page,
    read=_outcomes,
)


class BulkCrmDestination(HttpDestination):
    """Imports contacts with `POST /imports`, and removes them with `POST /removals`; both answer with a job."""

    name: ClassVar[str] = "bulk CRM"

    def jobs(self) -> Sequence[Job]:
        return [IMPORT]

    def sending(self, load: Load) -> Purpose:
        return self._purpose("/imports", load.schema)

    def removing(self, load: Load) -> Purpose:
        return self._purpose("/removals", self.removal_schema(load))

    def _purpose(self, endpoint: str, schema: pa.Schema) -> Purpose:
        rows = ShapedRows(schema, body=json_body(lambda objects: {"contacts": objects}))
        return Purpose(method="POST", address=self._address.at(endpoint), encoder=rows, read=IMPORT.submitted)


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkCrmSpec(HttpOptions, DestinationSpec):
    """The options and the connection."""

    templated: ClassVar[tuple[str, ...]] = ("conn_id",)

    conn_id: str

    def build(self) -> BulkCrmDestination:
        return BulkCrmDestination(http_address(connection_named(self.conn_id), endpoint="/imports"), self)


class LoadToBulkCrmOperator(SpecLoadOperator):
    """Keep the contacts of a CRM at the permitted rows of one destination."""

    spec_class = BulkCrmSpec
