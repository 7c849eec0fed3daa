"""A local Braze: users, their subscriptions and their opt-outs, each request in the shape of its page.

The shapes are those of `braze-inc/braze-docs`, pages of the endpoints, as `BrazeDestination` cites them. The errors
beside a success have the shape of recorded answers.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from msgspec import Struct
from support.vendor_api import RefusedCallError, VendorApi
from support.vendor_server import Asked, Reply

MOST_OBJECTS = 75
MOST_USERS = 50
_STATES = {"opted_in", "subscribed", "unsubscribed"}
_PROFILE = {"external_id", "email", "phone", "email_subscribe", "push_subscribe"}


class Tracking(Struct, forbid_unknown_fields=True):
    attributes: list[dict[str, Any]]


class GroupState(Struct, forbid_unknown_fields=True):
    subscription_group_id: str
    subscription_state: Literal["subscribed", "unsubscribed"]
    external_ids: list[str]


class GroupStates(Struct, forbid_unknown_fields=True):
    subscription_groups: list[GroupState]


class Deletion(Struct, forbid_unknown_fields=True):
    external_ids: list[str]


class Export(Struct, forbid_unknown_fields=True):
    external_ids: list[str]
    fields_to_export: list[str]


@dataclass
class Braze(VendorApi):
    """A workspace.

    Attributes:
        users: the attributes of each user, by external id.
        groups: the state of each group, by group and then by external id.
        opted_out: addresses that are unsubscribed from all e-mail, also of no user.
        group_opt_outs: pairs of a group and an address or a phone number that is unsubscribed from it.
        refused: external ids whose objects it refuses.
    """

    users: dict[str, dict[str, Any]] = field(default_factory=dict)
    groups: dict[str, dict[str, str]] = field(default_factory=dict)
    opted_out: set[str] = field(default_factory=set)
    group_opt_outs: set[tuple[str, str]] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def answer(self, call: Asked) -> Reply:
        routes: dict[tuple[str, str], Callable[[Asked], Reply]] = {
            ("POST", "/users/track"): self._track,
            ("POST", "/v2/subscription/status/set"): self._set,
            ("POST", "/users/delete"): self._delete,
            ("POST", "/users/export/ids"): self._export,
            ("GET", "/email/unsubscribes"): self._unsubscribes,
            ("GET", "/subscription/status/get"): self._group_states,
        }
        if (call.method, call.path) not in routes:
            self.violations.append(f"{call.method} {call.path} is on no page")
            return Reply(404, {"message": "no such endpoint"})
        return routes[call.method, call.path](call)

    def _track(self, call: Asked) -> Reply:
        objects = self.shaped(call, Tracking).attributes
        if objects == [{}]:
            # The test of a connection.
            return Reply(
                400, fatal([error(0, "'external_id', 'braze_id', 'user_alias', 'email' or 'phone' is required")])
            )
        self.expect(0 < len(objects) <= MOST_OBJECTS, f"{len(objects)} objects in a request")
        errors = []
        for index, one in enumerate(objects):
            self._check(one)
            if str(one["external_id"]) in self.refused:
                errors.append(error(index, f"The value {one} provided for the 'text' field is not valid."))
                continue
            self._apply(one)
        if len(errors) == len(objects):
            return Reply(400, fatal(errors))
        answered = {"message": "success", "attributes_processed": len(objects) - len(errors)}
        return Reply(201, answered | ({"errors": errors} if errors else {}))

    def _check(self, one: dict[str, Any]) -> None:
        self.expect(isinstance(one.get("external_id"), str), "no external id")
        self.expect({"user_alias", "braze_id"}.isdisjoint(one), "two identifiers")
        for name in ("email_subscribe", "push_subscribe"):
            self.expect(one.get(name, "subscribed") in _STATES, f"{name} is no state")
        for group in one.get("subscription_groups", []):
            self.expect(group.keys() == {"subscription_group_id", "subscription_state"}, "a group of another shape")
            self.expect(group["subscription_state"] in {"subscribed", "unsubscribed"}, "a group's state is none")
        lists = [value for name, value in one.items() if isinstance(value, list) and name != "subscription_groups"]
        self.expect(not any(None in value for value in lists), "a null in an array")
        self.expect(not any(isinstance(value, dict) for value in one.values()), "a nested attribute")

    def _apply(self, one: dict[str, Any]) -> None:
        one = dict(one)
        external_id, only_existing = one["external_id"], one.pop("_update_existing_only", False)
        if external_id not in self.users and only_existing:
            return
        user = self.users.setdefault(external_id, {})
        for group in one.pop("subscription_groups", []):
            self.groups.setdefault(group["subscription_group_id"], {})[external_id] = group["subscription_state"]
        user |= {name: value for name, value in one.items() if value is not None}
        for name in [name for name, value in one.items() if value is None]:
            user.pop(name, None)
        if "email_subscribe" in one and user.get("email"):
            # The state of an address is that of all of its users.
            for other in self.users.values():
                if other.get("email") == user["email"]:
                    other["email_subscribe"] = one["email_subscribe"]

    def _set(self, call: Asked) -> Reply:
        for one in self.shaped(call, GroupStates).subscription_groups:
            self._ids(one.external_ids)
            for external_id in one.external_ids:
                if external_id in self.users:
                    self.groups.setdefault(one.subscription_group_id, {})[external_id] = one.subscription_state
        return Reply(201, {"message": "success"})

    def _delete(self, call: Asked) -> Reply:
        ids = self.shaped(call, Deletion).external_ids
        self._ids(ids)
        known = [one for one in ids if self.users.pop(one, None) is not None]
        return Reply(201, {"deleted": len(known), "message": "success"})

    def _export(self, call: Asked) -> Reply:
        asked = self.shaped(call, Export)
        self._ids(asked.external_ids)
        self.expect(set(asked.fields_to_export) <= _PROFILE, "a field that is not exported")
        found = [
            {name: {**self.users[one], "external_id": one}.get(name) for name in asked.fields_to_export}
            for one in asked.external_ids
            if one in self.users
        ]
        missing = [one for one in asked.external_ids if one not in self.users]
        return Reply(201, {"message": "success", "users": found, "invalid_user_ids": missing})

    def _unsubscribes(self, call: Asked) -> Reply:
        self.expect(call.query.keys() == {"end_date", "email"} and call.body == b"", "other parameters")
        (email,) = call.query["email"]
        listed = [{"email": email, "unsubscribed_at": "2026-10-01T00:00:00Z"}] if email in self.opted_out else []
        return Reply(200, {"emails": listed, "message": "success"})

    def _group_states(self, call: Asked) -> Reply:
        (group,) = call.query["subscription_group_id"]
        kinds = call.query.keys() - {"subscription_group_id"}
        self.expect(len(kinds) == 1 and kinds < {"external_id[]", "email[]", "phone[]"}, "other parameters")
        (kind,) = kinds
        texts = call.query[kind]
        self._ids(texts)
        of_users = self.groups.get(group, {})
        status = {
            text: of_users.get(text, "unknown")
            if kind == "external_id[]"
            else "unsubscribed"
            if (group, text) in self.group_opt_outs
            else "unknown"
            for text in texts
        }
        return Reply(200, {"status": {text: state.title() for text, state in status.items()}, "message": "success"})

    def _ids(self, ids: Sequence[str]) -> None:
        self.expect(0 < len(ids) <= MOST_USERS, f"{len(ids)} users in a request")
        if len(ids) > MOST_USERS:
            raise RefusedCallError(Reply(400, {"message": "too many users"}))


def error(index: int, text: str) -> dict[str, Any]:
    return {"type": text, "input_array": "attributes", "index": index}


def fatal(errors: Sequence[object]) -> dict[str, Any]:
    return {
        "message": "Valid data must be provided in the 'attributes', 'events', or 'purchases' fields.",
        "errors": errors,
    }


def limited(_: Asked, __: Callable[[], Reply]) -> Reply:
    """Refuse a call until the next window of the clock."""
    headers = {"X-RateLimit-Limit": "3000", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(time.time()))}
    return Reply(429, {"message": "rate limit exceeded"}, headers)


def bad_key(call: Asked, _: Callable[[], Reply]) -> Reply:
    """Refuse a call, and quote its key."""
    return Reply(401, {"message": f"Invalid API key: {call.headers['authorization']}"})


def quoting(call: Asked, _: Callable[[], Reply]) -> Reply:
    """Refuse a call as malformed, and quote its body."""
    return Reply(400, {"message": f"cannot parse {json.loads(call.body)}", "errors": [call.body.decode()]})
