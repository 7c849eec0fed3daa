"""The HubSpot destination: permitted rows as contacts, and the states of their e-mail subscriptions.

What the API does, in `HubSpot/HubSpot-public-api-spec-collection@9989379`, Contacts and Communication Preferences
Subscriptions, both version 2026-09, read 2026-11-29:

- `POST /crm/objects/2026-09/contacts/batch/upsert` names each input in its answer by `objectWriteTraceId`;
- `…/batch/archive` and `…/batch/update` take HubSpot's own ids of records, which `…/batch/read` finds;
- `…/gdpr-delete` deletes one contact for good; an address that it does not find is blocked for ever, so only contacts
  that were found are deleted by it;
- `POST /communication-preferences/2026-09/statuses/batch/write` sets states of subscriptions, with a legal basis and
  its explanation; `…/unsubscribe-all` opts addresses out of all e-mail.

Limits: 100 contacts a request (https://developers.hubspot.com/docs/api-reference/latest/crm/objects/contacts/guide, a
copy read 2026-11-29). Requests: 100 in 10 seconds, 190 from the tier Professional on, and a daily number
(https://developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines, a copy read 2026-11-29).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa

from airflow_consent_retl.destinations.http.account_destination import AccountDestination
from airflow_consent_retl.destinations.http.bodies import REPEATED_IDENTIFIER
from airflow_consent_retl.destinations.http.found_records import FoundRecords
from airflow_consent_retl.destinations.http.record_changes import RecordChange
from airflow_consent_retl.destinations.http.responses import ACCEPTED, answered_with
from airflow_consent_retl.destinations.http.row_states import settled_after
from airflow_consent_retl.destinations.http.subscriptions import after_addresses
from airflow_consent_retl.destinations.http.text_values import texts_of
from airflow_consent_retl.destinations.http.throttle import Throttle, UsedUp
from airflow_consent_retl.destinations.hubspot import VENDOR
from airflow_consent_retl.destinations.hubspot.contact_answers import (
    CATEGORIES,
    outcomes_by_trace,
    outcomes_of_reading,
)
from airflow_consent_retl.destinations.hubspot.contacts import (
    EMAIL,
    SUBSCRIBED,
    TRACE,
    UNKNOWN_STATE,
    UNSUBSCRIBED,
    contact_rows,
    inputs_body,
    subscription_of,
)
from airflow_consent_retl.destinations.hubspot.options import WITHDRAWAL_CHOICES, HubSpotOptions
from airflow_consent_retl.destinations.hubspot.subscription_states import SubscriptionStates
from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_consent_retl.contract.destination import Batch, Load
    from airflow_consent_retl.contract.outcomes import Outcome, Outcomes
    from airflow_consent_retl.destinations.http.address import HttpAddress
    from airflow_consent_retl.destinations.http.batch_steps import BatchSteps
    from airflow_consent_retl.destinations.http.bodies import Row
    from airflow_consent_retl.destinations.http.found_records import Record
    from airflow_consent_retl.destinations.http.purpose import Purpose
    from airflow_consent_retl.destinations.http.vendor import Vendor

_CONTACTS = "/crm/objects/2026-09/contacts"
_DONE = answered_with(204)
_REMOVALS = {
    "archive": RecordChange("archive", f"{_CONTACTS}/batch/archive", lambda one: {"id": one["id"]}, inputs_body, _DONE),
    # One by one: a contact that cannot be deleted now keeps no other one.
    "privacy_delete": RecordChange(
        "delete", f"{_CONTACTS}/gdpr-delete", lambda one: {"objectId": one["id"]}, itemgetter(0), _DONE, apart=True
    ),
}
_THROTTLE = Throttle(
    # A record is locked by another request (423), or the account is moved to another data centre (477).
    waits={423: 2, 429: 10, 477: 60},
    window_header="x-hubspot-ratelimit-interval-milliseconds",
    # The day ends at midnight in the account's time zone, which no answer names.
    used_up=UsedUp("policyName", "DAILY", 3600, "daily_limit", "the account's requests of today are used up"),
)


class HubSpotDestination(AccountDestination[HubSpotOptions]):
    """Upserts contacts, tells HubSpot the states of subscriptions, and takes people back as `on_withdrawal` says.

    A field `subscriptions.12345` is the state of that subscription, `SUBSCRIBED` or `UNSUBSCRIBED`; NULL says nothing,
    but a person without consent to the field is unsubscribed if HubSpot has them as subscribed. Before anyone is
    subscribed, HubSpot is asked: a person who unsubscribed there, or by an earlier withdrawal, stays so.
    An e-mail address may belong to several people: one `UNSUBSCRIBED` counts for all of them.

    Every other field is a property, as text. A person who is not at HubSpot counts as removed; a contact in the
    recycling bin is not found, and HubSpot deletes it after 90 days.

    Args:
        address: of the API.
        options: see there.
        account: its number.
    """

    vendor: ClassVar[Vendor] = VENDOR
    throttle: ClassVar[Throttle] = _THROTTLE
    place = "contacts of HubSpot account"
    rates: ClassVar[Mapping[str, float]] = {"requests_per_10_s": 10}
    withdrawal_choices: ClassVar[Mapping[str, str]] = WITHDRAWAL_CHOICES
    granting: ClassVar[Collection[str]] = (SUBSCRIBED,)
    denied: ClassVar[str] = UNSUBSCRIBED
    own_codes: ClassVar[Collection[str]] = CATEGORIES
    remedies: ClassVar[Mapping[str, str]] = {
        UNKNOWN_STATE: "A field `subscriptions.…` has to be SUBSCRIBED or UNSUBSCRIBED, or NULL: use consent(…) for it",
        REPEATED_IDENTIFIER: "Several rows have this identifier: map the primary key to a unique property of HubSpot",
    }

    def __init__(self, address: HttpAddress, options: HubSpotOptions, *, account: str) -> None:
        super().__init__(address, options, account=account)
        self._known_by = options.id_property
        self._unsubscribes = options.on_withdrawal in {"unsubscribe", "unsubscribe_all"}

    def sending(self, load: Load) -> Purpose:
        """Return an upsert of contacts, or an update, which makes none."""
        options, names = self._options, load.schema.names
        states = [name for name in names if name.startswith("subscriptions.")]
        wrong = [f"`{name}` names no subscription: its id is a number" for name in states if not subscription_of(name)]
        if self._known_by not in {EMAIL, load.key_field}:
            wrong.append(f"id_property `{self._known_by}` has to be `email`, or the primary key's field")
        needed = dict.fromkeys([self._known_by, *([EMAIL] if states or self._unsubscribes else [])])
        wrong += [f"no column is mapped to `{name}`" for name in needed if name not in names]
        if states and not (options.legal_basis and options.legal_basis_explanation):
            wrong.append("states of subscriptions need legal_basis and legal_basis_explanation")
        if wrong:
            raise ConfigurationError("; ".join(wrong))
        read = partial(outcomes_by_trace, fields=names)
        path = f"{_CONTACTS}/batch/{'update' if load.write == 'update_only' else 'upsert'}"
        return self.posting(path, contact_rows(load, options), read)

    def found(self, batch: Batch) -> FoundRecords:
        """Return the contacts of people, by the unique property."""
        return self._found(self.steps(batch), texts_of(batch.rows, self._known_by))

    def store(self, batch: Batch) -> Outcomes:
        """Write the rows as contacts, then settle the subscriptions of those that HubSpot accepted."""
        return settled_after(
            batch,
            {number: name for name in batch.rows.schema.names if (number := subscription_of(name))},
            address=EMAIL,
            rules=self._rules,
            cleared=self.load.cleared,
            states=lambda: SubscriptionStates(self.steps(batch, has_changed=True), self._options),
            store=super().store,
        )

    def removal_schema(self, load: Load) -> pa.Schema:
        """Return the unique property, and the e-mail address where it is what will be unsubscribed."""
        self.sending(load)
        names = dict.fromkeys([self._known_by, *([EMAIL] if self._unsubscribes else [])])
        return pa.schema([load.schema.field(name) for name in names])

    def remove(self, batch: Batch) -> Outcomes:
        """Take people back in the way that the DAG chose."""
        steps = self.steps(batch)
        if self._unsubscribes:
            return self._unsubscribe(steps, batch)
        change = _REMOVALS.get(self._options.on_withdrawal) or _emptying(self._options.cleared_properties)
        return change.apply(steps, self._found(steps, texts_of(batch.rows, self._known_by)))

    def clear(self, batch: Batch, fields: Sequence[str]) -> Outcomes:
        """Empty properties of people, and unsubscribe them from the subscriptions among the fields."""
        steps = self.steps(batch)
        found = self._found(steps, texts_of(batch.rows, self._known_by))
        properties = [name for name in fields if not subscription_of(name)]
        outcomes = list(_emptying(properties).apply(steps, found, among=None if properties else []))
        states = {number: UNSUBSCRIBED for name in fields if (number := subscription_of(name))}
        kept = SubscriptionStates(steps, self._options)
        return self._rules.settled_at(found.texts("properties", EMAIL), outcomes, [states] * len(outcomes), kept)

    def _found(self, steps: BatchSteps, ids: Sequence[str | None]) -> FoundRecords:
        wanted = list(dict.fromkeys([self._known_by, EMAIL, "hs_additional_emails"]))
        asked = {"idProperty": self._known_by, "properties": wanted, "propertiesWithHistory": []}

        def ask(texts: list[str], found: dict[str, Record]) -> Outcomes:
            return steps.take(
                "find",
                f"{_CONTACTS}/batch/read",
                texts,
                partial(outcomes_of_reading, found=found, id_property=self._known_by),
                around=lambda some: {"inputs": [{"id": one} for one in some], **asked},
                changes=False,
            )

        return FoundRecords.asked(ids, ask)

    def _unsubscribe(self, steps: BatchSteps, batch: Batch) -> Outcomes:
        emails = texts_of(batch.rows, EMAIL)
        outcomes: Sequence[Outcome] = [ACCEPTED] * len(emails)
        if self._known_by != EMAIL and None in emails:
            # People who were sent without an address may have one at HubSpot.
            ids = texts_of(batch.rows, self._known_by)
            found = self._found(steps, [None if email else text for text, email in zip(ids, emails, strict=True)])
            emails = [email or other for email, other in zip(emails, found.texts("properties", EMAIL), strict=True)]
            outcomes = list(found.after({}))
        states = SubscriptionStates(steps, self._options)
        if self._options.on_withdrawal == "unsubscribe_all":
            return after_addresses(outcomes, emails, states.unsubscribe_all)
        wanted = dict.fromkeys(self._options.unsubscribes, UNSUBSCRIBED)
        return self._rules.settled_at(emails, outcomes, [wanted] * len(outcomes), states)


def _emptying(properties: Sequence[str]) -> RecordChange:
    def of_record(one: Record) -> Row:
        return {"id": one["id"], TRACE: f"contact-{one['id']}", "properties": dict.fromkeys(properties, "")}

    return RecordChange("empty", f"{_CONTACTS}/batch/update", of_record, inputs_body, outcomes_by_trace)
