"""The stub of the operators, made of their code: `python -m support.operators_stub` writes it, for type checkers.

An operator whose parameters are those of a spec has no signature of its own that a type checker could read.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from airflow_consent_retl import operators
from airflow_consent_retl.operators.face import MODULES
from airflow_consent_retl.operators.spec_load import SpecLoadOperator, parameters_of

STUB = Path(operators.__file__).with_suffix(".pyi")
_DOC = '"""The operators of this package, for type checkers: `__init__.py` finds them as they are asked for."""'


def stub() -> str:
    """Return the stub, not formatted."""
    imports: set[tuple[str, str, str]] = {("typing", "Any", "")}
    classes: list[str] = []
    for name, module in MODULES.items():
        found = getattr(operators, name)
        is_made = isinstance(found, type) and issubclass(found, SpecLoadOperator) and "spec_class" in vars(found)
        imports.add((module, name, f"_{name}" if is_made else name))
        if is_made:
            classes.append(_class(name, found.spec_class, imports))
    lines = [
        f"from {module} import {name}" + (f" as {alias}" if alias else "") for module, name, alias in sorted(imports)
    ]
    return "\n".join([_DOC, "", *lines, "", "__all__: list[str]", "", *classes])


def same(one: str, other: str) -> bool:
    """Return whether two stubs say the same, however they are formatted."""
    return _statements(one) == _statements(other)


def _statements(text: str) -> list[str]:
    found: list[str] = []
    for node in ast.parse(text).body:
        if isinstance(node, ast.ImportFrom):
            found += [f"{node.module} {one.name} {one.asname}" for one in node.names]
        else:
            found.append(ast.dump(node))
    return sorted(found)


def _class(name: str, spec_class: type, imports: set[tuple[str, str, str]]) -> str:
    parameters = parameters_of(spec_class)
    texts = {one: _annotation(spec_class, one, imports) for one in parameters}
    given = [f"{one}: {texts[one]}{_default(parameter)}" for one, parameter in parameters.items()]
    attributes = [f"    {one}: {texts[one]}" for one in spec_class.templated]  # type: ignore[attr-defined]
    signature = ", ".join(["self", "*", *given, "**kwargs: Any"])
    return "\n".join([f"class {name}(_{name}):", *attributes, f"    def __init__({signature}) -> None: ..."])


def _default(parameter: inspect.Parameter) -> str:
    if parameter.default is inspect.Parameter.empty:
        return ""
    is_plain = parameter.default is None or isinstance(parameter.default, str | int | float)
    return f" = {parameter.default!r}" if is_plain else " = ..."


def _annotation(spec_class: type, name: str, imports: set[tuple[str, str, str]]) -> str:
    owner = next(one for one in spec_class.__mro__ if name in vars(one).get("__annotations__", {}))
    text = str(vars(owner)["__annotations__"][name])
    places = _places(owner.__module__)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Name) and not hasattr(builtins, node.id):
            imports.add((*places[node.id], ""))
    return text


@cache
def _places(module: str) -> Mapping[str, tuple[str, str]]:
    """Return the module and the name of all that a module imports or defines at its top."""
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return dict(_named(tree, module))


def _named(tree: ast.Module, module: str) -> Iterator[tuple[str, tuple[str, str]]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            yield from ((one.asname or one.name, (node.module, one.name)) for one in node.names)
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield node.name, (module, node.name)
        elif isinstance(node, ast.Assign):
            yield from ((one.id, (module, one.id)) for one in node.targets if isinstance(one, ast.Name))


def main() -> None:
    """Write the stub."""
    STUB.write_text(stub() + "\n")
    for command in (["format", "--quiet"], ["check", "--fix", "--quiet"], ["format", "--quiet"]):
        subprocess.run([Path(sys.executable).with_name("ruff"), *command, STUB], check=True)


if __name__ == "__main__":
    main()
