"""What the stand-ins of warehouses make once and keep. Imports sqlglot only: they run in environments of their own."""

from __future__ import annotations

import gc
import threading
from typing import Any

from sqlglot.dialects.dialect import Dialect


def keep_imported() -> None:
    """Let collections of garbage leave out what was imported, and come less often."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def keep_generators() -> None:
    """Let sqlglot make a generator once for each dialect, options and thread.

    The compiled sqlglot parses about twenty templates for each, and a stand-in translates a statement several times.
    """
    dialect: Any = Dialect
    make = dialect.generator
    kept = threading.local()

    def generator(self: Any, **options: Any) -> Any:
        if self.settings:
            return make(self, **options)
        found = kept.__dict__.setdefault("generators", {})
        key = (type(self), tuple(sorted(options.items())))
        if key not in found:
            found[key] = make(self, **options)
        return found[key]

    dialect.generator = generator
