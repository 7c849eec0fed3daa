"""The reader of a category's terms in the policy document: its regime, and the conditions of a grant.

{"regime": "opt_in", "regions": {"US-CA": "opt_out"}, "max_age": "13 months", "min_notice_version": "2.1"}

`regions` may also name a preset: `"preset:2026-11"`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.consent.freshness import parse_max_age, parse_notice_number
from airflow_consent_retl.consent.json_path import type_name
from airflow_consent_retl.consent.regime import Regime
from airflow_consent_retl.consent.region_presets import PREFIX, PRESETS, preset_named
from airflow_consent_retl.near import suggestion

if TYPE_CHECKING:
    from airflow_consent_retl.consent.document_reader import DocumentReader

TERMS = ("regime", "regions", "max_age", "min_notice_version", "fields", "reason", "owner")


def read_terms(reader: DocumentReader, document: Mapping[str, object], path: str) -> dict[str, Any]:
    """Return the terms by the name of the category's attribute, and note every problem."""
    regime = Regime(reader.choice(document, path, "regime", tuple(map(str, Regime)), str(Regime.OPT_IN)))
    regions = _regions(reader, document, path)
    terms: dict[str, Any] = {"regime": regime, "regions": tuple(sorted(regions.items()))}
    if isinstance(document.get("regions"), str):
        terms["region_preset"] = document["regions"]
    for name, parse in (("max_age", parse_max_age), ("min_notice_version", parse_notice_number)):
        if name in document:
            try:
                terms[name] = parse(document[name])
            except ValueError as error:
                reader.note(f"{path}.{name}", str(error))
    is_exempt = Regime.EXEMPT in {regime, *regions.values()}
    for name in ("reason", "owner"):
        text = document.get(name)
        if not is_exempt and name in document:
            reader.note(f"{path}.{name}", f"only a category that is `exempt` somewhere has `{name}`")
        elif is_exempt and not (isinstance(text, str) and text.strip()):
            reader.note(f"{path}.{name}", f"an exempt category needs a reason and an owner: expected `{name}` as text")
        elif is_exempt:
            terms[name] = text
    return terms


def _regions(reader: DocumentReader, document: Mapping[str, object], path: str) -> dict[str, Regime]:
    if "regions" not in document:
        return {}
    at = f"{path}.regions"
    if isinstance(reference := document["regions"], str):
        preset = preset_named(reference)
        if preset is None:
            names = [f"{PREFIX}{name}" for name in PRESETS]
            listed = ", ".join(f"`{name}`" for name in names)  # pragma: no mutate: there is one so far
            reader.note(at, f"there is no preset `{reference}`{suggestion(reference, names)}: there is {listed}")
        return {} if preset is None else preset.regions
    section = reader.an_object(document["regions"], at)
    if section is None:
        return {}
    reader.note_repeated(section, at)
    if not section:
        reader.note(at, "expected at least one region with its regime")
    regions: dict[str, Regime] = {}
    for region in section:
        if not isinstance(region, str) or not region or region != region.strip():
            reader.note(at, f"expected a region as text without space at its ends, found {type_name(region)}")
            continue
        chosen = reader.choice(section, at, region, tuple(map(str, Regime)), str(Regime.OPT_IN))
        regions[region] = Regime(chosen)
    return regions
