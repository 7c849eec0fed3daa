"""The recognisers of vendors' documents: one entry for each vendor, with the keys that only its documents have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from airflow_consent_retl.checking.discovery.consent_words import WRAPPERS
from airflow_consent_retl.checking.discovery.recognition import Candidate, LookedModel
from airflow_consent_retl.consent import (
    CookiebotConsent,
    DidomiPurposes,
    JsonMap,
    KetchPurposes,
    OneTrustPurposes,
    SnowplowConsent,
    TranscendPurposes,
    UsercentricsServices,
    WholeConsent,
)
from airflow_consent_retl.consent.strict_json import JsonObject
from airflow_consent_retl.migration.dag_text import text_of

Path = tuple[str, ...]
_DEEPEST = 4


@dataclass(frozen=True, slots=True)
class VendorDocument:
    """The documents of one vendor.

    Args:
        is_it: whether an object has the vendor's keys.
        format: the reader, for a column and the path to that object.
    """

    is_it: Callable[[JsonObject], bool]
    format: Callable[[str, Path], WholeConsent]


_VENDORS = (
    VendorDocument(
        lambda at: _has_entries(at.get("profiles"), "purposeId", "profileFields"),
        lambda column, path: OneTrustPurposes(column, (*path, "profiles")),
    ),
    VendorDocument(lambda at: "legalBasis" in at and "purposes" in at, KetchPurposes),
    VendorDocument(lambda at: _has_entries(at.get("purposes"), "id", "enabled"), DidomiPurposes),
    VendorDocument(
        lambda at: (
            _has_entries(at.get("purposes"), "purpose", "enabled")
            or (isinstance(at.get("purposes"), JsonObject) and "confirmed" in at)
        ),
        TranscendPurposes,
    ),
    VendorDocument(lambda at: "controllerId" in at and _has_entries(at.get("services"), "id"), UsercentricsServices),
    VendorDocument(lambda at: "eventType" in at and "consentScopes" in at, SnowplowConsent),
    VendorDocument(
        lambda at: "event_type" in at and "consent_scopes" in at,
        lambda column, path: SnowplowConsent(column, path, "snake_case"),
    ),
    VendorDocument(
        lambda at: _has_values(at.get("gdpr"), "consented"),
        lambda column, path: JsonMap(column, path=(*path, "gdpr"), state="consented"),
    ),
)


def vendor_documents(model: LookedModel) -> Iterator[Candidate]:
    """Find the documents of vendors whose keys no other document has."""
    for column in model:
        objects = [(found, rows) for found, rows in column.documents if isinstance(found, JsonObject)]
        for vendor in _VENDORS:
            paths = Counter[Path]()
            for found, rows in objects:
                paths.update({path: rows for path, at in objects_in(found) if vendor.is_it(at)})
            for path, _ in paths.most_common(1):
                signal = vendor.format(column.name, path)
                yield Candidate(column.name, type(signal).__name__, signal, is_certain=True)


def cookiebot_cookies(model: LookedModel) -> Iterator[Candidate]:
    """Find Cookiebot's cookie, whose categories have names of their own."""
    for column in model:
        if column.share("Cookiebot cookie") >= 0.5:
            for key_by in ("id", "name"):
                wanted = {pair[key_by == "name"] for pair in model.known}
                if wanted & {"preferences", "statistics", "marketing"} or key_by == "name":
                    yield Candidate(
                        column.name, "CookiebotConsent", CookiebotConsent(column.name, key_by), is_certain=True
                    )
                    break


def adobe_documents(model: LookedModel) -> Iterator[Candidate]:
    """Find Adobe's consents, of which a person has to name the choice of each category."""
    for column in model:
        objects = [found for found, _ in column.documents if isinstance(found, JsonObject)]
        paths = [path for found in objects for path, at in objects_in(found) if any(map(_has_choice, at.values()))]
        if paths:
            path = f", path={text_of(paths[0])}" if paths[0] != ("consents",) else ""
            code = f"AdobeConsent({text_of(column.name)}, choice=…{path})"
            doubt = "which choice is a category about: `share`, `marketing.email`, `personalize.content`?"
            yield Candidate(column.name, "AdobeConsent", None, (), code, is_certain=True, doubts=(doubt,))


def objects_in(document: object, path: Path = ()) -> Iterator[tuple[Path, JsonObject]]:
    """Yield the objects of a document that known keys lead to, each with its path, the outermost first."""
    if isinstance(document, JsonObject) and len(path) <= _DEEPEST:
        yield path, document
        for key in sorted(WRAPPERS.intersection(document)):
            yield from objects_in(document[key], (*path, key))


def _has_entries(found: object, *keys: str) -> bool:
    return isinstance(found, list) and any(isinstance(one, JsonObject) and {*keys} <= one.keys() for one in found)


def _has_values(found: object, key: str) -> bool:
    return isinstance(found, JsonObject) and any(isinstance(one, JsonObject) and key in one for one in found.values())


def _has_choice(found: object) -> bool:
    return isinstance(found, JsonObject) and isinstance(found.get("val"), str)
