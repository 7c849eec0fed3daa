"""A hook of the documentation build: the page with all destinations, made of their entries in the catalogue."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

from airflow_consent_retl import destinations
from airflow_consent_retl.contract.catalogue import LIMITS, MODES, CatalogueEntry, Source

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

PLACE = "destinations/catalogue.md"
_INTRODUCTION = """# All destinations

This page is made of the code: each destination's own entry says how people are taken back, which consent the vendor is
given, the limits that a load keeps, and how all this was checked. No account of a vendor was used.
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page."""
    files.append(File.generated(config, PLACE, content=page(catalogue())))
    return files


def catalogue() -> dict[str, tuple[CatalogueEntry, ...]]:
    """Return the entries of each destination's folder; a folder without a file for them has none."""
    found: dict[str, tuple[CatalogueEntry, ...]] = {}
    for module in pkgutil.iter_modules(destinations.__path__, f"{destinations.__name__}."):
        if not module.ispkg or find_spec(f"{module.name}.operator") is None:
            continue
        named = f"{module.name}.catalogue"
        entries = import_module(named).CATALOGUE if find_spec(named) else ()
        found[module.name.rpartition(".")[2]] = entries if isinstance(entries, tuple) else (entries,)
    return found


def page(folders: Mapping[str, Iterable[CatalogueEntry]]) -> str:
    """Return the page in Markdown."""
    entries = sorted((one for found in folders.values() for one in found), key=lambda one: one.vendor.casefold())
    rows = [
        f"| [{one.vendor}](#{_anchor(one.vendor)}) | `{one.operator}` | {one.api_version} | {_choices(one)} |"
        for one in entries
    ]
    table = "| destination | operator | version of the API | taking people back |\n|---|---|---|---|\n" + "\n".join(
        rows
    )
    return "\n\n".join([_INTRODUCTION + "\n" + table, *map(_section, entries)]) + "\n"


def _choices(entry: CatalogueEntry) -> str:
    return ", ".join(f"`{choice}`" if choice != "always" else "one way" for choice in entry.removal) or "not possible"


def _section(entry: CatalogueEntry) -> str:
    parts = [f"## {entry.vendor}", f"`{entry.operator}`, with version {entry.api_version} of the API."]
    if entry.api_version == "unversioned":
        parts[1] = f"`{entry.operator}`. The API has no versions."
    parts += _named("Modes:", {mode: MODES[mode] for mode in entry.modes})
    if "always" in entry.removal:
        parts.append(f"Taking people back: {entry.removal['always']}")
    else:
        parts += _named("Taking people back, by `on_withdrawal`:", entry.removal)
    parts += _named("Consent that the vendor is given:", entry.consent)
    parts += _listed(
        "Limits:", [f"{most:,} {LIMITS[name]} (`{name}`)" for name, most in entry.limits.items()] + [*entry.notes]
    )
    parts += _listed("Checked:", entry.checked)
    parts += _listed("Not checked, because it needs an account:", entry.unchecked)
    parts += _listed("Sources:", map(_source, entry.sources))
    return "\n\n".join(parts)


def _named(title: str, texts: Mapping[str, str]) -> list[str]:
    return _listed(title, [f"`{name}`: {text}" for name, text in texts.items()])


def _listed(title: str, lines: Iterable[str]) -> list[str]:
    listed = "\n".join(f"- {line}" for line in lines)
    return [f"{title}\n\n{listed}"] if listed else []


def _source(source: Source) -> str:
    address = f"<{source.address}>" if source.address.startswith("https://") else f"`{source.address}`"
    return f"{address}, read {source.read}" + (f": {source.states}" if source.states else "")


def _anchor(title: str) -> str:
    # As the site makes them: `pymdownx.slugs` with lower case.
    return "".join(c for c in title.lower() if c.isalnum() or c in " -_").replace(" ", "-")
