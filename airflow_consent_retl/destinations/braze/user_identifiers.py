"""The identifiers by which Braze knows users: an external id, an e-mail address, or an alias with its label."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from airflow_consent_retl.destinations.http.bodies import Row, UnfitRowError

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.braze.options import BrazeIdentifier
    from airflow_consent_retl.destinations.http.answer_maps import Entry

NO_IDENTIFIER: Final = "no_identifier"


@dataclass(frozen=True, slots=True)
class Identifier:
    """The kind of identifier of a load, and its forms in Braze's documents.

    Args:
        kind: see `BrazeOptions`.
        label: of aliases.
    """

    kind: BrazeIdentifier
    label: str | None = None

    @property
    def field(self) -> str:
        """The field of the primary key."""
        return "alias_name" if self.kind == "user_alias" else self.kind

    def text_of(self, row: Row) -> str:
        """Return a row's identifier, and take it out of the row.

        Raises:
            UnfitRowError: it has none.
        """
        text = row.pop(self.field, None)
        if text is None or text == "":
            raise UnfitRowError(NO_IDENTIFIER)
        return str(text)

    def of(self, text: str) -> Row:
        """Return the part of an object that names its user."""
        return {self.kind: {"alias_name": text, "alias_label": self.label} if self.kind == "user_alias" else text}

    def deletion(self, texts: Sequence[str]) -> Row:
        """Return the document that deletes users."""
        if self.kind == "email":
            # Of several users with an address, `/users/track` changes this one, and so it is the one to delete.
            first = ["identified", "most_recently_updated"]
            return {"email_addresses": [{"email": text, "prioritization": first} for text in texts]}
        return self._listed(texts)

    def question(self, texts: Sequence[str]) -> Row:
        """Return the part of a document that asks for users; an address is asked for alone."""
        return {"email_address": texts[0]} if self.kind == "email" else self._listed(texts)

    def names_of(self, user: Entry) -> Iterable[object]:
        """Return the identifiers of this kind that a user has."""
        if self.kind == "user_alias":
            aliases: Sequence[Any] = user.get("user_aliases") or []
            return [one.get("alias_name") for one in aliases if one.get("alias_label") == self.label]
        return [user.get(self.kind) or ""]

    def missing(self, listed: Iterable[Entry]) -> list[object] | None:
        """Return the identifiers that Braze names as unknown; None: it names external ids only."""
        return [one.get("value") for one in listed] if self.kind == "external_id" else None

    def _listed(self, texts: Sequence[str]) -> Row:
        named = "user_aliases" if self.kind == "user_alias" else "external_ids"
        return {named: [self.of(text)[self.kind] for text in texts]}
