"""The contract, kept by a destination as users write them."""

from __future__ import annotations

import pytest
from contract.guest_book import GuestBookDestination, GuestBookStandIn

from airflow_consent_retl.testing import DestinationContract, StandIn


class TestGuestBook(DestinationContract):
    destination_class = GuestBookDestination

    @pytest.fixture
    def stand_in(self) -> StandIn:
        return GuestBookStandIn()
