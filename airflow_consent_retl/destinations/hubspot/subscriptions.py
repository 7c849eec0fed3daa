"""The states of e-mail subscriptions at HubSpot: read before they are written, so that an own opt-out survives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from airflow_consent_retl.contract.outcomes import NOT_IN_ANSWER, UNREADABLE_ANSWER, Outcome, Outcomes, RowStatus
from airflow_consent_retl.destinations.http.responses import ACCEPTED, UnreadableAnswerError
from airflow_consent_retl.destinations.hubspot.contact_answers import complete_answer, objects_of
from airflow_consent_retl.destinations.hubspot.contacts import (
    STATES,
    SUBSCRIBED,
    UNSUBSCRIBED,
)

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.http.address import HttpAddress
    from airflow_consent_retl.destinations.http.client import Answer
    from airflow_consent_retl.destinations.http.responses import SentRows
    from airflow_consent_retl.destinations.http.steps import BatchSteps

MOST_INPUTS: Final = 100
NO_STATE: Final = "no_subscription_state"

_STATUSES = "/communication-preferences/2026-09/statuses/batch"
_UNNAMED = Outcome(RowStatus.UNCERTAIN, NOT_IN_ANSWER)


class Wanted(NamedTuple):
    """A subscription of an e-mail address; `email` without the case of its letters."""

    email: str
    subscription: int


class SubscriptionStates:
    """Reads and writes the states of one batch.

    Args:
        steps: of the batch.
        address: of the API.
        legal_basis: that HubSpot records with each state.
        explanation: likewise.
        business_unit_id: the brand whose subscriptions these are; None: the account's.
    """

    def __init__(
        self,
        steps: BatchSteps,
        address: HttpAddress,
        *,
        legal_basis: str,
        explanation: str,
        business_unit_id: int | None,
    ) -> None:
        self._steps = steps
        self._address = address
        self._basis = {"legalBasis": legal_basis, "legalBasisExplanation": explanation}
        self._channel = "?channel=EMAIL" + (f"&businessUnitId={business_unit_id}" if business_unit_id else "")

    def settle(self, wanted: Mapping[Wanted, str]) -> tuple[dict[Wanted, Outcome], int]:
        """Write states, but subscribe no one who opted out at HubSpot.

        Returns:
            An outcome for each state, and the number of opt-outs that were kept.
        """
        known = self._known(sorted({one.email for one, state in wanted.items() if state == SUBSCRIBED}))
        outcomes: dict[Wanted, Outcome] = {}
        kept = 0
        for one, state in wanted.items():
            found = known.get(one) or known.get(Wanted(one.email, 0), "") if state == SUBSCRIBED else ""
            if isinstance(found, Outcome):
                outcomes[one] = found
            elif state == SUBSCRIBED and found == "":
                outcomes[one] = Outcome(RowStatus.UNCERTAIN, NO_STATE)
            elif found in STATES:
                kept += found == UNSUBSCRIBED
                outcomes[one] = ACCEPTED
        open_ = [(one, state) for one, state in wanted.items() if one not in outcomes]
        return outcomes | self._write(open_), kept

    def unsubscribe_all(self, emails: Sequence[str]) -> Outcomes:
        """Unsubscribe addresses from every e-mail of the account, or of the brand; one outcome for each."""

        def read(answer: Answer, sent: SentRows) -> Outcomes | None:
            found: dict[str, list[dict[str, Any]]] = {}
            failed = _by_email(answer, found, "statuses")
            if failed is None:
                return None
            return Outcomes(
                len(sent), failed, {row: ACCEPTED for row in range(len(sent)) if _folded(sent[row]) in found}
            )

        return self._ask("all", "/unsubscribe-all", emails, read, changes=True)

    def _known(self, emails: Sequence[str]) -> dict[Wanted, Outcome | str]:
        """Return the present states; under the subscription 0 that of an address as a whole, or why it is not known."""
        known: dict[Wanted, Outcome | str] = {}
        if not emails:
            return known
        states: dict[str, list[dict[str, Any]]] = {}
        wide: dict[str, list[dict[str, Any]]] = {}
        asked = self._ask("states", "/read", emails, _reader(states, "statuses"), changes=False)
        asked_wide = self._ask("wide", "/unsubscribe-all/read", emails, _reader(wide, "wideStatuses"), changes=False)
        for email, one, other in zip(emails, asked, asked_wide, strict=True):
            doubt = next((outcome for outcome in (one, other) if outcome != ACCEPTED), None)
            if doubt is not None:
                known[Wanted(email, 0)] = doubt
            elif any(status.get("status") == UNSUBSCRIBED for status in wide[email]):
                known[Wanted(email, 0)] = UNSUBSCRIBED
            else:
                known |= {
                    Wanted(email, int(status["subscriptionId"])): str(status.get("status"))
                    for status in states[email]
                    if isinstance(status.get("subscriptionId"), int)
                }
        return known

    def _ask(self, name: str, path: str, emails: Sequence[str], read: Any, *, changes: bool) -> Outcomes:
        return self._steps.take(
            name,
            self._address.at(f"{_STATUSES}{path}{self._channel}"),
            emails,
            read,
            around=_inputs,
            changes=changes,
        )

    def _write(self, states: Sequence[tuple[Wanted, str]]) -> dict[Wanted, Outcome]:
        outcomes: dict[Wanted, Outcome] = {}
        for start in range(0, len(states), MOST_INPUTS):
            chosen = states[start : start + MOST_INPUTS]
            inputs = [
                {
                    "subscriberIdString": one.email,
                    "subscriptionId": one.subscription,
                    "statusState": state,
                    "channel": "EMAIL",
                    **self._basis,
                }
                for one, state in chosen
            ]
            written = self._steps.take(
                f"states {start}",
                self._address.at(f"{_STATUSES}/write"),
                inputs,
                _outcomes_of_writing,
                around=_inputs,
            )
            outcomes |= zip((one for one, _ in chosen), written, strict=True)
        return outcomes


def _inputs(inputs: Sequence[Any]) -> object:
    return {"inputs": inputs}


def _outcomes_of_writing(answer: Answer, sent: SentRows) -> Outcomes | None:
    document = complete_answer(answer)
    if document is None or isinstance(document, Outcome):
        return None if document is None else Outcomes(len(sent), document)
    rows = {(_folded(sent[row]["subscriberIdString"]), sent[row]["subscriptionId"]): row for row in range(len(sent))}
    named: dict[int, Outcome] = {}
    try:
        for result in objects_of(document, "results"):
            row = rows.get((_folded(result.get("subscriberIdString")), result.get("subscriptionId")))
            if row is None:
                raise UnreadableAnswerError
            if result.get("status") == sent[row]["statusState"]:
                named[row] = ACCEPTED
    except UnreadableAnswerError:
        return Outcomes.uncertain(len(sent), UNREADABLE_ANSWER)
    return Outcomes(len(sent), _UNNAMED, named)


def _reader(found: dict[str, list[dict[str, Any]]], field: str) -> Any:
    def read(answer: Answer, sent: SentRows) -> Outcomes | None:
        failed = _by_email(answer, found, field)
        if failed is None:
            return None
        return Outcomes(len(sent), failed, {row: ACCEPTED for row in range(len(sent)) if _folded(sent[row]) in found})

    return read


def _by_email(answer: Answer, found: dict[str, list[dict[str, Any]]], field: str) -> Outcome | None:
    """Fill in the objects of each address, and return the outcome of addresses that are not named."""
    document = complete_answer(answer)
    if document is None or isinstance(document, Outcome):
        return document
    try:
        named = {
            _folded(one.get("subscriberIdString")): objects_of(one, field) for one in objects_of(document, "results")
        }
    except UnreadableAnswerError:
        return Outcome(RowStatus.UNCERTAIN, UNREADABLE_ANSWER)
    found |= named
    return _UNNAMED


def _folded(text: object) -> str:
    return str(text).casefold()
