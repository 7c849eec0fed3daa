"""The states of e-mail subscriptions at HubSpot: read before they are written, so that an own opt-out survives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus
from airflow_consent_retl.destinations.http.answer_maps import MISSING, Entry, by_value, entries
from airflow_consent_retl.destinations.http.responses import ACCEPTED
from airflow_consent_retl.destinations.hubspot.contact_answers import inputs_body, of_batch
from airflow_consent_retl.destinations.hubspot.contacts import UNSUBSCRIBED

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.http.address import HttpAddress
    from airflow_consent_retl.destinations.http.client import Answer
    from airflow_consent_retl.destinations.http.purpose import ReadAnswer
    from airflow_consent_retl.destinations.http.responses import SentRows
    from airflow_consent_retl.destinations.http.steps import BatchSteps
    from airflow_consent_retl.destinations.http.subscriptions import SubscriptionRules

MOST_INPUTS: Final = 100
NO_STATE: Final = Outcome(RowStatus.UNCERTAIN, "no_subscription_state")

_STATUSES = "/communication-preferences/2026-09/statuses/batch"
_ALL = 0


class Wanted(NamedTuple):
    """A subscription of an e-mail address; `email` without the case of its letters."""

    email: str
    subscription: int


class SubscriptionStates:
    """Reads and writes the states of one batch.

    Args:
        steps: of the batch.
        address: of the API.
        basis: the fields `legalBasis` and `legalBasisExplanation`, which HubSpot records with each state.
        business_unit_id: the brand whose subscriptions these are; None: the account's.
    """

    def __init__(
        self, steps: BatchSteps, address: HttpAddress, *, basis: Mapping[str, str], business_unit_id: int | None
    ) -> None:
        self._steps = steps
        self._address = address
        self._basis = {"channel": "EMAIL", **basis}
        self._channel = "?channel=EMAIL" + (f"&businessUnitId={business_unit_id}" if business_unit_id else "")

    def settle(self, wanted: Mapping[Wanted, str | None], rules: SubscriptionRules) -> dict[Wanted, Outcome]:
        """Write the states that the rules say, and return an outcome for each.

        Args:
            wanted: `SUBSCRIBED`, `UNSUBSCRIBED`, or None for a person without consent.
            rules: of the load.
        """
        known = self._known(sorted({one.email for one, state in wanted.items() if state != UNSUBSCRIBED}))
        outcomes: dict[Wanted, Outcome] = {}
        left: list[tuple[Wanted, str]] = []
        for one, state in wanted.items():
            # Of an address that is unsubscribed here, nothing has to be known.
            found = "" if state == UNSUBSCRIBED else known.get(Wanted(one.email, _ALL)) or known.get(one, NO_STATE)
            outcomes[one] = found if isinstance(found, Outcome) else ACCEPTED
            sent = rules.to_send(state, found)
            if sent and sent != found:
                left.append((one, sent))
        return outcomes | self._written(left)

    def unsubscribe_all(self, emails: Sequence[str]) -> dict[str, Outcome]:
        """Unsubscribe addresses from every e-mail of the account, or of the brand; return an outcome for each."""
        outcomes = self._ask("/unsubscribe-all", emails, {}, "statuses", changes=True)
        return dict(zip(emails, outcomes, strict=True))

    def _known(self, emails: Sequence[str]) -> dict[Wanted, Outcome | str]:
        """Return the present states; for an address as a whole, an opt-out from all, or why nothing is known."""
        states: dict[str, list[dict[str, Any]]] = {}
        wide: dict[str, list[dict[str, Any]]] = {}
        asked = self._ask("/read", emails, states, "statuses")
        asked_wide = self._ask("/unsubscribe-all/read", emails, wide, "wideStatuses")
        known: dict[Wanted, Outcome | str] = {}
        for email, one, other in zip(emails, asked, asked_wide, strict=True):
            if (one, other) != (ACCEPTED, ACCEPTED):
                known[Wanted(email, _ALL)] = one if one != ACCEPTED else other
            elif any(status.get("status") == UNSUBSCRIBED for status in wide[email]):
                known[Wanted(email, _ALL)] = UNSUBSCRIBED
            known |= {
                Wanted(email, status["subscriptionId"]): str(status.get("status"))
                for status in states.get(email, ())
                if isinstance(status.get("subscriptionId"), int)
            }
        return known

    def _ask(
        self,
        path: str,
        emails: Sequence[str],
        found: dict[str, list[dict[str, Any]]],
        field: str,
        *,
        changes: bool = False,
    ) -> Outcomes:
        """Send addresses, and fill in the objects that HubSpot answers about each."""

        def read(answer: Answer, sent: SentRows) -> Outcomes | None:
            def of_results(document: dict[str, Any]) -> Outcomes:
                results = entries(document, "results")
                found.update({_email(result): entries(result, field) for result in results})
                return by_value(results, sent, lambda *_: ACCEPTED, sent_as=str, named_as=_email)

            return of_batch(answer, sent, of_results)

        return self._take(f"{path}{self._channel}", emails, read, changes=changes)

    def _written(self, states: Sequence[tuple[Wanted, str]]) -> dict[Wanted, Outcome]:
        inputs = [
            {
                "subscriberIdString": email,
                "subscriptionId": number,
                "statusState": state,
                **self._basis,
            }
            for (email, number), state in states
        ]
        return dict(zip((one for one, _ in states), self._take("/write", inputs, _outcomes_of_writing), strict=True))

    def _take(self, path: str, records: Sequence[Any], read: ReadAnswer, *, changes: bool = True) -> Outcomes:
        address = self._address.at(f"{_STATUSES}{path}")
        return self._steps.take(path, address, records, read, around=inputs_body, max_rows=MOST_INPUTS, changes=changes)


def _outcomes_of_writing(answer: Answer, sent: SentRows) -> Outcomes | None:
    def key(one: Mapping[str, object]) -> str:
        return f"{one.get('subscriptionId')} {_email(one)}"

    def outcome(result: Entry, one: Mapping[str, object]) -> Outcome:
        return ACCEPTED if result.get("status") == one["statusState"] else MISSING

    return of_batch(
        answer, sent, lambda document: by_value(entries(document, "results"), sent, outcome, sent_as=key, named_as=key)
    )


def _email(one: Mapping[str, object]) -> str:
    return str(one.get("subscriberIdString")).casefold()
