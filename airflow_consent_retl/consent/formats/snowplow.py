"""Snowplow's `consent_preferences` event, as its warehouses contain it.

    {"eventType": "allow_selected", "consentScopes": ["analytics"], "basisForProcessing": "consent"}

The schema: iglu:com.snowplowanalytics.snowplow/consent_preferences/jsonschema/1-0-0, at
https://github.com/snowplow/iglu-central (read on 29 November 2026). It needs at least one scope for every event, also
for `deny_all`, `withdrawn`, `pending` and `expired`: the scopes alone say nothing. Snowflake keeps the names of the
schema; other warehouses have snake case. The table of events in Redshift and PostgreSQL, and the models of Snowplow's
dbt packages, have a column for each: see `readers.snowplow`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeGuard

from airflow_consent_retl.consent.document_parts import SCALAR, DocumentPart, part_along, parts_together
from airflow_consent_retl.consent.formats.json_lookup import (
    JsonLookup,
    JsonWalk,
    Path,
    UnreadableDocumentError,
    document_problems,
    id_problems,
)
from airflow_consent_retl.consent.signals import (
    HAS_EXPIRED,
    ConsentStatus,
    WholeConsent,
    require,
)
from airflow_consent_retl.errors import Problem

Naming = Literal["camelCase", "snake_case"]

_KEYS = {
    "camelCase": ("eventType", "consentScopes", "basisForProcessing"),
    "snake_case": ("event_type", "consent_scopes", "basis_for_processing"),
}
ALLOWING_TYPES = ("allow_all", "allow_selected")
OTHER_TYPES = {
    "deny_all": ConsentStatus.DENIED,
    "withdrawn": ConsentStatus.DENIED,
    "pending": ConsentStatus.UNKNOWN,
    "implicit_consent": ConsentStatus.UNKNOWN,
    "expired": ConsentStatus.EXPIRED,
}
BASES = ("consent", "contract", "legal_obligation", "vital_interests", "public_task", "legitimate_interests")


@dataclass(frozen=True, slots=True)
class SnowplowScope(JsonLookup):
    """One scope of a `consent_preferences` event: `allow_all` or `allow_selected` with the scope grants.

    `allow_selected` without the scope denies; `allow_all` without it is unknown, because the person was not asked for
    it. `deny_all` and `withdrawn` deny, `pending` and `implicit_consent` are unknown, and `expired` is expired,
    whatever the scopes. Another basis for processing than `consent` makes a yes unknown. An event without a type or, if
    it allows, without scopes is invalid. Under `opt_out`, a scope that differs from a missing one only in form is
    invalid too.

    Args:
        column: the column with the event.
        scope: the scope.
        path: the keys that lead to the event; empty if the column contains it.
        naming: how the warehouse names the fields: `camelCase` as the schema, or `snake_case`.
    """

    is_standard: ClassVar[bool] = True
    may_overrule_yes: ClassVar[bool] = True

    column: str
    scope: str
    path: Path = ()
    naming: Naming = "camelCase"

    def __post_init__(self) -> None:
        require(
            [
                *_problems(self.column, self.path, self.naming, "SnowplowScope"),
                *id_problems(self.scope, "SnowplowScope.scope"),
            ]
        )

    @property
    def expiring(self) -> tuple[str, ...]:
        """The answer of a consent that has expired."""
        return HAS_EXPIRED

    @property
    def document_part(self) -> DocumentPart:
        """The type of the event, its scopes and its basis."""
        type_, scopes, basis = _KEYS[self.naming]
        return part_along(
            self.path,
            parts_together(
                part_along((type_,)), part_along((scopes,), DocumentPart(items=SCALAR)), part_along((basis,))
            ),
        )

    def answer(self, document: object, walk: JsonWalk) -> ConsentStatus:
        """Return the status of the scope."""
        event = walk.at(document, self.path)
        if event is None:
            return ConsentStatus.UNKNOWN
        type_, scopes, basis = (walk.member(event, key) for key in _KEYS[self.naming])
        if basis is not None and basis not in BASES:
            raise UnreadableDocumentError
        if isinstance(type_, str) and type_ in OTHER_TYPES:
            return OTHER_TYPES[type_]
        if type_ not in ALLOWING_TYPES or not _are_scopes(scopes):
            raise UnreadableDocumentError
        if self.scope not in scopes:
            walk.missed(self.scope, scopes)
            return ConsentStatus.DENIED if type_ == "allow_selected" else ConsentStatus.UNKNOWN
        return ConsentStatus.GRANTED if basis in (None, "consent") else ConsentStatus.UNKNOWN


@dataclass(frozen=True, slots=True)
class SnowplowConsent(WholeConsent):
    """An event for all categories, whose ids are scopes. The parameters of `SnowplowScope`."""

    column: str
    path: Path = ()
    naming: Naming = "camelCase"

    def __post_init__(self) -> None:
        require(_problems(self.column, self.path, self.naming, "SnowplowConsent"))

    def for_category(self, category_id: str, name: str) -> SnowplowScope:
        """Return the signal of one category."""
        return SnowplowScope(self.column, category_id, self.path, self.naming)


def _are_scopes(scopes: object) -> TypeGuard[list[str]]:
    return (
        isinstance(scopes, list)
        and bool(scopes)
        and all(isinstance(scope, str) and scope and scope == scope.strip() for scope in scopes)
    )


def _problems(column: object, path: object, naming: object, name: str) -> list[Problem]:
    problems = document_problems(column, path, name)
    if naming not in _KEYS:
        problems.append(Problem(f"{name}.naming", "expected `camelCase` or `snake_case`"))
    return problems
