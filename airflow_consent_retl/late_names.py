"""The names of a package whose modules are imported when a name is first used.

A DAG file uses a few names of a package, and is parsed often. For type checkers the package has a stub, `__init__.pyi`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module


def late_names(package: str, modules: Mapping[str, str]) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return the functions `__getattr__` and `__dir__` of a package.

    Args:
        package: the name of the package.
        modules: each name that the package offers, with the module that defines it. No module of the package may have
            the name of one: once it is imported, it would be found in its place.
    """
    face = sys.modules[package]

    def find(name: str) -> object:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found = getattr(import_module(modules[name]), name)
        setattr(face, name, found)
        return found

    def names() -> list[str]:
        # For completion: a name that was not used yet is no attribute.
        return sorted({*vars(face), *modules})

    return find, names
