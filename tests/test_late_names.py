"""Packages that find their names as they are asked for: the list, the stub of it, and the modules agree."""

from __future__ import annotations

import ast
import pkgutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pytest

from airflow_consent_retl import consent, contract, fields, operators, reports
from airflow_consent_retl.destinations import declared
from airflow_consent_retl.operators.face import MODULES

LATE: list[tuple[ModuleType, Mapping[str, str]]] = [
    (consent, consent.MODULES),
    (contract, contract.MODULES),
    (declared, declared.MODULES),
    (fields, fields.MODULES),
    (operators, MODULES),
    (reports, reports.MODULES),
]
each = pytest.mark.parametrize(("package", "modules"), LATE, ids=lambda one: getattr(one, "__name__", ""))


def folder_of(package: ModuleType) -> Path:
    return Path(str(package.__file__)).parent


@each
def test_every_name_is_found_and_offered(package: ModuleType, modules: Mapping[str, str]) -> None:
    assert package.__all__ == sorted(modules)
    assert set(modules) <= set(dir(package))
    for name, module in modules.items():
        assert getattr(package, name) is getattr(sys.modules[module], name)


@each
def test_a_name_that_is_not_offered_is_an_error(package: ModuleType, modules: Mapping[str, str]) -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        package.nonsense  # noqa: B018 - asked for


@each
def test_no_module_has_a_name_that_the_package_offers(package: ModuleType, modules: Mapping[str, str]) -> None:
    # Once it is imported, the module would be found in the place of what is offered.
    assert {found.name for found in pkgutil.iter_modules([str(folder_of(package))])} & set(modules) == set()


@each
def test_the_stub_for_type_checkers_names_the_same_modules(package: ModuleType, modules: Mapping[str, str]) -> None:
    stub = ast.parse((folder_of(package) / "__init__.pyi").read_text())

    imported = {
        alias.name: node.module
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        # The other ones are the types of parameters.
        if alias.asname is not None
    }

    assert imported == modules


@each
def test_a_package_alone_loads_none_of_its_modules(package: ModuleType, modules: Mapping[str, str]) -> None:
    script = f"import {package.__name__}, sys; print(*sys.modules)"
    printed = subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True, capture_output=True, text=True)

    assert package.__name__ in printed.stdout.split()
    assert set(printed.stdout.split()) & set(modules.values()) == set()
