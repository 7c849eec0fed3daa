"""The catalogue's entry of a destination: its removals, consent, limits, and the checks of it that were made.

Each folder of a destination has a `catalogue.py` with `CATALOGUE`, one entry or a tuple of entries. The documentation
has a page that is made of them. A test compares each entry with its class and its operator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

DestinationMode = Literal["upsert", "remove", "clear", "replace", "event"]

MODES: Mapping[str, str] = {
    "upsert": "rows are stored by their key: one that is sent again changes nothing",
    "remove": "single people are removed",
    "clear": "single fields of people are cleared",
    "replace": "a load's rows replace all rows",
    "event": "each row is an event, and cannot be taken back",
}
LIMITS: Mapping[str, str] = {
    "batch_rows": "rows in a request",
    "removal_rows": "people in a removal",
    "max_body_bytes": "bytes in a request",
    "max_row_bytes": "bytes of a row",
    "concurrency": "requests at the same time",
    "requests_per_s": "requests a second",
    "account_requests_per_s": "requests a second, of all workers of an account together",
    "requests_per_minute": "requests a minute",
    "burst_requests": "requests without a pause",
}
_NEEDED = ("vendor", "destination", "operator", "api_version", "modes", "checked")
_LISTS = ("modes", "checked", "unchecked", "sources", "notes")


@dataclass(frozen=True, slots=True)
class Source:
    """A page, a specification or code that an entry relies on.

    Args:
        address: a URL, or `owner/repository@commit: path` of public code.
        read: the day on which it was read, as `2026-11-29`.
        states: the facts that it states, in a few words.
    """

    address: str
    read: str
    states: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueEntry:
    """One destination in the catalogue.

    Args:
        vendor: its name for people, such as `HubSpot contacts`.
        destination: the destination's class, such as
            `airflow_consent_retl.destinations.acme.destination.AcmeDestination`.
        operator: the name of the operator, as in `airflow_consent_retl.operators`.
        api_version: the version of the vendor's API that is used, such as `2026-09`; `unversioned` where it has none.
        removal: the choices of `on_withdrawal`, each with a sentence: those of `withdrawal_choices` of the class. A
            destination without a choice has the one key `always`; one that cannot remove has none.
        consent: the vendor's fields for consent, each with its source; empty: the vendor takes none.
        limits: numbers by their names in `LIMITS`: the most that the vendor takes. The defaults of the operator, or
            the attributes of the class, are not above them.
        notes: limits that are no number, and traps.
        modes: from `MODES`.
        checked: the checks that were made without an account, each in a sentence with its means.
        unchecked: facts that could not be checked without an account.
        sources: where the vendor states this.

    Raises:
        ValueError: an entry is incomplete or names something unknown; the message names all errors.
    """

    vendor: str
    destination: str
    operator: str
    api_version: str
    removal: Mapping[str, str]
    modes: Sequence[DestinationMode]
    checked: Sequence[str]
    unchecked: Sequence[str]
    sources: Sequence[Source]
    consent: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        wrong = [f"{name} is empty" for name in _NEEDED if not getattr(self, name)]
        wrong += [f"{name} is a text, and has to be a list" for name in _LISTS if isinstance(getattr(self, name), str)]
        wrong += [f"unknown limit `{name}`" for name in self.limits if name not in LIMITS]
        wrong += [f"limit `{name}` is not above 0" for name, most in self.limits.items() if not most > 0]
        wrong += [f"unknown mode `{mode}`" for mode in self.modes if mode not in MODES]
        wrong += [f"`{one.read}` is no day" for one in self.sources if not _is_day(one.read)]
        if wrong:
            raise ValueError("; ".join(wrong))


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
