"""The catalogue has every destination, and says of each what its class and its operator say."""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from airflow_consent_retl import operators
from airflow_consent_retl.contract.catalogue import CatalogueEntry, Source
from airflow_consent_retl.contract.destination import Destination

REPO = Path(__file__).resolve().parents[2]


def catalogue_page() -> Any:
    place = REPO / "docs" / "site" / "destination_catalogue.py"
    spec = importlib.util.spec_from_file_location(place.stem, place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAGE = catalogue_page()
FOLDERS: dict[str, tuple[CatalogueEntry, ...]] = PAGE.catalogue()
ENTRIES = [pytest.param(folder, entry, id=entry.vendor) for folder, found in FOLDERS.items() for entry in found]


def class_of(entry: CatalogueEntry) -> type[Destination]:
    module, _, name = entry.destination.rpartition(".")
    found: type[Destination] = getattr(import_module(module), name)
    assert issubclass(found, Destination)
    return found


def kept(entry: CatalogueEntry, limit: str) -> list[Any]:
    """Return the values of a limit that a load keeps if its DAG names none."""
    operator = getattr(operators, entry.operator)
    parameters = inspect.signature(operator).parameters
    names = ("removal_batch_rows", limit) if limit == "removal_rows" else (limit,)
    found = [parameters[name].default for name in names if name in parameters]
    spec = getattr(operator, "spec_class", None)
    if spec is not None:
        found += [field.default for field in dataclasses.fields(spec) if field.name in names]
    found += [getattr(class_of(entry), name, None) for name in names]
    return [one for one in found if isinstance(one, int | float)]


def test_each_destination_has_an_entry() -> None:
    assert [folder for folder, entries in FOLDERS.items() if not entries] == []
    assert {"files", "sql_table", "webhook", "google_customer_match"} <= FOLDERS.keys()


@pytest.mark.parametrize(("folder", "entry"), ENTRIES)
def test_an_entry_names_a_class_and_an_operator_of_its_folder(folder: str, entry: CatalogueEntry) -> None:
    package = f"airflow_consent_retl.destinations.{folder}."

    assert class_of(entry).__module__.startswith(package)
    assert getattr(operators, entry.operator).__module__.startswith(package)


@pytest.mark.parametrize(("folder", "entry"), ENTRIES)
def test_an_entry_offers_the_removals_that_its_class_has(folder: str, entry: CatalogueEntry) -> None:
    found = class_of(entry)
    choices = dict(getattr(found, "withdrawal_choices", {}))

    if choices:
        assert dict(entry.removal) == choices
    else:
        assert list(entry.removal) == (["always"] if found.can_remove else [])


@pytest.mark.parametrize(("folder", "entry"), ENTRIES)
def test_an_entry_names_the_modes_that_its_class_has(folder: str, entry: CatalogueEntry) -> None:
    found = class_of(entry)

    assert ("remove" in entry.modes) == found.can_remove
    assert ("clear" in entry.modes) == found.can_clear
    assert ("replace" in entry.modes) == found.replaces
    # An event cannot be sent twice without a second event.
    assert ("upsert" in entry.modes) + ("event" in entry.modes) + ("replace" in entry.modes) == 1


@pytest.mark.parametrize(("folder", "entry"), ENTRIES)
def test_a_load_keeps_the_limits_of_its_entry_if_the_dag_names_none(folder: str, entry: CatalogueEntry) -> None:
    for limit, most in entry.limits.items():
        values = kept(entry, limit)

        # Alone, a folder of files and a transaction take one request: their classes make no other.
        assert values or (limit, most) == ("concurrency", 1), f"nothing keeps {limit}"
        assert all(value <= most for value in values), limit


def test_an_entry_that_leaves_something_out_or_names_something_unknown_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"checked is empty; unknown limit `rows`; unknown mode `sync`; `2026` is no day"
    ):
        CatalogueEntry(
            vendor="Acme",
            destination="acme.AcmeDestination",
            operator="LoadToAcmeOperator",
            api_version="1",
            removal={},
            modes=("sync",),  # type: ignore[arg-type]
            limits={"rows": 5},
            checked=(),
            unchecked=(),
            sources=(Source("https://acme.example", "2026"),),
        )


def test_the_page_shows_each_entry_whole() -> None:
    page: str = PAGE.page(FOLDERS)

    for entries in FOLDERS.values():
        for entry in entries:
            section = page.partition(f"\n## {entry.vendor}\n")[2].partition("\n## ")[0]
            shown = [entry.operator, *entry.removal.values(), *entry.consent, *entry.notes, *entry.checked]
            shown += [*entry.unchecked, *(source.address for source in entry.sources), *entry.modes, *entry.limits]
            assert [text for text in shown if text not in section] == []
