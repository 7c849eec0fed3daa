"""The contract that every destination keeps, as pytest classes: for this package's destinations, and for yours.

Needs the extra `testing`. Write a stand-in for the other side of your destination. It must be real enough to answer
the destination, and able to fail. Then subclass the contract:

    from airflow_consent_retl.testing import DestinationContract, StandIn

    class AcmeStandIn(StandIn):
        impossible = {"unreadable_answer": "the client library reads every answer, or reports that it was lost"}
        ...

    class TestAcme(DestinationContract):
        destination_class = AcmeDestination

        @pytest.fixture
        def stand_in(self) -> Iterator[StandIn]:
            with acme_server() as server:
                yield AcmeStandIn(server)

Nothing is skipped: a stand-in declares what it cannot cause as impossible, with the reason, and one of the checks
verifies that nothing is left out.

`DatabaseContract` is the same for databases: subclass it, declare its `abilities`, and write a fixture `database` that
returns a `DatabaseStandIn` with its connection and its SQL. What is not declared has to be refused.
"""

from __future__ import annotations

import pytest

# Before the checks are imported, so that a failed check shows the compared values.
pytest.register_assert_rewrite(
    "airflow_consent_retl.testing.driving",
    *(f"airflow_consent_retl.testing.{name}_checks" for name in ("failure", "lease", "removal", "sending", "shape")),
    *(
        f"airflow_consent_retl.testing.database_{name}_checks"
        for name in ("reading", "staging", "submitting", "table", "type")
    ),
)

from airflow_consent_retl.testing.database_contract import DatabaseContract  # noqa: E402
from airflow_consent_retl.testing.database_stand_in import DatabaseAbilities, DatabaseStandIn  # noqa: E402
from airflow_consent_retl.testing.destination_contract import DestinationContract  # noqa: E402
from airflow_consent_retl.testing.found import destinations  # noqa: E402
from airflow_consent_retl.testing.people import CANARY, Person  # noqa: E402
from airflow_consent_retl.testing.stand_in import Circumstance, StandIn  # noqa: E402

__all__ = [
    "CANARY",
    "Circumstance",
    "DatabaseAbilities",
    "DatabaseContract",
    "DatabaseStandIn",
    "DestinationContract",
    "Person",
    "StandIn",
    "destinations",
]
