"""The destination for customer list audiences of Meta: hashed identifiers of permitted people, added and removed.

    POST /v26.0/120330000000000/users
    {"session": {"session_id": 52…, "batch_seq": 1, "last_batch_flag": true, "estimated_num_total": 2},
     "payload": {"schema": ["EMAIL", "DATA_PROCESSING_OPTIONS"], "data": [["62a1…", []], ["e4d9…", ["LDU"]]]}}

A removal is a DELETE with the same identifiers, as they were added. Meta answers with counts, never with rows:
`num_received` and `num_invalid_entries`. All rows of a request are accepted where both prove it. Where some entries
are invalid, the request is sent in halves until they are alone; to add or to remove a person twice changes nothing.
`invalid_entry_samples` has identifiers of people, and is never read.

Read 2026-11-29, on https://developers.facebook.com/documentation/ads-commerce/marketing-api/reference/custom-audience/users
and …/audiences/guides/custom-audiences: 10,000 users a request; changes take up to 24 hours; every request has a
`session`, and here each is one of its own. Calls count in a score for each ad account and hour, of at least 190,000:
…/overview/rate-limiting. An audience that Meta flagged refuses every change, removals too: the load fails and says so.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa

from airflow_consent_retl.contract.outcomes import UNREADABLE_ANSWER, Outcome, Outcomes, RowStatus
from airflow_consent_retl.destinations.http.destination import HttpDestination
from airflow_consent_retl.destinations.http.halving import Halving
from airflow_consent_retl.destinations.http.people_encoder import PeopleEncoder
from airflow_consent_retl.destinations.http.purpose import Purpose
from airflow_consent_retl.destinations.http.responses import UnreadableAnswerError, is_integer, json_object
from airflow_consent_retl.destinations.meta.graph_api import check_answer, place_of, refusal_code, regained_after_s
from airflow_consent_retl.destinations.meta.known_people import (
    check_fields,
    check_texts,
    raise_errors,
    rules_of,
)
from airflow_consent_retl.destinations.meta.processing_options import OPTIONS_FIELD, STATE_FIELD, options_of
from airflow_consent_retl.destinations.meta_audiences.audience_body import CONSENT_FIELDS, SCHEMA_KEYS, AudienceBody
from airflow_consent_retl.destinations.meta_audiences.options import WITHDRAWAL_CHOICES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow_consent_retl.contract.destination import Batch, Load
    from airflow_consent_retl.destinations.http.address import HttpAddress
    from airflow_consent_retl.destinations.http.client import Answer
    from airflow_consent_retl.destinations.http.responses import SentRows
    from airflow_consent_retl.destinations.meta_audiences.options import MetaAudienceSpec

SOME_INVALID = "some_entries_invalid"
INVALID_ENTRY = "invalid_entry"
# Meta hashes neither of them.
_PLAIN = ("external_id",)


class MetaAudienceDestination(HttpDestination):
    """Adds people to one customer list audience, and removes them by the identifiers with which they were added.

    Args:
        address: of the audience's users.
        options: see there.
        audience_id: the audience's number.
        proof: of the app's secret; empty: none.
    """

    name: ClassVar[str] = "Meta audience"
    withdrawal_choices: ClassVar[Mapping[str, str]] = WITHDRAWAL_CHOICES

    def __init__(self, address: HttpAddress, options: MetaAudienceSpec, *, audience_id: str, proof: str = "") -> None:
        super().__init__(address, options)
        self._options = options
        self._audience_id = audience_id
        self._beside = {"appsecret_proof": proof} if proof else {}

    @property
    def target(self) -> str:
        """The audience, and the host if it is not Meta's own."""
        return f"custom audience {self._audience_id} at Meta{place_of(self._address)}"

    @property
    def former_targets(self) -> Sequence[str]:
        """None: no release recorded another text."""
        return ()

    def is_own_code(self, code: str) -> bool:
        """Return whether a code is a status, or numbers of Meta's errors."""
        return code.removeprefix("error_").replace("_", "").isdigit() or super().is_own_code(code)

    def sending(self, load: Load) -> Purpose:
        """Return a POST of people in the audience's schema."""
        people = self._people(self._identifiers(load))
        return self._purpose("POST", AudienceBody(people, load.schema.names, self._beside))

    def removing(self, load: Load) -> Purpose:
        """Return a DELETE of people by the identifiers that were stored."""
        return self._purpose("DELETE", AudienceBody(None, self._identifiers(load), self._beside))

    def sent_as(self, rows: pa.RecordBatch, load: Load) -> list[dict[str, object]]:
        """Return the values of each person by Meta's keys."""
        encoder = AudienceBody(self._people(self._identifiers(load)), load.schema.names, {})
        everyone: Sequence[Any] = encoder.rows(rows).records
        return [dict(zip(encoder.schema_keys, values, strict=True)) for values in everyone]

    def removal_schema(self, load: Load) -> pa.Schema:
        """Return each identifier, as it is sent."""
        return _stored(self._identifiers(load))

    def removal_rows(self, rows: pa.RecordBatch, load: Load) -> pa.RecordBatch:
        """Return the identifiers as they are sent; all NULL for a row that is rejected."""
        identifiers = self._identifiers(load)
        refused = options_of(rows)[1]
        columns = self._people(identifiers).encode(rows, refused=refused).columns
        return pa.RecordBatch.from_arrays([columns[name] for name in identifiers], schema=_stored(identifiers))

    def send(self, batch: Batch) -> Outcomes:
        """Add a batch's people, in halves where some of them are invalid."""
        return self._halving(super().send).send(batch)

    def remove(self, batch: Batch) -> Outcomes:
        """Remove people, in halves where some entries are invalid; a person without an identifier was never there."""
        return self._halving(super().remove).send(batch)

    def _halving(self, send: Callable[[Batch], Outcomes]) -> Halving:
        return Halving(send, is_shared=_is_shared, name=self.name)

    def _purpose(self, method: str, encoder: AudienceBody) -> Purpose:
        return Purpose(
            method=method,
            address=self._address,
            encoder=encoder,
            read=self._read,
            removes=method == "DELETE",
            key_header=None,
            refuse=check_answer,
            pause=partial(regained_after_s, use_case="custom_audience"),
        )

    def _read(self, answer: Answer, sent: SentRows) -> Outcomes | None:
        rows = len(sent)
        if answer.status >= 400:
            return Outcomes.rejected(rows, refusal_code(answer))
        try:
            counts = json_object(answer.body)
        except UnreadableAnswerError:
            return None
        received, invalid = (counts.get(name) for name in ("num_received", "num_invalid_entries"))
        adds_up = is_integer(received) and is_integer(invalid) and received == rows and invalid in range(rows + 1)
        if not adds_up or str(counts.get("audience_id")) != self._audience_id:
            return Outcomes.uncertain(rows, UNREADABLE_ANSWER)
        if invalid in {0, rows}:
            return Outcomes.rejected(rows, INVALID_ENTRY) if invalid else Outcomes.accepted(rows)
        return Outcomes.uncertain(rows, SOME_INVALID)

    def _people(self, identifiers: Sequence[str]) -> PeopleEncoder:
        options = self._options
        rules = rules_of(identifiers, plain=_PLAIN, phone_region=options.phone_region, hashed=options.hashed)
        return PeopleEncoder(rules, on_invalid=options.on_invalid, explains=False)

    def _identifiers(self, load: Load) -> list[str]:
        names = load.schema.names
        wrong = check_fields(names, [*SCHEMA_KEYS, *CONSENT_FIELDS], name="a Meta audience")
        wrong += check_texts(load.schema, [*SCHEMA_KEYS, *CONSENT_FIELDS])
        identifiers = [name for name in names if name in SCHEMA_KEYS]
        if not identifiers:
            wrong.append("no field identifies a person: map `email`, `phone`, `external_id` or `device_id`")
        if STATE_FIELD in names and OPTIONS_FIELD not in names:
            wrong.append(f"`{STATE_FIELD}` says nothing without `{OPTIONS_FIELD}`")
        raise_errors(wrong)
        return identifiers


def _stored(identifiers: Sequence[str]) -> pa.Schema:
    return pa.schema([pa.field(name, pa.string()) for name in identifiers])


def _is_shared(outcome: Outcome) -> bool:
    """Return whether fewer rows than have this outcome may be the reason for it."""
    refused = outcome.status is RowStatus.REJECTED and outcome.code.startswith(("error_", "http_4"))
    return refused or outcome.code == SOME_INVALID
