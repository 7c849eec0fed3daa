"""The Google Customer Match destination: permitted rows as members of an audience, through the Data Manager API.

Limits, on https://developers.google.com/data-manager/api/devguides/limits, read 2026-11-23:

- 10,000 members a request, to add as to remove; 10 identifiers a member;
- 300 requests a minute and 100,000 a day for each Google Cloud project, polls of request states included.

The API accepts or refuses a request as a whole and processes it later: each row is `pending` under the request's id
until `confirm` returns its outcome. The API reports counts, never rows: after a partial success every row is uncertain.
It knows people only by their identifiers. Adding a person again changes nothing; removing one of two people who share
an e-mail removes that e-mail for both, until the other is sent again. It stores no NULL: to clear a field is to remove
the identifiers that it makes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus
from airflow_consent_retl.destinations.data_manager.consent_signals import (
    SIGNALS,
    Consent,
    consents_of,
    pieces_by_consent,
)
from airflow_consent_retl.destinations.data_manager.destination import DataManagerDestination
from airflow_consent_retl.destinations.data_manager.members import MemberEncoder, identified_by
from airflow_consent_retl.destinations.http.counted_destination import outcomes_of
from airflow_consent_retl.destinations.http.people_encoder import NO_IDENTIFIER, EncodedPeople
from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_consent_retl.contract.destination import Batch, Load
    from airflow_consent_retl.destinations.data_manager.api import Action


class GoogleCustomerMatchDestination(DataManagerDestination):
    """Adds people to one audience, and removes them by the identifiers with which they were added.

    The target is from `customer_match_audience`. The parameters are those of `DataManagerDestination`.
    """

    can_remove: ClassVar[bool] = True
    can_clear: ClassVar[bool] = True

    _encoder: MemberEncoder | None = None

    @property
    def former_targets(self) -> Sequence[str]:
        """The audience and its account, which was all that was recorded."""
        return [str(self._place)]

    def check_fields(self, load: Load) -> None:
        """Check the fields, and keep what encodes them."""
        self._encoder = self._encoder_of(load)

    def sent_as(self, rows: pa.RecordBatch, load: Load) -> list[dict[str, object]]:
        """Return the identifiers, hashed except region and postal code, and the signals that are fields."""
        known = [dict(row) for row in self._encoder_of(load).removal_rows(rows).to_pylist()]
        answered = [name for name in SIGNALS if name in load.schema.names]
        consents, _ = consents_of(rows)
        return [
            {**row, **{name: getattr(consent, name) for name in answered}}
            for row, consent in zip(known, consents, strict=True)
        ]

    def send(self, batch: Batch) -> Outcomes:
        """Add a batch's rows; each accepted row is pending under its request's id."""
        load = self.load
        self.check_consent(load)
        encoded = self._encoder_of(load).encode(batch.rows)
        self.note_omitted(encoded.omitted)
        consents, wrong = consents_of(batch.rows)
        refused = {**{row: code for row, (code, _) in wrong.items()}, **encoded.refused}
        fields = {**{row: name for row, (_, name) in wrong.items()}, **encoded.fields}
        encoded = EncodedPeople(encoded.columns, refused, encoded.omitted, fields)
        return self._change("ingest", encoded, consents, batch.rows.num_rows)

    def removal_schema(self, load: Load) -> pa.Schema:
        """Return each mapped identifier, as it is sent: hashed, except region and postal code."""
        return self._encoder_of(load).removal_schema

    def removal_rows(self, rows: pa.RecordBatch, load: Load) -> pa.RecordBatch:
        """Return the identifiers as they are sent; all NULL for a row that is rejected."""
        return self._encoder_of(load).removal_rows(rows)

    def remove(self, batch: Batch) -> Outcomes:
        """Remove people by the identifiers with which they were added; a person without any was never there."""
        return self._removed(batch, batch.rows.schema.names)

    def clear(self, batch: Batch, fields: Sequence[str]) -> Outcomes:
        """Remove the identifiers of these fields with which people were added; an address goes as a whole.

        Whether Google counts the person as a member by the other identifiers until the next load, which sends them
        again without the field, is Google's choice.
        """
        return self._removed(batch, identified_by(fields, batch.rows.schema.names))

    def _removed(self, batch: Batch, fields: Sequence[str]) -> Outcomes:
        encoded = EncodedPeople({name: batch.rows.column(name) for name in fields}, refused={})
        return self._change("remove", encoded, None, batch.rows.num_rows)

    def _change(
        self, action: Action, encoded: EncodedPeople, consents: Sequence[Consent] | None, rows: int
    ) -> Outcomes:
        from airflow_consent_retl.destinations.data_manager.messages import members_of

        members = members_of(encoded, consents=consents)
        changed = self.deliver(
            members,
            pieces_by_consent(members, consents),
            lambda api, some: api.change(action, self._place, some),
        )
        # A person without an identifier was never added, and cannot be.
        unnamed = Outcome(RowStatus.ACCEPTED) if action == "remove" else Outcome(RowStatus.REJECTED, NO_IDENTIFIER)
        return outcomes_of(changed, encoded.refused, encoded.fields, rows=rows, otherwise=unnamed)

    def _encoder_of(self, load: Load) -> MemberEncoder:
        import pyarrow as pa

        if SIGNALS[0] in load.schema.names:
            raise ConfigurationError(
                f"a member is nothing but data about a person, and only goes where `{SIGNALS[0]}` is granted: name its "
                "category in consent_signals, and let the policy require it, so that who withdraws it is removed"
            )
        schema = pa.schema([field for field in load.schema if field.name not in SIGNALS])
        return MemberEncoder(schema, hashed=self._options.hashed, on_invalid=self._options.on_invalid)
