"""A local Iterable: users and lists, each request in the shape of the specification (`Iterable/api-client@981eeb5`)."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar
from urllib.parse import unquote

import msgspec
from support.people_vendor import PeopleVendor
from support.vendor_server import Asked, Reply

MOST_USERS, MOST_BYTES = 1_000, 4_000_000
Shape = TypeVar("Shape")


class User(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    data_fields: dict[str, Any]
    email: str | None = None
    user_id: str | None = None
    prefer_user_id: bool = False
    merge_nested_objects: bool = False


class BulkUpdate(msgspec.Struct, forbid_unknown_fields=True):
    users: list[User]


class Subscription(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    list_id: int
    subscribers: list[User]


class Known(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    email: str | None = None
    user_id: str | None = None


class Unsubscription(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    list_id: int
    subscribers: list[Known]
    channel_unsubscribe: bool


class IterableProject(PeopleVendor):
    """A project.

    Attributes:
        people: the `dataFields` of users, by e-mail or user id.
        lists: who is on a list.
        silenced: those who were unsubscribed from a whole channel: no load may do this.
        forgotten: those who are refused for ever.
        dropped: fields that the project does not have.
    """

    credential: ClassVar[str] = "api-key"

    def __init__(self) -> None:
        super().__init__()
        self.lists: dict[int, set[str]] = {}
        self.silenced: set[str] = set()
        self.forgotten: set[str] = set()
        self.dropped: set[str] = set()

    def applied(self, asked: Asked) -> Reply:
        assert len(asked.body) <= MOST_BYTES
        match asked.method, asked.path:
            case "GET", "/api/lists":
                return Reply(200, {"lists": []})
            case "POST", "/api/users/bulkUpdate":
                return self._updated(shaped(asked, BulkUpdate).users, None)
            case "POST", "/api/lists/subscribe":
                subscription = shaped(asked, Subscription)
                return self._updated(subscription.subscribers, subscription.list_id)
            case "POST", "/api/lists/unsubscribe":
                return self._unsubscribed(shaped(asked, Unsubscription))
            case "POST", "/api/users/forget":
                return self._deleted(one_of(shaped(asked, Known)), forgets=True)
            case "DELETE", path if path.startswith("/api/users/"):
                assert asked.body == b""
                return self._deleted(unquote(path.removeprefix("/api/users/").removeprefix("byUserId/")), forgets=False)
            case _:
                raise AssertionError(f"no such endpoint: {asked.method} {asked.path}")

    def _updated(self, users: list[User], list_id: int | None) -> Reply:
        assert 1 <= len(users) <= MOST_USERS
        failed: dict[str, list[str]] = {}
        dropped: set[str] = set()
        for user in users:
            key, kind = one_of(Known(user.email, user.user_id)), "Emails" if user.email else "UserIds"
            if key in self.forgotten:
                failed.setdefault(f"forgotten{kind}", []).append(key.lower() if user.email else key)
            elif key in self.refused:
                failed.setdefault(f"invalidData{kind}", []).append(key.lower() if user.email else key)
            else:
                dropped |= self.dropped & user.data_fields.keys()
                kept = {name: value for name, value in user.data_fields.items() if name not in self.dropped}
                self.people.setdefault(key, {}).update(kept)
                if list_id is not None:
                    self.lists.setdefault(list_id, set()).add(key)
        return counted(len(users), failed, filteredOutFields=sorted(dropped))

    def _unsubscribed(self, request: Unsubscription) -> Reply:
        assert 1 <= len(request.subscribers) <= MOST_USERS
        failed: dict[str, list[str]] = {}
        on_list = self.lists.setdefault(request.list_id, set())
        for user in request.subscribers:
            key, kind = one_of(user), "Emails" if user.email else "UserIds"
            if request.channel_unsubscribe:
                self.silenced.add(key)
            if key in self.refused:
                failed.setdefault(f"invalidData{kind}", []).append(key)
            elif key in self.forgotten or key not in self.people:
                found = "forgotten" if key in self.forgotten else "notFound"
                failed.setdefault(f"{found}{kind}", []).append(key)
            else:
                on_list.discard(key)
        return counted(len(request.subscribers), failed)

    def _deleted(self, key: str, *, forgets: bool) -> Reply:
        if key in self.refused:
            return Reply(400, {"code": "GenericError", "msg": f"{key} cannot be deleted", "params": None})
        for on_list in self.lists.values():
            on_list.discard(key)
        known = self.people.pop(key, None) is not None
        if forgets:
            self.forgotten.add(key)
        if not known and not forgets:
            return Reply(400, {"code": "UnknownEmailError", "msg": f"no user {key}", "params": None})
        return Reply(200, {"code": "Success", "msg": "", "params": None})


class ListOfIterable(IterableProject):
    """A project of which a test sees list 7."""

    def stored_people(self) -> dict[str, dict[str, Any]]:
        return {key: self.people[key] for key in self.lists.get(7, ())}


def one_of(known: Known) -> str:
    found = [one for one in (known.email, known.user_id) if one is not None]
    assert len(found) == 1
    return found[0]


def shaped(asked: Asked, shape: type[Shape]) -> Shape:
    assert asked.headers["content-type"] == "application/json"
    return msgspec.json.decode(asked.body, type=shape)


def counted(users: int, failed: dict[str, list[str]], **others: object) -> Reply:
    fails = sum(map(len, failed.values()))
    return Reply(200, {"successCount": users - fails, "failCount": fails, "failedUpdates": failed, **others})
