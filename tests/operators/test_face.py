"""The names that DAG authors import: one list, the stub of it, and the folders of the destinations agree."""

from __future__ import annotations

import inspect
from dataclasses import fields
from pathlib import Path

import pytest
from support.operators_stub import STUB, same, stub

import airflow_consent_retl
from airflow_consent_retl import operators
from airflow_consent_retl.destinations.http.options import HttpOptions
from airflow_consent_retl.operators.face import MODULES
from airflow_consent_retl.operators.load import LoadOperator

PACKAGE = Path(airflow_consent_retl.__file__).parent
DESTINATIONS = sorted(
    folder.name
    for folder in (PACKAGE / "destinations").iterdir()
    # Folders that are no destinations, and have what several share.
    if (folder / "__init__.py").exists() and folder.name not in {"data_manager", "http", "meta"}
)
OF_EVERY_HTTP_DESTINATION = {one.name for one in fields(HttpOptions)}
LOADS = [name for name, module in MODULES.items() if ".destinations." in module]


def test_every_folder_of_a_destination_holds_an_operator_and_a_destination_and_is_listed() -> None:
    for folder in DESTINATIONS:
        assert (PACKAGE / "destinations" / folder / "operator.py").exists()
        assert (PACKAGE / "destinations" / folder / "destination.py").exists()

    assert [f"airflow_consent_retl.destinations.{folder}.operator" for folder in DESTINATIONS] == sorted(
        MODULES[name] for name in LOADS
    )


def test_the_stub_has_the_parameters_of_each_operator() -> None:
    assert same(stub(), STUB.read_text()), "run `python -m support.operators_stub` in `tests`"


@pytest.mark.parametrize("name", LOADS)
def test_an_operator_and_what_its_destination_is_built_from_have_the_same_parameters(name: str) -> None:
    operator: type[LoadOperator] = getattr(operators, name)
    spec_class = operator.spec_class
    assert spec_class is not None
    parameters = {
        one.name: one.default
        for one in inspect.signature(operator.__init__).parameters.values()
        if one.kind is inspect.Parameter.KEYWORD_ONLY
    }
    options = {
        one.name: one.default
        for one in inspect.signature(spec_class).parameters.values()
        # Some options of every HTTP destination are no parameters of each operator.
        if one.name in parameters or one.name not in OF_EVERY_HTTP_DESTINATION
    }

    assert parameters == options
    assert {field.name for field in fields(spec_class)} >= set(spec_class.templated)  # type: ignore[arg-type]
    assert set(spec_class.templated) <= set(operator.template_fields)
