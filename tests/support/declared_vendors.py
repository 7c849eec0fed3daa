"""Iterable and Customer.io for the tests: local servers with their connections, and loads into them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pytest
from support.customerio_server import CustomerIo
from support.iterable_server import IterableProject
from support.loading import deliver, load_of, take_back
from support.people_vendor import PeopleVendor

from airflow_consent_retl.contract import DestinationSpec, Outcomes


@contextmanager
def served(vendor: PeopleVendor, conn_type: str, monkeypatch: pytest.MonkeyPatch, **secret: str) -> Iterator[None]:
    with vendor.serving() as server:
        connection = {"conn_type": conn_type, "host": server.url, "extra": {"allow_private": True}, **secret}
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_type.upper()}_DEFAULT", json.dumps(connection))
        yield


@contextmanager
def iterable_project(monkeypatch: pytest.MonkeyPatch) -> Iterator[IterableProject]:
    vendor = IterableProject()
    with served(vendor, "consentiterable", monkeypatch, password=vendor.secret):
        yield vendor


@contextmanager
def customerio_workspace(monkeypatch: pytest.MonkeyPatch) -> Iterator[CustomerIo]:
    vendor = CustomerIo()
    with served(vendor, "consentcustomerio", monkeypatch, login="site-7", password="key-41c7"):
        yield vendor


def rows(*people: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(people))


def sent(spec: DestinationSpec, table: pa.Table, *, key: str) -> list[str]:
    """Send rows, and return their outcomes as text."""
    return texts(deliver(spec.build(), table, load_of(table, key_field=key)))


def removed(spec: DestinationSpec, table: pa.Table, *, key: str) -> list[str]:
    """Remove people, and return their outcomes as text."""
    gone = spec.build()
    load = load_of(table, key_field=key, rows_sent=0)
    (batch,) = table.combine_chunks().to_batches()
    return texts(take_back(gone, pa.Table.from_batches([gone.removal_rows(batch, load)]), load))


def texts(outcomes: Outcomes) -> list[str]:
    return [f"{one.status} {one.code}".strip() for one in outcomes]
