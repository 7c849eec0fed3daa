"""The Klaviyo destination: permitted rows as profiles, by bulk import jobs, perhaps on a list.

What the API does, in `klaviyo/openapi@f0a30ba`, `openapi/stable/apis/`, revision 2026-07-15, read 2026-11-29:

- `POST /api/profile-bulk-import-jobs`: up to 10,000 profiles, 5 MB, 100 kB a profile; 10 requests a second, 150 a
  minute. It does not touch subscriptions, so a person's own opt-out survives;
- `DELETE /api/lists/{id}/relationships/profiles`: up to 1,000 profiles, by Klaviyo's ids; consent stays;
- `POST /api/profile-subscription-bulk-delete-jobs`: up to 100. Whoever is not on the list that it names is
  unsubscribed from everything, so the load asks who is on the list first;
- `POST /api/profile-suppression-bulk-create-jobs`: up to 100 addresses. It makes a profile for an unknown address, so
  only those that Klaviyo has are sent;
- `POST /api/data-privacy-deletion-jobs`: one profile a request, 3 a second, 60 a minute;
- `POST /api/profile-subscription-bulk-create-jobs`: up to 1,000. "This API will remove any `UNSUBSCRIBE`, `SPAM_REPORT`
  or `USER_SUPPRESSED` suppressions from the provided profiles", so only people without a state there are
  subscribed. With `historical_import`, they "will bypass double opt-in emails", and each needs a `consented_at`, which
  "must be in the past"; nothing makes one up.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa

from airflow_consent_retl.contract.destination import Batch
from airflow_consent_retl.destinations.http.bodies import ShapedRows, json_body
from airflow_consent_retl.destinations.http.channel_destination import ChannelDestination, derived
from airflow_consent_retl.destinations.http.destination import filled_with_nulls
from airflow_consent_retl.destinations.http.found_records import FoundRecords
from airflow_consent_retl.destinations.http.json_api import JSON_API
from airflow_consent_retl.destinations.http.written_rows import APPLIED_LATER
from airflow_consent_retl.destinations.klaviyo import VENDOR
from airflow_consent_retl.destinations.klaviyo.import_jobs import (
    IMPORT,
    SUPPRESSION,
    check_fields,
    import_of,
    is_fit_key,
    profile_of,
)
from airflow_consent_retl.destinations.klaviyo.known_profiles import members_of, profiles_by, state_of
from airflow_consent_retl.destinations.klaviyo.options import WITHDRAWAL_CHOICES, KlaviyoSpec
from airflow_consent_retl.destinations.klaviyo.removal_requests import change_states, removal_of
from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_consent_retl.contract.destination import Load
    from airflow_consent_retl.contract.outcomes import Outcomes
    from airflow_consent_retl.destinations.http.address import HttpAddress
    from airflow_consent_retl.destinations.http.batch_steps import BatchSteps
    from airflow_consent_retl.destinations.http.found_records import Record
    from airflow_consent_retl.destinations.http.jobs import Job
    from airflow_consent_retl.destinations.http.purpose import Purpose
    from airflow_consent_retl.destinations.http.vendor import Vendor


class KlaviyoDestination(ChannelDestination[KlaviyoSpec]):
    """Upserts profiles, and takes people back as `on_withdrawal` says.

    An import names each refused profile by its place, and the outcomes of rows come from there. A person whom Klaviyo
    does not have counts as removed, and no request makes a profile of one. An unsubscription and a privacy deletion
    have no job to ask about: the load asks again who is still on the list, or still there.

    A field `subscriptions.email.marketing.consent`, or `sms`, is a state: see `ChannelDestination`. Every other field
    is an attribute.

    Args:
        address: of the API.
        options: see there.
        account_id: of the account.
    """

    vendor: ClassVar[Vendor] = VENDOR
    rates: ClassVar[Mapping[str, float]] = {"requests_per_s": 1, "requests_per_minute": 60}
    content_type: ClassVar[str] = JSON_API
    write_refusals: ClassVar[Mapping[str, str]] = APPLIED_LATER
    withdrawal_choices: ClassVar[Mapping[str, str]] = WITHDRAWAL_CHOICES
    seen_later: ClassVar[Collection[str]] = ("unsubscription", "deletion")
    change_states = staticmethod(change_states)
    state_of = staticmethod(state_of)

    def __init__(self, address: HttpAddress, options: KlaviyoSpec, *, account_id: str) -> None:
        super().__init__(address, options, account=account_id)
        on_list = f" on list {options.list_id}" if options.list_id else ""
        self.place = f"profiles by {options.known_by}{on_list} of Klaviyo account"

    def jobs(self) -> Sequence[Job]:
        """Return imports and suppressions."""
        return [IMPORT, SUPPRESSION]

    def sending(self, load: Load) -> Purpose:
        """Return an import of profiles."""
        if load.key_field != self._options.known_by:
            raise ConfigurationError(f"map the model's primary key to `{self._options.known_by}`, or change known_by")
        check_fields(load.schema.names)
        self.check_states(load)
        return self._import(load.schema, cleared=load.nulls_sent, omitted=load.nulls_omitted)

    def found(self, batch: Batch) -> FoundRecords:
        """Return the profiles of people."""
        return self._asked(batch.key, batch.rows)[1]

    def ask(self, steps: BatchSteps, field: str, texts: list[str], found: dict[str, Record]) -> Outcomes:
        """Fill in the profiles that Klaviyo has, with their subscriptions."""
        return profiles_by(steps, field, texts, found, with_states=True)

    def remove(self, batch: Batch) -> Outcomes:
        """Find the profiles of people, and take them back in the way that the DAG chose."""
        steps, found = self._asked(batch.key, batch.rows)
        records = found.records
        match self._options.on_withdrawal:
            case "unsubscribe_channels":
                return self.end(batch, self._options.ended_channels(), found)
            case "unsubscribe":
                records = members_of(steps, records, self._options.list_id)
            case "suppress":
                records = [one for one in records if one.get("email")]
        return removal_of(self._options, batch).apply(steps, found, among=records)

    def empty(self, batch: Batch, fields: Sequence[str], found: FoundRecords) -> Outcomes:
        """Import the profiles that Klaviyo has with fields that are null."""

        def send(there: list[int]) -> Outcomes:
            rows = filled_with_nulls(batch.rows.select([self._options.known_by]).take(pa.array(there)), fields)
            return self.deliver(Batch(key=derived(batch.key, "clear"), rows=rows), self._import(rows.schema, fields))

        return found.send_for(send)

    def left_after(self, kind: str, steps: BatchSteps, found: FoundRecords) -> Collection[Record]:
        """Return who is still on the list, or still there."""
        return members_of(steps, found.records, self._options.list_id) if kind == "unsubscription" else found.records

    def _import(self, schema: pa.Schema, cleared: Collection[str], omitted: Collection[str] = ()) -> Purpose:
        encoder = ShapedRows(
            schema,
            body=json_body(partial(import_of, self._options.list_id)),
            shape=lambda row: profile_of(self._options.known_by, self.without_states(row, "subscriptions")),
            nulls="null" if self._options.nulls == "clear" else "omit",
            cleared=cleared,
            omitted=omitted,
        )
        return self.posting("/api/profile-bulk-import-jobs", encoder, IMPORT.submitted, max_row_bytes=100_000)

    def _asked(self, key: str, people: pa.RecordBatch) -> tuple[BatchSteps, FoundRecords]:
        """Return the profiles of people, and the steps with which they were asked for."""
        known_by, steps = self._options.known_by, self.steps(Batch(key=key, rows=people))
        # A person with another key was never sent.
        keys = [one if is_fit_key(one) else None for one in people.column(known_by).to_pylist()]
        has_states = bool(self._options.unsubscribes or self.channels_in(self.load.schema.names))
        return steps, FoundRecords.asked(keys, partial(profiles_by, steps, known_by, with_states=has_states))
