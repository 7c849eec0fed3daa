"""The search for destinations, so that none is left without its contract."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

from airflow_consent_retl.contract.destination import Destination


def destinations(package: str = "airflow_consent_retl.destinations") -> list[type[Destination]]:
    """Return every concrete destination of a package, by name.

    Args:
        package: its public modules are imported; a module whose name begins with `_` only if a public one imports it.
    """
    found = importlib.import_module(package)
    for module in pkgutil.walk_packages(getattr(found, "__path__", []), f"{package}."):
        if not any(part.startswith("_") for part in module.name.removeprefix(package).split(".")):
            importlib.import_module(module.name)
    kinds = Destination.__subclasses__()
    for kind in kinds:
        # The list grows while it is read: each class adds its own subclasses.
        kinds += kind.__subclasses__()
    concrete = {
        kind for kind in kinds if not inspect.isabstract(kind) and f"{kind.__module__}.".startswith(f"{package}.")
    }
    return sorted(concrete, key=lambda kind: (kind.__module__, kind.__qualname__))
