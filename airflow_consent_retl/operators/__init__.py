"""The operators of this package, for DAG authors. Importing them loads no engine and no client."""

from __future__ import annotations

from importlib import import_module

from airflow_consent_retl.operators.face import MODULES

__all__ = sorted(MODULES)  # noqa: PLE0605 - computed from the one list


def __dir__() -> list[str]:
    # For completion: a name that was not used yet is no attribute.
    return sorted({*globals(), *MODULES})


def __getattr__(name: str) -> object:
    # Late: a destination's operator is built on `LoadOperator`, which is in this package.
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(MODULES[name]), name)
