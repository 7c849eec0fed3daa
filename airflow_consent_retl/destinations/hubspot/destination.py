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

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa

from airflow_consent_retl.contract.account_rate import AccountRate
from airflow_consent_retl.destinations.http.destination import HttpDestination
from airflow_consent_retl.destinations.http.purpose import Purpose
from airflow_consent_retl.destinations.http.responses import ACCEPTED
from airflow_consent_retl.destinations.http.subscriptions import SubscriptionRules, after_a_change, with_states
from airflow_consent_retl.destinations.hubspot.contact_answers import CATEGORIES, ask_again, outcomes_by_trace
from airflow_consent_retl.destinations.hubspot.contacts import (
    EMAIL,
    REPEATED_IDENTIFIER,
    STATES,
    SUBSCRIBED,
    UNKNOWN_STATE,
    UNSUBSCRIBED,
    ContactRows,
    subscription_of,
    texts_of,
)
from airflow_consent_retl.destinations.hubspot.options import WITHDRAWAL_CHOICES
from airflow_consent_retl.destinations.hubspot.removal import CONTACTS, FoundContacts
from airflow_consent_retl.destinations.hubspot.subscriptions import SubscriptionStates, Wanted
from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_consent_retl.contract.destination import Batch, Load
    from airflow_consent_retl.contract.outcomes import Outcome, Outcomes
    from airflow_consent_retl.destinations.http.address import HttpAddress
    from airflow_consent_retl.destinations.http.client import Answer
    from airflow_consent_retl.destinations.http.responses import SentRows
    from airflow_consent_retl.destinations.http.steps import BatchSteps
    from airflow_consent_retl.destinations.hubspot.options import HubSpotOptions

_REMEDIES = {
    UNKNOWN_STATE: f"A field `subscriptions.…` has to be {' or '.join(STATES)}, or NULL: use consent(…) for it",
    REPEATED_IDENTIFIER: "Several rows have this identifier: map the primary key to a unique property of HubSpot",
}


class HubSpotDestination(HttpDestination):
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
        hub_id: the number of the account.
    """

    can_clear: ClassVar[bool] = True
    nulls_by_field: ClassVar[frozenset[str]] = frozenset({"omit", "clear"})
    name: ClassVar[str] = "HubSpot API"
    withdrawal_choices: ClassVar[Mapping[str, str]] = WITHDRAWAL_CHOICES

    def __init__(self, address: HttpAddress, options: HubSpotOptions, *, hub_id: str) -> None:
        super().__init__(address, options)
        self._options = options
        self._hub_id = hub_id
        self._rules = SubscriptionRules("HubSpot", granting=[SUBSCRIBED], denied=UNSUBSCRIBED)

    @property
    def target(self) -> str:
        """The account, and the host of the API."""
        return f"contacts of HubSpot account {self._hub_id} at {self._address.host}:{self._address.port}"

    @property
    def former_targets(self) -> Sequence[str]:
        """None: no release recorded another text."""
        return ()

    def is_own_code(self, code: str) -> bool:
        """Return whether a code is a status or one of HubSpot's categories of errors."""
        return code in CATEGORIES or super().is_own_code(code)

    def remedy(self, code: str) -> str:
        """Return what to do about rows that cannot be one contact."""
        return _REMEDIES.get(code, "")

    def account_rates(self) -> tuple[AccountRate, ...]:
        """Return the limit on ten seconds, which all apps and workers of the account share."""
        rate = AccountRate(
            account=self._hub_id, requests=self._options.requests_per_10_s, period_s=10, vendor="HubSpot"
        )
        return (rate,)

    def sending(self, load: Load) -> Purpose:
        """Return an upsert of contacts."""
        options = self._options
        names = load.schema.names
        states = [name for name in names if name.startswith("subscriptions.")]
        needs_email = bool(states) or self._unsubscribes
        wrong = [f"`{name}` names no subscription: its id is a number" for name in states if not subscription_of(name)]
        if options.id_property not in {EMAIL, load.key_field}:
            wrong.append(f"id_property `{options.id_property}` has to be `email`, or the primary key's field")
        wrong += [
            f"no column is mapped to `{name}`"
            for name in dict.fromkeys([options.id_property, *([EMAIL] if needs_email else [])])
            if name not in names
        ]
        if states and not (options.legal_basis and options.legal_basis_explanation):
            wrong.append("states of subscriptions need legal_basis and legal_basis_explanation")
        if wrong:
            raise ConfigurationError("; ".join(wrong))

        def read(answer: Answer, sent: SentRows) -> Outcomes | None:
            return outcomes_by_trace(answer, sent, fields=names)

        return Purpose(
            method="POST",
            address=self._address.at(f"{CONTACTS}/batch/upsert"),
            encoder=ContactRows(
                load.schema,
                id_property=options.id_property,
                keeps_nulls=options.nulls == "keep",
                cleared=load.nulls_sent,
                omitted=load.nulls_omitted,
            ),
            read=read,
            key_header=None,
            refuse=ask_again,
        )

    def removing(self, load: Load) -> None:
        """Return None: a removal has several requests."""

    def send(self, batch: Batch) -> Outcomes:
        """Upsert the rows as contacts, then settle the subscriptions of those that HubSpot accepted."""
        outcomes = super().send(batch)
        columns = {number: name for name in batch.rows.schema.names if (number := subscription_of(name))}
        if not columns or not len(outcomes):
            return outcomes
        states = {number: texts_of(batch.rows, name) for number, name in columns.items()}
        # Without consent to a subscription it is NULL, and HubSpot may still have it.
        wanted = [
            {
                number: state
                for number, name in columns.items()
                if (state := states[number][row]) is not None or name in self._cleared
            }
            for row in range(len(outcomes))
        ]
        steps = self.batch_steps(batch, refuse=ask_again, has_changed=True)
        settled = self._settle(steps, list(outcomes), wanted, texts_of(batch.rows, EMAIL))
        return after_a_change(outcomes, settled)

    def removal_schema(self, load: Load) -> pa.Schema:
        """Return the unique property, and the e-mail address where it is what will be unsubscribed."""
        self.sending(load)
        names = dict.fromkeys([self._options.id_property, *([EMAIL] if self._unsubscribes else [])])
        return pa.schema([load.schema.field(name) for name in names])

    def remove(self, batch: Batch) -> Outcomes:
        """Take people back in the way that the DAG chose."""
        steps, choice = self.batch_steps(batch, refuse=ask_again), self._options.on_withdrawal
        if self._unsubscribes:
            return self._unsubscribe(steps, batch)
        found = self._found(steps, texts_of(batch.rows, self._options.id_property))
        if choice == "clear_fields":
            return found.empty(self._options.cleared_properties)
        return found.archive() if choice == "archive" else found.delete()

    def clear(self, batch: Batch, fields: Sequence[str]) -> Outcomes:
        """Empty properties of people, and unsubscribe them from the subscriptions among the fields."""
        steps = self.batch_steps(batch, refuse=ask_again)
        found = self._found(steps, texts_of(batch.rows, self._options.id_property))
        outcomes = list(found.empty([name for name in fields if not subscription_of(name)]))
        states = {number: UNSUBSCRIBED for name in fields if (number := subscription_of(name))}
        return self._settle(steps, outcomes, [states] * len(outcomes), found.emails())

    def commit(self) -> None:
        """Close the connections, and say how many opt-outs HubSpot keeps."""
        super().commit()
        self._rules.warn()

    @property
    def _unsubscribes(self) -> bool:
        return self._options.on_withdrawal in {"unsubscribe", "unsubscribe_all"}

    @property
    def _cleared(self) -> frozenset[str]:
        return frozenset() if self._load is None else self._load.cleared

    def _found(self, steps: BatchSteps, ids: Sequence[str | None]) -> FoundContacts:
        return FoundContacts(steps, self._address, ids, id_property=self._options.id_property)

    def _unsubscribe(self, steps: BatchSteps, batch: Batch) -> Outcomes:
        emails = texts_of(batch.rows, EMAIL)
        outcomes = [ACCEPTED] * len(emails)
        if self._options.id_property != EMAIL and None in emails:
            # People who were sent without an address may have one at HubSpot.
            ids = texts_of(batch.rows, self._options.id_property)
            found = self._found(steps, [None if email else text for text, email in zip(ids, emails, strict=True)])
            emails = [email or other for email, other in zip(emails, found.emails(), strict=True)]
            outcomes = list(found.after({}))
        if self._options.on_withdrawal == "unsubscribe":
            states = dict.fromkeys(self._options.unsubscribes, UNSUBSCRIBED)
            return self._settle(steps, outcomes, [states] * len(outcomes), emails)
        folded = [email.casefold() if email else None for email in emails]
        out = self._states(steps).unsubscribe_all(list(dict.fromkeys(email for email in folded if email)))
        return with_states(outcomes, [[out[email]] if email else [] for email in folded])

    def _settle(
        self,
        steps: BatchSteps,
        outcomes: Sequence[Outcome],
        wanted: Sequence[Mapping[int, str | None]],
        emails: Sequence[str | None],
    ) -> Outcomes:
        """Return the outcomes after the states of accepted rows are settled; see `SubscriptionRules`."""
        pairs = [
            [(Wanted(email.casefold(), number), state) for number, state in some.items()]
            if email and was == ACCEPTED
            else []
            for was, some, email in zip(outcomes, wanted, emails, strict=True)
        ]
        states = self._rules.strictest(pair for some in pairs for pair in some)
        settled = self._states(steps).settle(states, self._rules)
        return with_states(outcomes, [[settled[one] for one, _ in some] for some in pairs])

    def _states(self, steps: BatchSteps) -> SubscriptionStates:
        options = self._options
        return SubscriptionStates(
            steps,
            self._address,
            basis={
                "legalBasis": options.legal_basis or "",
                "legalBasisExplanation": options.legal_basis_explanation or "",
            },
            business_unit_id=options.business_unit_id,
        )
