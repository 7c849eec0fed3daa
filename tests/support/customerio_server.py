"""A local Customer.io: people and manual segments of the Track API, each request in the shape of the specification.

The shapes are those of `api-evangelist/customer-io@14dda59`; a part of a batch has exactly one identifier.
"""

from __future__ import annotations

import base64
from typing import Any, ClassVar, Literal

import msgspec
from support.iterable_server import shaped
from support.people_vendor import PeopleVendor
from support.vendor_server import Asked, Reply

MOST_PARTS, MOST_BYTES, MOST_PART_BYTES = 1_000, 500_000, 32_000


class Part(msgspec.Struct, forbid_unknown_fields=True):
    type: Literal["person"]
    identifiers: dict[Literal["id", "email", "cio_id"], str]
    action: Literal["identify", "suppress", "delete"]
    attributes: dict[str, Any] | None = None


class Parts(msgspec.Struct, forbid_unknown_fields=True):
    batch: list[Part]


class Ids(msgspec.Struct, forbid_unknown_fields=True):
    ids: list[str]


class CustomerIo(PeopleVendor):
    """A workspace.

    Attributes:
        people: the attributes of people, by their identifier.
        segments: who is in a segment.
        suppressed: identifiers that Customer.io ignores.
    """

    secret: ClassVar[str] = base64.b64encode(b"site-7:key-41c7").decode()

    def __init__(self) -> None:
        super().__init__()
        self.segments: dict[str, set[str]] = {}
        self.suppressed: set[str] = set()

    def applied(self, asked: Asked) -> Reply:
        assert len(asked.body) <= MOST_BYTES
        if asked.path == "/api/v1/accounts/region":
            return Reply(200, {"region": "us", "data_center": "us", "environment_id": 9})
        assert asked.method == "POST"
        if asked.path == "/api/v2/batch":
            return self._batch(shaped(asked, Parts).batch)
        _, _, segment, verb = asked.path.removeprefix("/api/").split("/")
        assert verb in {"add_customers", "remove_customers"}
        assert asked.query["id_type"] in (["id"], ["email"], ["cio_id"])
        ids = shaped(asked, Ids).ids
        assert 1 <= len(ids) <= MOST_PARTS
        members = self.segments.setdefault(segment, set())
        if verb == "add_customers":
            members |= set(ids) & self.people.keys()
        else:
            members -= set(ids)
        return Reply(200, {})

    def _batch(self, parts: list[Part]) -> Reply:
        assert 1 <= len(parts) <= MOST_PARTS
        errors = []
        for index, part in enumerate(parts):
            assert len(msgspec.json.encode(part)) <= MOST_PART_BYTES + 100
            ((name, key),) = part.identifiers.items()
            if key in self.refused:
                field = f"identifiers.{name}"
                message = f"{key} is not acceptable"
                errors.append({"batch_index": index, "reason": "invalid", "field": field, "message": message})
            elif key not in self.suppressed:
                self._apply(part, key)
        return Reply(207, {"errors": errors}) if errors else Reply(200, {})

    def _apply(self, part: Part, key: str) -> None:
        if part.action != "identify":
            self.people.pop(key, None)
            if part.action == "suppress":
                self.suppressed.add(key)
            return
        attributes = dict(part.attributes or {})
        if not attributes.pop("_update", False) or key in self.people:
            self.people.setdefault(key, {}).update(attributes)


class SegmentOfCustomerIo(CustomerIo):
    """A workspace that has everyone, and its segment 5, which a load fills."""

    def applied(self, asked: Asked) -> Reply:
        if asked.path.endswith("/add_customers"):
            self.people |= {key: {} for key in asked.document["ids"]}
        return super().applied(asked)

    def stored_people(self) -> dict[str, dict[str, Any]]:
        return {key: {} for key in self.segments.get("5", ())}
