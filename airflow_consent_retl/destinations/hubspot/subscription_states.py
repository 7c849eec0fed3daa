"""The states of e-mail subscriptions at HubSpot: read before they are written, so that an own opt-out survives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from airflow_consent_retl.destinations.http.answer_maps import MISSING, Entry, accepted, by_value, entries
from airflow_consent_retl.destinations.http.responses import ACCEPTED, is_integer
from airflow_consent_retl.destinations.http.subscriptions import AddressSubscription, present_states
from airflow_consent_retl.destinations.hubspot.contact_answers import BATCH
from airflow_consent_retl.destinations.hubspot.contacts import UNSUBSCRIBED, inputs_body

if TYPE_CHECKING:
    from airflow_consent_retl.contract.outcomes import Outcome, Outcomes
    from airflow_consent_retl.destinations.http.batch_steps import BatchSteps
    from airflow_consent_retl.destinations.http.client import Answer
    from airflow_consent_retl.destinations.http.purpose import ReadAnswer
    from airflow_consent_retl.destinations.http.responses import SentRows
    from airflow_consent_retl.destinations.hubspot.options import HubSpotOptions

MOST_INPUTS: Final = 100
FoundStates = dict[str, list[dict[str, Any]]]


class SubscriptionStates:
    """Reads and writes the states of one batch.

    Args:
        steps: of the batch.
        options: see there.
    """

    def __init__(self, steps: BatchSteps, options: HubSpotOptions) -> None:
        self._steps = steps
        basis = {"legalBasis": options.legal_basis, "legalBasisExplanation": options.legal_basis_explanation}
        self._basis = {"channel": "EMAIL", **{name: text or "" for name, text in basis.items()}}
        unit = options.business_unit_id
        self._channel = "?channel=EMAIL" + (f"&businessUnitId={unit}" if unit else "")

    def known(self, wanted: Sequence[AddressSubscription]) -> dict[AddressSubscription, Outcome | str]:
        """Return the present states, or why nothing is known. An opt-out from all e-mail is one from each."""
        emails = sorted({one.address for one in wanted})
        asked, listed = self._ask("/read", emails, "statuses")
        asked_wide, wide = self._ask("/unsubscribe-all/read", emails, "wideStatuses")
        states = {
            email: {
                one["subscriptionId"]: str(one.get("status")) for one in some if is_integer(one.get("subscriptionId"))
            }
            for email, some in listed.items()
        }
        opted_out = {email for email, some in wide.items() if any(one.get("status") == UNSUBSCRIBED for one in some)}
        return present_states(wanted, [asked, asked_wide], states, opted_out=opted_out, denied=UNSUBSCRIBED)

    def write(self, states: Sequence[tuple[AddressSubscription, str]]) -> Outcomes:
        """Write states, and return an outcome for each."""
        inputs = [
            {"subscriberIdString": email, "subscriptionId": number, "statusState": state, **self._basis}
            for (email, number), state in states
        ]
        return self._take("/write", inputs, _outcomes_of_writing)

    def unsubscribe_all(self, emails: Sequence[str]) -> dict[str, Outcome]:
        """Unsubscribe addresses from every e-mail of the account, or of the brand; return an outcome for each."""
        return self._ask("/unsubscribe-all", emails, "statuses", changes=True)[0]

    def _ask(
        self, path: str, emails: Sequence[str], field: str, *, changes: bool = False
    ) -> tuple[dict[str, Outcome], FoundStates]:
        """Send addresses, and return the outcome of each, and the objects that HubSpot answers about it."""
        found: FoundStates = {}

        def read(answer: Answer, sent: SentRows) -> Outcomes | None:
            def of_results(document: dict[str, Any]) -> Outcomes:
                results = entries(document, "results")
                found.update({_email(result): entries(result, field) for result in results})
                return by_value(results, sent, accepted, sent_as=str, named_as=_email)

            return BATCH.of(answer, sent, of_results)

        outcomes = self._take(f"{path}{self._channel}", emails, read, changes=changes)
        return dict(zip(emails, outcomes, strict=True)), found

    def _take(self, path: str, records: Sequence[Any], read: ReadAnswer, *, changes: bool = True) -> Outcomes:
        endpoint = f"/communication-preferences/2026-09/statuses/batch{path}"
        return self._steps.take(
            path, endpoint, records, read, around=inputs_body, max_rows=MOST_INPUTS, changes=changes
        )


def _outcomes_of_writing(answer: Answer, sent: SentRows) -> Outcomes | None:
    def key(one: Mapping[str, object]) -> str:
        return f"{one.get('subscriptionId')} {_email(one)}"

    def outcome(result: Entry, one: Mapping[str, object]) -> Outcome:
        return ACCEPTED if result.get("status") == one["statusState"] else MISSING

    return BATCH.of(
        answer, sent, lambda document: by_value(entries(document, "results"), sent, outcome, sent_as=key, named_as=key)
    )


def _email(one: Mapping[str, object]) -> str:
    return str(one.get("subscriberIdString")).casefold()
