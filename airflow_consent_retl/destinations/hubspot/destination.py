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

from airflow_consent_retl.destinations.http.bodies import REPEATED_IDENTIFIER
from airflow_consent_retl.destinations.http.contact_destination import ContactDestination, state_fields
from airflow_consent_retl.destinations.http.record_changes import RecordChange
from airflow_consent_retl.destinations.http.responses import answered_with
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
)
from airflow_consent_retl.destinations.hubspot.options import WITHDRAWAL_CHOICES, HubSpotOptions
from airflow_consent_retl.destinations.hubspot.subscription_states import SubscriptionStates
from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_consent_retl.contract.destination import Load
    from airflow_consent_retl.contract.outcomes import Outcomes
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


class HubSpotDestination(ContactDestination[HubSpotOptions]):
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
    properties_path: ClassVar[tuple[str, ...]] = ("properties",)
    removals: ClassVar[Mapping[str, RecordChange]] = _REMOVALS
    rates: ClassVar[Mapping[str, float]] = {"requests_per_10_s": 10}
    withdrawal_choices: ClassVar[Mapping[str, str]] = WITHDRAWAL_CHOICES
    granting: ClassVar[Collection[str]] = (SUBSCRIBED,)
    denied: ClassVar[str] = UNSUBSCRIBED
    own_codes: ClassVar[Collection[str]] = CATEGORIES
    remedies: ClassVar[Mapping[str, str]] = {
        UNKNOWN_STATE: "A field `subscriptions.…` has to be SUBSCRIBED or UNSUBSCRIBED, or NULL: use consent(…) for it",
        REPEATED_IDENTIFIER: "Several rows have this identifier: map the primary key to a unique property of HubSpot",
    }

    def sending(self, load: Load) -> Purpose:
        """Return an upsert of contacts, or an update, which makes none."""
        options, names = self._options, load.schema.names
        wrong = self.wrong_fields(load)
        if state_fields(names) and not (options.legal_basis and options.legal_basis_explanation):
            wrong.append("states of subscriptions need legal_basis and legal_basis_explanation")
        if wrong:
            raise ConfigurationError("; ".join(wrong))
        read = partial(outcomes_by_trace, fields=names)
        path = f"{_CONTACTS}/batch/{'update' if load.write == 'update_only' else 'upsert'}"
        return self.posting(path, contact_rows(load, options), read)

    def ask(
        self, steps: BatchSteps, keys: list[str], found: dict[str, Record], *, properties: Sequence[str] = ()
    ) -> Outcomes:
        """Fill in the contacts that HubSpot has, by the unique property."""
        wanted = list(dict.fromkeys([self._known_by, EMAIL, "hs_additional_emails", *properties]))
        asked = {"idProperty": self._known_by, "properties": wanted, "propertiesWithHistory": []}
        return steps.take(
            "find",
            f"{_CONTACTS}/batch/read",
            keys,
            partial(outcomes_of_reading, found=found, id_property=self._known_by),
            around=lambda some: {"inputs": [{"id": one} for one in some], **asked},
            changes=False,
        )

    def emptying(self, properties: Sequence[str]) -> RecordChange:
        """Return an update of contacts with empty properties."""

        def of_record(one: Record) -> Row:
            return {"id": one["id"], TRACE: f"contact-{one['id']}", "properties": dict.fromkeys(properties, "")}

        return RecordChange("empty", f"{_CONTACTS}/batch/update", of_record, inputs_body, outcomes_by_trace)

    def states(self, steps: BatchSteps) -> SubscriptionStates:
        """Return the states of subscriptions at HubSpot."""
        return SubscriptionStates(steps, self._options)
