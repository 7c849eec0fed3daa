"""The base of loads to the Data Manager API: nothing is sent before the policy is known to require Google's signals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.destinations.data_manager.consent_signals import (
    SIGNALS,
    check_answered,
    check_signals,
    wrong_signals,
)
from airflow_consent_retl.errors import OptionsError, Problem
from airflow_consent_retl.operators.spec_load import SpecLoadOperator

if TYPE_CHECKING:
    from airflow_consent_retl.storage.manifest import PermittedCounts


class SignalsLoadOperator(SpecLoadOperator):
    """A load with `consent_signals`. The spec's `build` takes `consent_granted`; without it, no one is sent."""

    consent_signals: Mapping[str, str] | None
    _consent_granted = False
    _built: Any = None

    def checked(self, own: Mapping[str, Any]) -> Mapping[str, Any]:
        """Check that a field for a signal tells each person's own answer, and that each other one has a category."""
        check_answered(self.fields)
        signals = own["consent_signals"] or {}
        if isinstance(self.fields, Mapping) and isinstance(signals, Mapping):
            wrong = wrong_signals(signals, [name for name in SIGNALS if name in self.fields])
            if wrong:
                raise OptionsError([Problem("consent_signals", one) for one in wrong])
        return own

    def check_permitted(self, counts: PermittedCounts) -> None:
        """Check that each of Google's signals is a field with a person's own answer, or was granted by everyone.

        Raises:
            ConfigurationError: it is neither; the message names the category and the signal.
        """
        check_answered(self.fields)
        answered = [name for name in SIGNALS if name in self.fields]
        check_signals(self.consent_signals or {}, counts, destination=self.destination, answered=answered)
        self._consent_granted = True

    def build_destination(self) -> Any:
        """Return the destination; contacts nothing. It sends no one before `check_permitted` was called."""
        return self.destination_spec().build(consent_granted=self._consent_granted)

    def destination_spec(self) -> Any:
        """Return the parameters, which a trigger builds the destination from."""
        # One spec for all destinations that a task builds, one after the other: they share the quota.
        self._built = self._built or super().destination_spec()
        return self._built
