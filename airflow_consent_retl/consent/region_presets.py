"""Presets of regimes by region: dated data with their sources, for a privacy officer to review. No legal advice.

    {"id": "C0004", "name": "Advertising", "destinations": ["google_ads"], "regions": "preset:2026-11"}

A preset is about one purpose: personal data that leave for advertising or are sold. It says nothing about sensitive
data, children, e-mail and telephone, for which most of these places have stricter rules. A published preset is never
changed: a change of law is a new preset with a later date.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime

from airflow_consent_retl.consent.regime import Regime

PREFIX = "preset:"
# A preset is read again by a person at least this often.
_REVIEWED_WITHIN_DAYS = 365


@dataclass(frozen=True, slots=True)
class RegionRule:
    """One region of a preset.

    Args:
        region: ISO 3166-1 alpha-2 (`DE`), or ISO 3166-2 for a part of a country (`US-CA`).
        regime: of the region.
        law: the law that it follows from, with the date since which it applies.
        source: the law, or a report about it.
        gpc: whether the law obliges to honour an opt-out signal of the browser, such as Global Privacy Control.
    """

    region: str
    regime: Regime
    law: str
    source: str
    gpc: bool = False


@dataclass(frozen=True, slots=True)
class RegionPreset:
    """The rules of one preset, and the day on which a person read their sources."""

    name: str
    read_on: date
    rules: tuple[RegionRule, ...]

    @property
    def regions(self) -> dict[str, Regime]:
        """The regime of each region."""
        return {rule.region: rule.regime for rule in self.rules}

    @property
    def with_gpc(self) -> tuple[str, ...]:
        """The regions whose law obliges to honour Global Privacy Control."""
        return tuple(rule.region for rule in self.rules if rule.gpc)

    def is_old(self, at: datetime) -> bool:
        """Return whether the sources were read more than a year ago. `at` has a zone."""
        return (at.astimezone(UTC).date() - self.read_on).days > _REVIEWED_WITHIN_DAYS


def preset_named(reference: str) -> RegionPreset | None:
    """Return the preset that `preset:<name>` names, or None if there is none."""
    return PRESETS.get(reference.removeprefix(PREFIX)) if reference.startswith(PREFIX) else None


# The presets are computed at import, where no mutant is seen. A test compares them with a table.
# pragma: no mutate start
def _opt_in(regions: Iterable[str], law: str, source: str) -> tuple[RegionRule, ...]:
    return tuple(RegionRule(region, Regime.OPT_IN, law, source) for region in regions)


_EEA = (
    *("AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT", "LT", "LU", "LV"),
    *("MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK"),
    *("IS", "LI", "NO"),
)
_STATES = "https://myprivacy.blog/20-state-privacy-laws-2026/"
_SIGNALS = "https://privacylawmap.com/blog/universal-opt-out-mechanism-compliance-guide"
# Each state's law, the day since which it applies, and, if it obliges to honour a signal, the day since which it does.
# Sources differ about the duty of New Jersey, Maryland and Minnesota. They are listed here: the stricter reading.
_US: dict[str, tuple[str, str, str | None]] = {
    "CA": ("CCPA, as amended by the CPRA", "2023-01-01", "2023-01-01"),
    "CO": ("Colorado Privacy Act", "2023-07-01", "2024-07-01"),
    "CT": ("Connecticut Data Privacy Act", "2023-07-01", "2025-01-01"),
    "DE": ("Delaware Personal Data Privacy Act", "2025-01-01", "2026-01-01"),
    "FL": ("Florida Digital Bill of Rights", "2024-07-01", None),
    "IA": ("Iowa Consumer Data Protection Act", "2025-01-01", None),
    "IN": ("Indiana Consumer Data Protection Act", "2026-01-01", None),
    "KY": ("Kentucky Consumer Data Protection Act", "2026-01-01", None),
    "MD": ("Maryland Online Data Privacy Act", "2025-10-01", "2025-10-01"),
    "MN": ("Minnesota Consumer Data Privacy Act", "2025-07-31", "2025-07-31"),
    "MT": ("Montana Consumer Data Privacy Act", "2024-10-01", "2025-01-01"),
    "NE": ("Nebraska Data Privacy Act", "2025-01-01", "2026-01-01"),
    "NH": ("New Hampshire Data Privacy Act", "2025-01-01", "2026-01-01"),
    "NJ": ("New Jersey Data Privacy Act", "2025-01-15", "2026-01-15"),
    "OR": ("Oregon Consumer Privacy Act", "2024-07-01", "2025-01-01"),
    "RI": ("Rhode Island Data Transparency and Privacy Protection Act", "2026-01-01", None),
    "TN": ("Tennessee Information Protection Act", "2025-07-01", None),
    "TX": ("Texas Data Privacy and Security Act", "2024-07-01", "2025-01-01"),
    "UT": ("Utah Consumer Privacy Act", "2023-12-31", None),
    "VA": ("Virginia Consumer Data Protection Act", "2023-01-01", None),
}


def _states() -> tuple[RegionRule, ...]:
    return tuple(
        RegionRule(
            f"US-{state}",
            Regime.OPT_OUT,
            f"{law}, since {since}" + (f"; signals since {signals}" if signals else ""),
            _SIGNALS if signals else _STATES,
            gpc=signals is not None,
        )
        for state, (law, since, signals) in _US.items()
    )


# pragma: no mutate end
PRESETS: dict[str, RegionPreset] = {
    preset.name: preset
    for preset in (
        RegionPreset(
            "2026-11",
            date(2026, 11, 29),
            (
                *_opt_in(
                    _EEA,
                    "GDPR, Art. 6 and 7, since 2018-05-25",
                    "https://eur-lex.europa.eu/eli/reg/2016/679/oj",
                ),
                *_opt_in(["GB"], "UK GDPR, Art. 6 and 7", "https://www.legislation.gov.uk/eur/2016/679"),
                *_opt_in(
                    ["CH"],
                    "Google's EU user consent policy, which includes Switzerland, since 2024-07-31; the federal act "
                    "itself requires consent only in some cases",
                    "https://usercentrics.com/knowledge-hub/google-consent-requirements-switzerland/",
                ),
                *_opt_in(
                    ["BR"],
                    "Lei Geral de Proteção de Dados, Art. 7 and 8, since 2020-09-18",
                    "https://www.planalto.gov.br/ccivil_03/_ato2015-2018/2018/lei/l13709.htm",
                ),
                *_opt_in(
                    ["CA-QC"],
                    "Act respecting the protection of personal information in the private sector, s. 8.1 and 14, as "
                    "amended by Law 25, since 2023-09-22",
                    "https://www.legisquebec.gouv.qc.ca/en/document/cs/p-39.1",
                ),
                *_opt_in(
                    ["IN"],
                    "Digital Personal Data Protection Act 2023, s. 6; all duties from 2027-05",
                    "https://barandbench.com/amp/story/law-firms/view-point/"
                    "opt-in-consent-digital-personal-data-protection-act-granular-specific-approach",
                ),
                *_states(),
            ),
        ),
    )
}
