"""The webhook destination: permitted rows to an HTTP endpoint, as JSON batches. Unclear answers are `uncertain`.

A request:

    POST /v1/people
    Content-Type: application/json
    Idempotency-Key: 5f1c…            the same rows have the same key, at every try

    {"rows": [{"id": 9007199254740993, "email": "…", "score": "12.50", "seen_at": "2026-11-23T17:50:57.000000+00:00"}]}

Integers are JSON integers with all their digits (or text, with `integers="string"`: a reader in JavaScript rounds
beyond 2^53), decimals text without exponent, floats the shortest text that reads back the same, timestamps ISO 8601
with the offset `+00:00` (without one where the column has no zone), dates and times ISO 8601, binary base64, lists
and structs arrays and objects, JSON columns text. A row with NaN or infinity is rejected as `not_a_number`, a year
outside 1 to 9999 as `year_out_of_range`, text that is not UTF-8 as `not_utf8`. The contract of
answers is in `answers`.

A removal contains only the primary keys, with the same headers, answers and retries:

    DELETE /v1/people
    {"rows": [{"id": 9007199254740993}]}

or, for receivers and proxies that allow no body in a DELETE, a POST with an event:

    POST /v1/people
    {"event": "removed", "rows": [{"id": 9007199254740993}]}

A person who withdraws consent to some fields only loses these fields between two loads. The row has the primary key and
the fields as null, also with `nulls="omit"`. A receiver that demands whole rows refuses it; the next load sends them.

    POST /v1/people
    {"rows": [{"id": 9007199254740993, "email": null}]}
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from airflow_consent_retl.contract.outcomes import NOT_IN_ANSWER, UNREADABLE_ANSWER, Outcomes
from airflow_consent_retl.destinations.http.destination import HttpDestination, with_nulls
from airflow_consent_retl.destinations.http.purpose import Purpose
from airflow_consent_retl.destinations.webhook.answer_contract import outcomes_of_refusal, outcomes_of_success
from airflow_consent_retl.destinations.webhook.options import REMOVALS_LIKE_ROWS
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.values.json_rows import RowEncoder

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import pyarrow as pa

    from airflow_consent_retl.contract.destination import Load
    from airflow_consent_retl.destinations.http.address import HttpAddress
    from airflow_consent_retl.destinations.http.client import Answer
    from airflow_consent_retl.destinations.http.purpose import ReadAnswer
    from airflow_consent_retl.destinations.http.responses import SentRows
    from airflow_consent_retl.destinations.webhook.options import WebhookOptions


_REMEDIES = {
    UNREADABLE_ANSWER: (
        "The receiver's answers do not follow the contract of webhooks (see its page in the docs). If each answer 200 "
        'to 299 means that it took all rows, set answer="status" at the load. Otherwise it has to answer with '
        "`results`, `errors`, counts, or an empty body"
    ),
    NOT_IN_ANSWER: "The receiver's `results` have to name each row of the request, by `index` or `id`",
}


class WebhookDestination(HttpDestination):
    """POSTs batches to one endpoint, and asks this or another endpoint of the same host to remove people.

    A removal is `accepted` if the receiver accepts it, or if it names the row with the code `not_found` or `gone`,
    because there is no such person; an answer with status 404 or 410 may name rows too. A bare 404 or 410 refers to
    the endpoint, since a removal's address names no one: it stops the load. A person whose key has no form in JSON was
    never sent, and counts as removed.

    Args:
        address: from `http_address`.
        options: see there.
        removal_address: the address of removals, on the same host; None: `address`.

    Raises:
        ConfigurationError: a removal would look like any other request, or go to another host.
    """

    can_clear: ClassVar[bool] = True
    nulls_by_field: ClassVar[frozenset[str]] = frozenset({"send", "omit", "clear"})
    name: ClassVar[str] = "webhook"

    def __init__(
        self, address: HttpAddress, options: WebhookOptions, *, removal_address: HttpAddress | None = None
    ) -> None:
        super().__init__(address, options)
        self._options = options
        self._removal_address = removal_address or address
        if self._removal_address.origin != address.origin:
            raise ConfigurationError("removals must go to the host that rows are sent to")
        same_place = self._removal_address.target == address.target
        if options.removal_method == "POST" and same_place and not options.removal_event:
            raise ConfigurationError(REMOVALS_LIKE_ROWS)

    def is_own_code(self, code: str) -> bool:
        """Return whether a code is a status, or one of those that the DAG declares as the receiver's."""
        return code in self._options.own_codes or super().is_own_code(code)

    def remedy(self, code: str) -> str:
        """Return what to do about answers that do not follow the contract."""
        return _REMEDIES.get(code, "")

    def sending(self, load: Load) -> Purpose:
        """Return a POST of rows."""
        return Purpose(
            method="POST",
            address=self._address,
            encoder=self._encoder(load.schema, cleared=load.nulls_sent, omitted=load.nulls_omitted),
            read=self._reader(load.key_field),
        )

    def removing(self, load: Load) -> Purpose | None:
        """Return a request with primary keys; None where the primary key is not mapped."""
        if load.key_field is None:
            return None
        return Purpose(
            method=self._options.removal_method,
            address=self._removal_address,
            encoder=self._encoder(self.removal_schema(load), self._options.removal_event),
            read=self._reader(load.key_field),
            removes=True,
        )

    def clearing(self, load: Load, fields: Sequence[str]) -> Purpose | None:
        """Return a POST of primary keys with the fields, each as null."""
        if load.key_field is None:
            return None
        return Purpose(
            method="POST",
            address=self._address,
            encoder=self._encoder(with_nulls(self.removal_schema(load), fields), cleared=fields),
            read=self._reader(load.key_field),
            removes=True,
        )

    def _encoder(
        self,
        schema: pa.Schema,
        beside: Mapping[str, str] | None = None,
        *,
        cleared: Collection[str] = (),
        omitted: Collection[str] = (),
    ) -> RowEncoder:
        options = self._options
        return RowEncoder(
            schema,
            nulls=options.nulls,
            integers=options.integers,
            envelope=options.envelope,
            beside=beside,
            cleared=cleared,
            omitted=omitted,
            nested=True,
        )

    def _reader(self, key_field: str | None) -> ReadAnswer:
        by_row = self._options.answer == "rows"

        def read(answer: Answer, sent: SentRows) -> Outcomes | None:
            if answer.status >= 400:
                code = f"http_{answer.status}"
                return outcomes_of_refusal(answer.body, sent, key_field=key_field, code=code) if by_row else None
            if not by_row or answer.status == 204:
                return Outcomes.accepted(len(sent))
            return outcomes_of_success(answer.body, sent, key_field=key_field)

        return read
