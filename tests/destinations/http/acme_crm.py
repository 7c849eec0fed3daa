"""A new HTTP destination, written with the kit: an imaginary CRM with a bearer token and one answer for each row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa
from airflow.sdk import BaseHook

from airflow_consent_retl.contract import ConfigurationError, DestinationSpec, Load, Outcome, Outcomes
from airflow_consent_retl.destinations.http.address import HttpAddress, http_address
from airflow_consent_retl.destinations.http.answer_maps import Entry, entries, in_order, rejected_by
from airflow_consent_retl.destinations.http.client import Answer
from airflow_consent_retl.destinations.http.destination import HttpDestination
from airflow_consent_retl.destinations.http.options import HttpOptions
from airflow_consent_retl.destinations.http.purpose import Purpose
from airflow_consent_retl.destinations.http.responses import ACCEPTED, SentRows, UnreadableAnswerError, json_object
from airflow_consent_retl.operators.spec_load import SpecLoadOperator
from airflow_consent_retl.values.json_rows import RowEncoder


class AcmeCrmDestination(HttpDestination):
    """Upserts contacts with `POST /contacts`, and removes them with `POST /contacts/removals`.

    Both take `{"rows": [...]}` and answer `{"results": [{"status": "ok"}, {"status": "error", "code": "…"}]}`, one
    result for each row, in order. The vendor takes 100 requests a second, 20 of them at once.
    """

    name: ClassVar[str] = "CRM"
    requests_per_s: ClassVar[float | None] = 100
    burst_requests: ClassVar[int | None] = 20

    def sending(self, load: Load) -> Purpose:
        if load.key_field != "id":
            raise ConfigurationError("the CRM knows contacts by their `id`: map the primary key to it")
        return self._purpose(self._address, load.schema)

    def removing(self, load: Load) -> Purpose:
        return self._purpose(self._address.below("/removals"), self.removal_schema(load), removes=True)

    def _purpose(self, address: HttpAddress, schema: pa.Schema, *, removes: bool = False) -> Purpose:
        encoder = RowEncoder(schema, nulls="null", integers="number", envelope="rows")
        return Purpose(method="POST", address=address, encoder=encoder, read=_read, removes=removes)


@dataclass(frozen=True, slots=True, kw_only=True)
class AcmeCrmSpec(HttpOptions, DestinationSpec):
    """The options, and the connection: host, path of the account, and `token` in the extra."""

    templated: ClassVar[tuple[str, ...]] = ("conn_id",)

    conn_id: str

    def build(self) -> AcmeCrmDestination:
        return AcmeCrmDestination(http_address(BaseHook.get_connection(self.conn_id), endpoint="/contacts"), self)


class LoadToAcmeCrmOperator(SpecLoadOperator):
    """Keep the contacts of a CRM at the permitted rows of one destination."""

    spec_class = AcmeCrmSpec


def _read(answer: Answer, sent: SentRows) -> Outcomes | None:
    try:
        results = entries(json_object(answer.body), "results")
    except UnreadableAnswerError:
        return None
    return in_order(results, sent, _outcome) if results else None


def _outcome(result: Entry, row: Mapping[str, object]) -> Outcome:
    match result.get("status"):
        case "ok":
            return ACCEPTED
        case "error":
            return rejected_by("code")(result, row)
        case _:
            raise UnreadableAnswerError
