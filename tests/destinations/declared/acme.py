"""Acme CRM, as the page "Write a destination of your own" declares it, and its local server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote

from support.people_vendor import PeopleVendor
from support.vendor_server import Asked, Reply

from airflow_consent_retl.destinations.declared import DestinationDeclaration

PAGE = Path(__file__).resolve().parents[3] / "docs" / "declared-destination.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)


def page_names(*, blocks: int) -> dict[str, Any]:
    """Return the names that the first blocks of the page define."""
    names: dict[str, Any] = {"__name__": "acme"}
    for block in BLOCKS[:blocks]:
        exec(block, names)  # noqa: S102 - the page is this repository's own
    return names


ACME: DestinationDeclaration = page_names(blocks=1)["ACME"]


class AcmeCrm(PeopleVendor):
    """Contacts on list 7, at most 100 in a request, by an id that is text."""

    credential: ClassVar[str] = "x-acme-key"

    def applied(self, asked: Asked) -> Reply:
        if asked.method == "DELETE":
            prefix, _, key = asked.path.rpartition("/")
            assert (prefix, asked.body) == ("/v1/contacts", b"")
            if unquote(key) in self.refused:
                return Reply(409, {"code": "locked", "message": f"{unquote(key)} is locked"})
            return Reply(204 if self.people.pop(unquote(key), None) else 404)
        document = asked.document
        if asked.path == "/v1/unlist":
            assert document.keys() == {"list", "ids"}
            assert document["list"] == 7
            return self._batch(document["ids"], lambda key: self.people.pop(key, None))
        assert asked.path == "/v1/lists/7/contacts"
        assert (document.keys(), document["mode"]) == ({"mode", "contacts"}, "upsert")
        contacts = {one["id"]: one for one in document["contacts"]}
        assert all(one.keys() == {"id", "data"} for one in contacts.values())
        return self._batch(
            [one["id"] for one in document["contacts"]],
            lambda key: self.people.setdefault(key, {}).update(contacts[key]["data"]),
        )

    def _batch(self, keys: list[str], apply: Any) -> Reply:
        assert 1 <= len(keys) <= 100
        assert all(isinstance(key, str) for key in keys)
        errors = []
        for position, key in enumerate(keys):
            if key in self.refused:
                errors.append({"position": position, "reason": f"bad_{key}", "message": f"{key} is bad"})
            else:
                apply(key)
        return Reply(200, {"errors": errors})
