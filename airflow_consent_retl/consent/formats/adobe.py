"""Adobe's XDM data type Consents and Preferences, as profiles and datasets of Experience Platform contain it.

    {"consents": {"marketing": {"any": {"val": "u"}, "email": {"val": "y"}}, "share": {"val": "dn"},
                  "idSpecific": {"Email": {"p@example.com": {"marketing": {"email": {"val": "n"}}}}}}}

The schema: https://github.com/adobe/xdm/blob/master/components/datatypes/consent/consent-preferences.schema.json (read
on 29 November 2026) and https://experienceleague.adobe.com/en/docs/experience-platform/xdm/data-types/consents.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from airflow_consent_retl.consent.document_parts import WHOLE, DocumentPart, part_along, parts_together
from airflow_consent_retl.consent.formats.json_lookup import (
    JsonLookup,
    JsonWalk,
    Path,
    UnreadableDocumentError,
    document_problems,
    status_in,
)
from airflow_consent_retl.consent.literal_values import LiteralValues
from airflow_consent_retl.consent.signals import ConsentStatus, require
from airflow_consent_retl.consent.strict_json import repeated_keys
from airflow_consent_retl.errors import Problem

# `dy` is a default that no person chose; `dn` is one as well, and no is the safe reading of it. The capitals are legal
# bases that need no consent.
_VALUES = LiteralValues(("y",), ("n", "dn"), ("dy", "p", "u", "LI", "CT", "CP", "VI", "PI"))
_MARKETING, _ANY = "marketing", "any"
# The values that take a yes away when another place of the document has them.
_TAKING_AWAY = (ConsentStatus.DENIED, ConsentStatus.INVALID)


@dataclass(frozen=True, slots=True)
class AdobeConsent(JsonLookup):
    """One choice of XDM's consents: only `"val": "y"` grants; `n` and the default `dn` deny.

    The default `dy`, pending (`p`), unknown (`u`), the legal bases that need no consent (`LI`, `CT`, `CP`, `VI`, `PI`),
    null and a missing choice are unknown. Any other value is invalid.

    A channel of marketing without a choice has that of `marketing.any`, whose no denies every channel.

    `idSpecific` has choices of single identities of the person, such as one e-mail address, which overrule the others
    at Adobe. A row does not tell which of them it means. So a no of any identity denies, and a yes of one grants
    nothing.

    Args:
        column: the column with the document.
        choice: the choice as in the schema, such as `marketing.email`, `share` or `personalize.content`.
        path: the keys that lead to the object with the choices; empty if the column contains that object.
        namespace: an identity namespace, exactly as in `idSpecific`: only the identities in it count; None: all do.
    """

    is_standard: ClassVar[bool] = True
    may_overrule_yes: ClassVar[bool] = True

    column: str
    choice: str
    path: Path = ("consents",)
    namespace: str | None = None

    def __post_init__(self) -> None:
        problems = document_problems(self.column, self.path, "AdobeConsent")
        if not isinstance(self.choice, str) or not all(self.choice.split(".")) or self._keys[0] == "idSpecific":
            problems.append(Problem("AdobeConsent.choice", "expected a choice such as `marketing.email`"))
        if self.namespace is not None and not (isinstance(self.namespace, str) and self.namespace):
            problems.append(Problem("AdobeConsent.namespace", "expected a namespace such as `Email`, or None"))
        require(problems)

    @property
    def _keys(self) -> Path:
        return tuple(self.choice.split("."))

    @property
    def document_part(self) -> DocumentPart:
        """The choice, `marketing.any` and the choices of identities, whose ids no engine knows."""
        choices = [self._keys, *([(_MARKETING, _ANY)] if self._is_channel else [])]
        return part_along(
            self.path,
            parts_together(*(part_along((*keys, "val")) for keys in choices), part_along(("idSpecific",), WHOLE)),
        )

    @property
    def _is_channel(self) -> bool:
        return self._keys[0] == _MARKETING and self._keys != (_MARKETING, _ANY)

    def answer(self, document: object, walk: JsonWalk) -> ConsentStatus:
        """Return the status of the choice."""
        consents = walk.at(document, self.path)
        of_identities = {self._status(choices, walk) for choices in self._identities(consents, walk)}
        general = self._general(consents, walk)
        return next((status for status in _TAKING_AWAY if status in {general, *of_identities}), general)

    def _general(self, consents: object, walk: JsonWalk) -> ConsentStatus:
        found = self._status(consents, walk)
        if not self._is_channel:
            return ConsentStatus.UNKNOWN if found is None else found
        every = status_in(_VALUES, walk.at(consents, (_MARKETING, _ANY, "val")))
        return every if found is None or every in _TAKING_AWAY else found

    def _status(self, choices: object, walk: JsonWalk) -> ConsentStatus | None:
        value = walk.at(choices, (*self._keys, "val"))
        return None if value is None else status_in(_VALUES, value)

    def _identities(self, consents: object, walk: JsonWalk) -> list[object]:
        """Return the choices of each identity that counts."""
        specific = walk.member(consents, "idSpecific")
        if self.namespace is not None:
            return _values_of(walk.member(specific, self.namespace))
        return [choices for identities in _values_of(specific) for choices in _values_of(identities)]


def _values_of(value: object) -> list[object]:
    if value is None:
        return []
    if not isinstance(value, dict) or repeated_keys(value):
        raise UnreadableDocumentError
    return list(value.values())
