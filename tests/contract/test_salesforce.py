"""The contract, kept by Salesforce: Airflow's hook and the real client against a local org that is strict."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pytest
from support.salesforce_server import PASSWORD, TOKEN, SalesforceOrg, connection_of, salesforce_org

from airflow_consent_retl.contract.destination import Destination
from airflow_consent_retl.destinations.salesforce.destination import SalesforceDestination
from airflow_consent_retl.destinations.salesforce.options import SalesforceSpec
from airflow_consent_retl.testing import DestinationContract, Person, StandIn
from airflow_consent_retl.testing.removal_checks import RemovalChecks

NO_CSV = ("duration", "month_day_nano_interval", "map", "list", "large_list", "fixed_size_list", "struct",
          "run_end_encoded", "binary", "large_binary", "fixed_size_binary", "extension<arrow.bool8>")  # fmt: skip


class OrgStandIn(StandIn):
    key_field = "Key__c"
    text_field = "Text__c"

    def __init__(self, org: SalesforceOrg) -> None:
        self._org = org
        os.environ["AIRFLOW_CONN_SALESFORCE_DEFAULT"] = connection_of(org).as_json()

    def destination(self) -> Destination:
        return self.spec().build()

    def spec(self) -> SalesforceSpec:
        return SalesforceSpec(
            sobject="Person__c",
            external_id="Key__c",
            on_withdrawal="delete",
            # Salesforce has no empty text: with "clear", it would be the same as NULL.
            nulls="keep",
            batch_rows=40,
            max_attempts=2,
            backoff_s=0.01,
            timeout_s=20,
        )

    def rows(self, people: Sequence[Person]) -> pa.Table:
        columns = {"Key__c": [person.id for person in people], "Text__c": [person.text for person in people]}
        return pa.table({name: pa.array(column, pa.string()) for name, column in columns.items()})

    def stored(self) -> Sequence[Person]:
        # Salesforce has no empty text.
        return [Person(str(one["Key__c"]), one["Text__c"] or "") for one in self._org.records["Person__c"].values()]

    def takes(self, kind: pa.DataType) -> bool:
        if pa.types.is_timestamp(kind):
            return kind.tz is not None
        return not str(kind).startswith(NO_CSV) and "binary" not in str(kind) and "list" not in str(kind)

    def stored_values(self) -> Mapping[str, object]:
        return {
            str(one["Key__c"]): one.get("value", "none was given") for one in self._org.records["Person__c"].values()
        }

    def secrets(self) -> Sequence[str]:
        return [PASSWORD, TOKEN, *self._org.sessions]

    def requests(self) -> int:
        return self._org.with_rows

    def applied_then_timeout(self) -> None:
        self._org.fault = "gone"

    def unreadable_answer(self) -> None:
        self._org.fault = "unreadable"

    def unavailable(self) -> None:
        self._org.fault = "unavailable"

    def refused(self) -> None:
        self._org.fault = "refused"

    def partial_failure(self, people: Sequence[Person], refused: Collection[str]) -> pa.Table:
        self._org.refused = set(refused)
        return self.rows(people)

    def partial_removal(self, held: Collection[str]) -> None:
        self._org.held = set(held)

    def swallowed_removal(self, held: Collection[str]) -> None:
        self._org.swallowed = set(held)

    def recover(self) -> None:
        self._org.fault = ""


class TestSalesforce(DestinationContract):
    destination_class = SalesforceDestination

    @pytest.fixture
    def stand_in(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
        monkeypatch.setenv("AIRFLOW_CONN_SALESFORCE_DEFAULT", "")
        with salesforce_org(tmp_path) as org:
            yield OrgStandIn(org)


class EmptiedStandIn(OrgStandIn):
    """A person whose text is emptied is taken back: the record stays."""

    impossible: ClassVar[Mapping[str, str]] = {
        "swallowed_removal": "an emptied field cannot be told from one that was never filled",
        "partial_removal": "the org here refuses deletions only",
    }
    partial_removal = StandIn.partial_removal
    swallowed_removal = StandIn.swallowed_removal

    def spec(self) -> SalesforceSpec:
        return replace(super().spec(), on_withdrawal="clear_fields", clear_fields=["Text__c"])

    def stored(self) -> Sequence[Person]:
        return [one for one in super().stored() if one.text]


class TestSalesforceThatEmptiesFields(RemovalChecks):
    @pytest.fixture
    def stand_in(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
        monkeypatch.setenv("AIRFLOW_CONN_SALESFORCE_DEFAULT", "")
        with salesforce_org(tmp_path) as org:
            yield EmptiedStandIn(org)
