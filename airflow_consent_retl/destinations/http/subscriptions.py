"""The states of subscriptions to send to a vendor, given those that it has: every opt-out there survives."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple, Protocol, TypeVar

from airflow_consent_retl.contract.outcomes import STATE_REFUSED, Outcome, Outcomes, RowStatus
from airflow_consent_retl.destinations.http.responses import ACCEPTED
from airflow_consent_retl.progress import module_log

log = module_log(__name__)

Subscription = TypeVar("Subscription", bound=Hashable)


class AddressSubscription(NamedTuple):
    """A subscription of an address, such as one of e-mail; the case of an address's letters does not count."""

    address: str
    subscription: int


class AddressStates(Protocol):
    """The states of subscriptions of addresses at a vendor."""

    def known(self, wanted: Sequence[AddressSubscription], /) -> Mapping[AddressSubscription, Outcome | str]:
        """Return the present states, or why nothing is known; a state that is missing is unknown."""

    def write(self, states: Sequence[tuple[AddressSubscription, str]], /) -> Iterable[Outcome]:
        """Write states, and return an outcome for each."""


NO_STATE: Final = Outcome(RowStatus.REJECTED, "no_subscription_state")
"""Of a subscription that a complete answer does not name."""


def present_states(
    wanted: Iterable[AddressSubscription],
    asked: Sequence[Mapping[str, Outcome]],
    states: Mapping[str, Mapping[int, str]],
    *,
    opted_out: Collection[str],
    denied: str,
) -> dict[AddressSubscription, Outcome | str]:
    """Return the present states of subscriptions, or why nothing is known. An opt-out from all is one from each.

    Args:
        wanted: the subscriptions.
        asked: of each question, the outcome for each address: the first one that is not accepted counts.
        states: of the addresses, by subscription.
        opted_out: the addresses that are unsubscribed from all.
        denied: the state of a person who did not agree.
    """

    def state(one: AddressSubscription) -> Outcome | str:
        doubt = next((some[one.address] for some in asked if some[one.address] != ACCEPTED), None)
        if doubt is not None:
            return doubt
        return denied if one.address in opted_out else states[one.address].get(one.subscription, NO_STATE)

    return {one: state(one) for one in wanted}


class SubscriptionRules:
    """The rules for states, in the vendor's own words, with a count of the opt-outs that they kept. Thread-safe.

    Args:
        vendor: its name, for the log.
        granting: the states of people who agreed.
        denied: the state of a person who did not.

    Attributes:
        denied: see there.
    """

    def __init__(self, vendor: str, *, granting: Iterable[str], denied: str) -> None:
        self._vendor = vendor
        self._granting = frozenset(granting)
        self.denied = denied
        self._lock = threading.Lock()
        self._kept = 0

    def grants(self, state: str | None) -> bool:
        """Return whether a state is that of a person who agreed."""
        return state in self._granting

    def strictest(self, wanted: Iterable[tuple[Subscription, str | None]]) -> dict[Subscription, str | None]:
        """Return one state for each subscription of an address: people who share it share one no.

        Args:
            wanted: the states of the people; None: there is no consent to send, so a grant at the vendor ends.
        """
        states: dict[Subscription, str | None] = {}
        for one, state in wanted:
            states[one] = min(state, states.get(one, state), key=self._leniency)
        return states

    def to_send(self, wanted: str | None, present: Outcome | str) -> str | None:
        """Return the state to send; None: the vendor keeps what it has.

        Args:
            wanted: as above.
            present: the state at the vendor, empty where it has none; or the outcome of a question that failed.
        """
        if wanted is None:
            return self.denied if present in self._granting else None
        if wanted not in self._granting:
            return wanted
        if present == self.denied:
            with self._lock:
                self._kept += 1
        # INVARIANT: no one is subscribed while it is not certain that they did not opt out.
        return None if present == self.denied or isinstance(present, Outcome) else wanted

    def settled(
        self,
        outcomes: Sequence[Outcome],
        wanted: Sequence[Sequence[tuple[Subscription, str | None]]],
        *,
        known: Callable[[list[Subscription]], Mapping[Subscription, Outcome | str]],
        write: Callable[[list[tuple[Subscription, str]]], Iterable[Outcome]],
    ) -> Outcomes:
        """Send the states that these rules allow, and return the outcomes of the rows after it.

        Args:
            outcomes: of the rows so far.
            wanted: the subscriptions of each row, with the states to send; None: see `strictest`.
            known: asks the vendor for present states; a state that is missing is unknown.
            write: sends states, and returns an outcome for each.
        """
        states = self.strictest(pair for some in wanted for pair in some)
        # Nothing has to be known of a subscription that ends here.
        present = known([one for one, state in states.items() if state != self.denied])
        settled: dict[Subscription, Outcome] = {}
        left: list[tuple[Subscription, str]] = []
        for one, state in states.items():
            found = "" if state == self.denied else present.get(one, NO_STATE)
            settled[one] = found if isinstance(found, Outcome) else ACCEPTED
            sent = self.to_send(state, found)
            if sent and sent != found:
                left.append((one, sent))
        settled |= dict(zip((one for one, _ in left), write(left), strict=True))
        return with_states(outcomes, [[settled[one] for one, _ in some] for some in wanted])

    def settled_at(
        self,
        outcomes: Sequence[Outcome],
        wanted: Sequence[Iterable[tuple[str | None, int, str | None]]],
        states: AddressStates,
    ) -> Outcomes:
        """Settle the states of the rows that were accepted, and return the outcomes after it.

        Args:
            outcomes: of the rows so far.
            wanted: of each row, an address, a subscription and its state; see `strictest` for None. Without an address,
                there is nothing to settle.
            states: at the vendor.
        """
        named = [
            [(AddressSubscription(address.casefold(), one), state) for address, one, state in some if address]
            for some in wanted
        ]
        # The no of a row that the vendor refused is not sent, and yet no one with its address is subscribed.
        held = {
            one
            for was, some in zip(outcomes, named, strict=True)
            for one, state in some
            if was != ACCEPTED and state == self.denied
        }
        pairs = [
            [(one, state) for one, state in some if not (one in held and self.grants(state))] if was == ACCEPTED else []
            for was, some in zip(outcomes, named, strict=True)
        ]
        return self.settled(outcomes, pairs, known=states.known, write=states.write)

    def warn(self) -> None:
        """Log how many opt-outs the vendor keeps."""
        if self._kept:
            log.warning("%s subscriptions were left unsubscribed: %s has an opt-out", f"{self._kept:,}", self._vendor)

    def _leniency(self, state: str | None) -> int:
        return 1 if state is None else 2 if state in self._granting else 0


def with_states(outcomes: Sequence[Outcome], states: Sequence[Iterable[Outcome]]) -> Outcomes:
    """Return the outcomes of accepted rows after their states: the first state that was not accepted counts.

    Args:
        outcomes: of the rows.
        states: the outcomes of each row's states. A pending one counts only where no other was refused or is unclear.
    """

    def after(some: Iterable[Outcome]) -> Outcome:
        left = [one for one in some if one != ACCEPTED]
        return min(left, key=lambda one: one.status is RowStatus.PENDING, default=ACCEPTED)

    return Outcomes.of(after(some) if was == ACCEPTED else was for was, some in zip(outcomes, states, strict=True))


def after_addresses(
    outcomes: Sequence[Outcome], addresses: Sequence[str | None], change: Callable[[list[str]], Mapping[str, Outcome]]
) -> Outcomes:
    """Return the outcomes of accepted rows after a change of their addresses, each once and in small letters."""
    folded = [address.casefold() if address else None for address in addresses]
    changed = change(list(dict.fromkeys(address for address in folded if address)))
    return with_states(outcomes, [[changed[address]] if address else [] for address in folded])


def after_a_change(outcomes: Outcomes, settled: Outcomes) -> Outcomes:
    """Return the outcomes of rows of which a later step may have been refused, although the first one was accepted.

    Such a row is rejected as `state_refused`: no further try helps, and the person is removed when consent ends.

    Args:
        outcomes: of the first step, which names the requests.
        settled: of the last one.
    """
    last_ones = Outcomes.of(
        replace(last, code=STATE_REFUSED) if (first, last.status) == _HALF else last
        for first, last in zip(outcomes, settled, strict=True)
    )
    return replace(last_ones, requests=outcomes.requests)


_HALF = (ACCEPTED, RowStatus.REJECTED)
