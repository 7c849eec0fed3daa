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

from msgspec import Struct, to_builtins
from support.vendor_api import RefusedCallError, VendorApi
from support.vendor_server import Asked, Reply

MOST_OBJECTS = 75
MOST_USERS = 50
_STATES = {"opted_in", "subscribed", "unsubscribed"}
_PROFILE = {"external_id", "user_aliases", "email", "phone", "email_subscribe", "push_subscribe"}
_IDENTIFIERS = {"external_id", "user_alias", "braze_id"}


class Tracking(Struct, forbid_unknown_fields=True):
    attributes: list[dict[str, Any]]


class Alias(Struct, forbid_unknown_fields=True):
    alias_name: str
    alias_label: str


class Address(Struct, forbid_unknown_fields=True):
    email: str
    prioritization: list[Literal["identified", "unidentified", "most_recently_updated"]]


class Deletion(Struct, forbid_unknown_fields=True):
    external_ids: list[str] = []
    user_aliases: list[Alias] = []
    email_addresses: list[Address] = []


class Export(Struct, forbid_unknown_fields=True):
    fields_to_export: list[str]
    external_ids: list[str] = []
    user_aliases: list[Alias] = []
    email_address: str | None = None


@dataclass
class Braze(VendorApi):
    """A workspace.

    Attributes:
        users: the attributes of each user, by external id; a user without one has a name here that starts with `~`.
        groups: the state of each group, by group and then by the same name.
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
            if str(one.get("external_id")) in self.refused:
                errors.append(error(index, f"The value {one} provided for the 'text' field is not valid."))
                continue
            self._apply(one)
        if len(errors) == len(objects):
            return Reply(400, fatal(errors))
        answered = {"message": "success", "attributes_processed": len(objects) - len(errors)}
        return Reply(201, answered | ({"errors": errors} if errors else {}))

    def _check(self, one: dict[str, Any]) -> None:
        named = _IDENTIFIERS & one.keys()
        self.expect(len(named) == 1 or (not named and "email" in one), "no identifier, or two")
        self.expect(isinstance(one.get("external_id", ""), str) and isinstance(one.get("email") or "", str), "no text")
        if "user_alias" in one:
            self.expect(one["user_alias"].keys() == {"alias_name", "alias_label"}, "an alias of another shape")
        for name in ("email_subscribe", "push_subscribe"):
            self.expect(one.get(name, "subscribed") in _STATES, f"{name} is no state")
        for group in one.get("subscription_groups", []):
            self.expect(group.keys() == {"subscription_group_id", "subscription_state"}, "a group of another shape")
            self.expect(group["subscription_state"] in {"subscribed", "unsubscribed"}, "a group's state is none")
        lists = [value for name, value in one.items() if isinstance(value, list) and name != "subscription_groups"]
        self.expect(not any(None in value for value in lists), "a null in an array")
        nested = [name for name, value in one.items() if isinstance(value, dict)]
        self.expect(nested in ([], ["user_alias"]), "a nested attribute")

    def _apply(self, one: dict[str, Any]) -> None:
        one = dict(one)
        # A user is made for an alias only where the flag says no.
        only_existing = one.pop("_update_existing_only", "user_alias" in one)
        alias = one.pop("user_alias", None)
        place = self._place(one.get("external_id"), alias, None if alias else one.get("email"))
        if place not in self.users and only_existing:
            return
        user = self.users.setdefault(place, {"user_aliases": [alias]} if alias else {})
        for group in one.pop("subscription_groups", []):
            self.groups.setdefault(group["subscription_group_id"], {})[place] = group["subscription_state"]
        user |= {name: value for name, value in one.items() if value is not None}
        for name in [name for name, value in one.items() if value is None]:
            user.pop(name, None)
        if "email_subscribe" in one and user.get("email"):
            # The state of an address is that of all of its users.
            for other in self.users.values():
                if other.get("email") == user["email"]:
                    other["email_subscribe"] = one["email_subscribe"]

    def _place(self, external_id: str | None, alias: dict[str, str] | None, email: str | None) -> str:
        """Return where a user is. Of several users with an address, one with an external id is first, then the last."""
        if external_id is not None:
            return external_id
        if alias is not None:
            found = [place for place, user in self.users.items() if alias in user.get("user_aliases", [])]
            return found[0] if found else f"~{alias['alias_label']} {alias['alias_name']}"
        found = self._with_address(str(email))
        return next((place for place in reversed(found) if not place.startswith("~")), (found or [f"~{email}"])[-1])

    def _with_address(self, email: str) -> list[str]:
        return [place for place, user in self.users.items() if str(user.get("email")).casefold() == email.casefold()]

    def _delete(self, call: Asked) -> Reply:
        asked = self.shaped(call, Deletion)
        kinds = [asked.external_ids, asked.user_aliases, asked.email_addresses]
        self.expect(sum(bool(one) for one in kinds) == 1, "no identifiers, or two kinds")
        self._ids([*asked.external_ids, *asked.user_aliases, *asked.email_addresses])
        orders = {tuple(one.prioritization) for one in asked.email_addresses}
        self.expect(orders <= {("identified", "most_recently_updated")}, "another order, or more than one user")
        places = [
            *asked.external_ids,
            *(self._place(None, to_builtins(one), None) for one in asked.user_aliases),
            *(self._place(None, None, one.email) for one in asked.email_addresses),
        ]
        known = [one for one in places if self.users.pop(one, None) is not None]
        return Reply(201, {"deleted": len(known), "message": "success"})

    def _export(self, call: Asked) -> Reply:
        asked = self.shaped(call, Export)
        address = [asked.email_address] if asked.email_address else []
        self.expect(sum(bool(one) for one in (asked.external_ids, asked.user_aliases, address)) == 1, "two kinds")
        self._ids([*asked.external_ids, *asked.user_aliases, *address])
        self.expect(set(asked.fields_to_export) <= _PROFILE, "a field that is not exported")
        places = [
            *asked.external_ids,
            *(self._place(None, to_builtins(one), None) for one in asked.user_aliases),
            *(place for email in address for place in self._with_address(email)),
        ]
        found = [
            {
                name: {**self.users[one], "external_id": None if one.startswith("~") else one}.get(name)
                for name in asked.fields_to_export
            }
            for one in places
            if one in self.users
        ]
        missing = [one for one in asked.external_ids if one not in self.users]
        return Reply(201, {"message": "success", "users": found} | ({"invalid_user_ids": missing} if missing else {}))

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
        states = dict.fromkeys((text for of, text in self.group_opt_outs if of == group), "unsubscribed")
        for place, state in of_users.items():
            user = self.users.get(place, {})
            named = place if kind == "external_id[]" else str(user.get(kind.removesuffix("[]")))
            states[named] = "unsubscribed" if "unsubscribed" in {state, states.get(named)} else state
        status = {text: states.get(text, "unknown") for text in texts}
        return Reply(200, {"status": {text: state.title() for text, state in status.items()}, "message": "success"})

    def _ids(self, ids: Sequence[object]) -> None:
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
