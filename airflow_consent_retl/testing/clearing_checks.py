"""Checks of clearing: exactly the named fields of exactly the named people are empty."""

from __future__ import annotations

import pytest

from airflow_consent_retl.contract.destination import Batch
from airflow_consent_retl.contract.outcomes import Outcomes
from airflow_consent_retl.errors import DestinationError
from airflow_consent_retl.testing.driving import assert_accepted, deliver, load_of, opened
from airflow_consent_retl.testing.people import Person, people
from airflow_consent_retl.testing.stand_in import StandIn


class ClearingChecks:
    """Checks of `clear`; a destination that cannot clear passes them if it says so."""

    def test_clears_the_field_of_those_who_are_named_and_nothing_of_the_others(self, stand_in: StandIn) -> None:
        """The people stay, and so do the values of the others."""
        everyone = people(6)
        deliver(stand_in, everyone)
        if not _can_clear(stand_in):
            return

        outcomes = _clear(stand_in, [everyone[0], everyone[3]], decided=1)

        assert_accepted(outcomes)
        emptied = {everyone[0].id, everyone[3].id}
        assert _texts(stand_in) == {who.id: "" if who.id in emptied else who.text for who in everyone}

    def test_a_person_who_is_cleared_again_and_sent_again_has_the_new_value(self, stand_in: StandIn) -> None:
        """Consent that is granted again counts again."""
        deliver(stand_in, people(2))
        if not _can_clear(stand_in):
            return

        cleared = [_clear(stand_in, people(1), decided=decided) for decided in (1, 2)]
        empty = _texts(stand_in)
        outcomes = deliver(stand_in, people(2, text="again"), decided=3)

        assert_accepted(Outcomes.concatenated([*cleared, outcomes]))
        assert empty == {people(2)[0].id: "", people(2)[1].id: people(2)[1].text}
        assert _texts(stand_in) == {who.id: who.text for who in people(2, text="again")}


def _clear(stand_in: StandIn, chosen: list[Person], *, decided: int) -> Outcomes:
    with opened(stand_in, load_of(stand_in, stand_in.rows(chosen), decided=decided, rows_sent=0)) as load:
        (batch,) = load.batches("clear", load.kept(chosen), len(chosen))
        return load.clear_batch(batch, [stand_in.text_field])


def _texts(stand_in: StandIn) -> dict[str, str]:
    # Not every other side can tell an empty text from none.
    return {who.id: who.text or "" for who in stand_in.stored()}


def _can_clear(stand_in: StandIn) -> bool:
    """Return whether the destination clears fields; one that does not has to refuse instead of reporting success."""
    destination = stand_in.destination()
    if destination.can_clear:
        assert destination.can_remove, "a destination that clears fields has to remove people, too"
        return True
    stranger = stand_in.rows(people(1, start=99)).combine_chunks().to_batches()[0]
    with pytest.raises(DestinationError):
        destination.clear(Batch(key="0" * 64, rows=stranger), [stand_in.text_field])
    return False
