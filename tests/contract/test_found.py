"""No destination of this package is without its contract."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from types import ModuleType

from contract.guest_book import GuestBookDestination

from airflow_consent_retl.contract.destination import Destination
from airflow_consent_retl.testing import DestinationContract, destinations

# Those that are here now: finding fewer would be a mistake of the finder.
KNOWN = {"FilesDestination", "GoogleCustomerMatchDestination", "SqlTableDestination", "WebhookDestination"}


def modules_here() -> list[ModuleType]:
    return [importlib.import_module(f"contract.{file.stem}") for file in Path(__file__).parent.glob("test_*.py")]


def kept_by(modules: list[ModuleType]) -> set[type[Destination]]:
    return {
        contract.destination_class
        for module in modules
        for name, contract in inspect.getmembers(module, inspect.isclass)
        if name.startswith("Test") and issubclass(contract, DestinationContract)
    }


def test_every_destination_of_the_package_keeps_the_contract() -> None:
    found = set(destinations())

    assert {destination.__name__ for destination in found} >= KNOWN
    assert found - kept_by(modules_here()) == set()


def test_a_destination_without_a_contract_is_missed() -> None:
    others = [module for module in modules_here() if module.__name__ != "contract.test_webhook"]

    assert {kind.__name__ for kind in set(destinations()) - kept_by(others)} == {"WebhookDestination"}


def test_destinations_of_other_packages_are_found_where_they_are_looked_for() -> None:
    assert GuestBookDestination in destinations("contract")
    assert GuestBookDestination not in destinations()
