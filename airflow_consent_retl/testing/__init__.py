"""The contract that every destination keeps, as pytest classes: for this package's destinations, and for yours.

Needs the extra `testing`. Write a stand-in for the other side of your destination, real enough to be talked to and
able to fail, and subclass the contract:

    from airflow_consent_retl.testing import DestinationContract, StandIn

    class AcmeStandIn(StandIn):
        impossible = {"unreadable_answer": "the client library reads every answer, or says that it lost it"}
        ...

    class TestAcme(DestinationContract):
        destination_class = AcmeDestination

        @pytest.fixture
        def stand_in(self) -> Iterator[StandIn]:
            with acme_server() as server:
                yield AcmeStandIn(server)

Nothing is skipped: what a stand-in cannot bring about it declares impossible, with the reason, and a check of its own
sees to it that nothing is left out.
"""

from __future__ import annotations

import pytest

# Before the checks are imported, so that a failed one shows what was compared.
pytest.register_assert_rewrite(
    *(f"airflow_consent_retl.testing.{name}" for name in ("driving", "failure", "lease", "removal", "sending", "shape"))
)

from airflow_consent_retl.testing.destination_contract import DestinationContract  # noqa: E402
from airflow_consent_retl.testing.found import destinations  # noqa: E402
from airflow_consent_retl.testing.people import CANARY, Person  # noqa: E402
from airflow_consent_retl.testing.stand_in import Circumstance, StandIn  # noqa: E402

__all__ = ["CANARY", "Circumstance", "DestinationContract", "Person", "StandIn", "destinations"]
