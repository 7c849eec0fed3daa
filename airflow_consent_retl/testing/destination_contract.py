"""The contract of destinations: all checks in one class."""

from __future__ import annotations

from typing import ClassVar

import pytest

from airflow_consent_retl.contract.destination import Destination
from airflow_consent_retl.testing.clearing_checks import ClearingChecks
from airflow_consent_retl.testing.dry_run_checks import DryRunChecks
from airflow_consent_retl.testing.failure_checks import FailureChecks
from airflow_consent_retl.testing.lease_checks import LeaseChecks
from airflow_consent_retl.testing.removal_checks import RemovalChecks
from airflow_consent_retl.testing.sending_checks import SendingChecks
from airflow_consent_retl.testing.shape_checks import ShapeChecks
from airflow_consent_retl.testing.stand_in import StandIn


class DestinationContract(
    SendingChecks, RemovalChecks, ClearingChecks, FailureChecks, LeaseChecks, ShapeChecks, DryRunChecks
):
    """Subclass it as `Test…`, name the class, and write the fixture `stand_in`; pytest finds the rest.

    Attributes:
        destination_class: the destination that keeps the contract.
    """

    destination_class: ClassVar[type[Destination]]

    @pytest.fixture
    def stand_in(self) -> StandIn:
        """Return a fresh stand-in for each check; override it."""
        raise pytest.UsageError(f"{type(self).__name__} has no fixture `stand_in`")
