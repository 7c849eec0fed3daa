"""A local Klaviyo: profiles, lists and jobs of revision 2026-07-15, each request in the shape of the specification.

The shapes are those of `klaviyo/openapi@f0a30ba`, `openapi/stable/apis/`; `required` fields have no default. It has the
traps of the real one: who is not on a list is unsubscribed from everything, and unknown people become profiles.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from msgspec import Struct
from support.vendor_api import RefusedCallError, VendorApi
from support.vendor_server import Asked, Reply

REVISION = "2026-07-15"
_ANY = re.compile(r"any\((\w+),(\[.*\])\)", re.DOTALL)


class Location(Struct, forbid_unknown_fields=True):
    address1: str | None = None
    address2: str | None = None
    city: str | None = None
    country: str | None = None
    latitude: str | float | None = None
    longitude: str | float | None = None
    region: str | None = None
    zip: str | None = None
    timezone: str | None = None
    ip: str | None = None


class Attributes(Struct, forbid_unknown_fields=True):
    email: str | None = None
    phone_number: str | None = None
    external_id: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    organization: str | None = None
    locale: str | None = None
    title: str | None = None
    image: str | None = None
    location: Location | None = None
    properties: dict[str, Any] | None = None


class Profile(Struct, forbid_unknown_fields=True):
    type: Literal["profile"]
    attributes: Attributes


class Profiles(Struct, forbid_unknown_fields=True):
    data: list[Profile]


class WithProfiles(Struct, forbid_unknown_fields=True):
    profiles: Profiles


class Ref(Struct, forbid_unknown_fields=True):
    type: Literal["list", "profile"]
    id: str


class Refs(Struct, forbid_unknown_fields=True):
    data: list[Ref]


class Lists(Struct, forbid_unknown_fields=True):
    lists: Refs


class ImportJob(Struct, forbid_unknown_fields=True):
    type: Literal["profile-bulk-import-job"]
    attributes: WithProfiles
    relationships: Lists | None = None


class Import(Struct, forbid_unknown_fields=True):
    data: ImportJob


class Revoked(Struct, forbid_unknown_fields=True):
    consent: Literal["UNSUBSCRIBED"]


class Marketing(Struct, forbid_unknown_fields=True):
    marketing: Revoked


class Channels(Struct, forbid_unknown_fields=True):
    email: Marketing


class Leaver(Struct, forbid_unknown_fields=True):
    email: str
    subscriptions: Channels | None = None


class LeavingProfile(Struct, forbid_unknown_fields=True):
    type: Literal["profile"]
    attributes: Leaver


class LeavingProfiles(Struct, forbid_unknown_fields=True):
    data: list[LeavingProfile]


class WithLeavers(Struct, forbid_unknown_fields=True):
    profiles: LeavingProfiles


class OneList(Struct, forbid_unknown_fields=True):
    data: Ref


class InList(Struct, forbid_unknown_fields=True):
    list: OneList


class LeavingJob(Struct, forbid_unknown_fields=True):
    type: Literal["profile-subscription-bulk-delete-job", "profile-suppression-bulk-create-job"]
    attributes: WithLeavers
    relationships: InList | None = None


class Leaving(Struct, forbid_unknown_fields=True):
    data: LeavingJob


class Nothing(Struct, forbid_unknown_fields=True):
    pass


class ProfileById(Struct, forbid_unknown_fields=True):
    type: Literal["profile"]
    id: str
    attributes: Nothing


class OneProfile(Struct, forbid_unknown_fields=True):
    data: ProfileById


class WithProfile(Struct, forbid_unknown_fields=True):
    profile: OneProfile


class DeletionJob(Struct, forbid_unknown_fields=True):
    type: Literal["data-privacy-deletion-job"]
    attributes: WithProfile


class Deletion(Struct, forbid_unknown_fields=True):
    data: DeletionJob


@dataclass
class Job:
    """A job: how often it was asked for, and the errors of an import."""

    total: int
    errors: list[dict[str, Any]] = field(default_factory=list)
    asked: int = 0


class Klaviyo(VendorApi):
    """The account.

    Attributes:
        polls: how often a job is asked for before it is complete.
        status: of a job that is over.
        refused: external ids that an import refuses, and profiles that are not deleted.
        unsubscribed: each unsubscription: the address, and the list or `everything`.
    """

    token: ClassVar[str] = "pk_c41a9"
    scheme: ClassVar[str] = "Klaviyo-API-Key"
    content_type: ClassVar[str] = "application/vnd.api+json"

    def __init__(self) -> None:
        super().__init__()
        self.profiles: dict[str, dict[str, Any]] = {}
        self.lists: dict[str, set[str]] = {"L1": set(), "L2": set()}
        self.jobs: dict[str, Job] = {}
        self.polls = 0
        self.status = "complete"
        self.refused: set[str] = set()
        self.suppressed: set[str] = set()
        self.unsubscribed: list[tuple[str, str]] = []
        self._made = 0

    @property
    def with_values(self) -> int:
        """The number of calls with values of rows."""
        return sum(call.method != "GET" or "filter" in call.query for call in self.calls)

    def by(self, name: str) -> dict[str, dict[str, Any]]:
        """Return the profiles by an identifier."""
        return {profile[name]: profile for profile in self.profiles.values() if profile.get(name)}

    def on_list(self, list_id: str) -> set[str]:
        """Return the external ids of the profiles on a list."""
        return {self.profiles[one]["external_id"] for one in self.lists[list_id] if one in self.profiles}

    def answer(self, call: Asked) -> Reply:  # noqa: C901, PLR0911 - the map of the API
        self.expect(call.headers.get("revision") == REVISION, "another revision")
        match call.method, call.path.removeprefix("/api/").split("/"):
            case "POST", ["profile-bulk-import-jobs"]:
                return self._import(call)
            case "GET", [("profile-bulk-import-jobs" | "profile-suppression-bulk-create-jobs") as kind, job]:
                return self._job(kind, job)
            case "GET", ["profile-bulk-import-jobs", job, "import-errors"]:
                return self._errors(call, self.jobs[job])
            case "GET", ["profiles"]:
                return self._filtered(call, set(self.profiles))
            case "GET", ["lists", list_id, "profiles"] if list_id in self.lists:
                return self._filtered(call, self.lists[list_id])
            case "DELETE", ["lists", list_id, "relationships", "profiles"] if list_id in self.lists:
                refs = self.shaped(call, Refs).data
                self.expect(0 < len(refs) <= 1000 and all(one.type == "profile" for one in refs), "1 to 1,000 profiles")
                self.lists[list_id] -= {one.id for one in refs}
                return Reply(204)
            case "POST", ["profile-subscription-bulk-delete-jobs"]:
                return self._unsubscribe(call)
            case "POST", ["profile-suppression-bulk-create-jobs"]:
                people = self.shaped(call, Leaving).data.attributes.profiles.data
                self.expect(0 < len(people) <= 100, "1 to 100 addresses")
                for one in people:
                    self._known(one.attributes.email)
                    self.suppressed.add(one.attributes.email)
                return self._started("profile-suppression-bulk-create-job", Job(len(people)))
            case "POST", ["data-privacy-deletion-jobs"]:
                profile = self.shaped(call, Deletion).data.attributes.profile.data.id
                if self.profiles.get(profile, {}).get("external_id") in self.refused:
                    raise RefusedCallError(Reply(400, {"errors": [{"code": "invalid", "detail": f"not {profile}"}]}))
                self.profiles.pop(profile, None)
                return Reply(202)
        return Reply(404, {"errors": [{"code": "not_found", "detail": call.path}]})

    def _import(self, call: Asked) -> Reply:
        self.expect(len(call.body) <= 5_000_000, "more than 5 MB")
        job = self.shaped(call, Import).data
        rows = json.loads(call.body)["data"]["attributes"]["profiles"]["data"]
        self.expect(0 < len(rows) <= 10_000, "1 to 10,000 profiles")
        self.expect(max(len(json.dumps(row, ensure_ascii=False).encode()) for row in rows) <= 130_000, "100 kB")
        started = Job(len(rows))
        for place, row in enumerate(rows):
            given = row["attributes"]
            if given.get("external_id") in self.refused:
                pointer = f"/data/attributes/profiles/data/{place}/attributes/email"
                attributes = {
                    "code": "invalid", "title": "Invalid input", "detail": f"{given} is not valid",
                    "source": {"pointer": pointer}, "original_payload": row,
                }  # fmt: skip
                started.errors.append({"type": "import-error", "id": str(place), "attributes": attributes})
                continue
            found = self._upserted(given)
            for one in job.relationships.lists.data if job.relationships else ():
                self.lists[one.id].add(found)
        return self._started("profile-bulk-import-job", started)

    def _upserted(self, given: dict[str, Any]) -> str:
        for name in ("external_id", "email", "phone_number"):
            present = [
                one for one, profile in self.profiles.items() if given.get(name) and profile.get(name) == given[name]
            ]
            if present:
                break
        else:
            self._made += 1
            present = [f"01PROFILE{self._made:06d}"]
        profile = self.profiles.setdefault(present[0], {"external_id": None, "properties": {}})
        for name, value in given.items():
            if name == "properties":
                profile["properties"] |= value or {}
            else:
                profile[name] = value
        return present[0]

    def _known(self, email: str) -> str:
        """Return the profile of an address, made if there is none."""
        return self._upserted({"email": email})

    def _unsubscribe(self, call: Asked) -> Reply:
        job = self.shaped(call, Leaving).data
        people = job.attributes.profiles.data
        self.expect(0 < len(people) <= 100, "1 to 100 profiles")
        list_id = job.relationships.list.data.id if job.relationships else ""
        for one in people:
            self.expect(one.attributes.subscriptions is not None, "no subscriptions")
            profile = self._known(one.attributes.email)
            is_member = profile in self.lists.get(list_id, set())
            self.unsubscribed.append((one.attributes.email, list_id if is_member else "everything"))
            self.lists.get(list_id, set()).discard(profile)
        return Reply(202)

    def _filtered(self, call: Asked, chosen: set[str]) -> Reply:
        found = _ANY.fullmatch(call.query["filter"][0])
        self.expect(found is not None, "a filter that cannot be parsed")
        assert found is not None
        name, values = found[1], {str(value) for value in json.loads(found[2])}
        self.expect(0 < len(values) <= 100 and call.query.get("page[size]") == ["100"], "up to 100 values, page of 100")
        data = [
            {"type": "profile", "id": one, "attributes": {n: profile.get(n) for n in ("email", "external_id")}}
            for one, profile in self.profiles.items()
            if one in chosen and profile.get(name) in values
        ]
        return Reply(200, {"data": data, "links": {"next": None}})

    def _started(self, kind: str, job: Job) -> Reply:
        job_id = f"job{len(self.jobs):04d}"
        self.jobs[job_id] = job
        return Reply(202, {"data": {"type": kind, "id": job_id, "attributes": {"status": "queued"}}})

    def _job(self, kind: str, job_id: str) -> Reply:
        job = self.jobs[job_id]
        job.asked += 1
        is_over = job.asked > self.polls
        attributes = {
            "status": self.status if is_over else "processing",
            "total_count": job.total,
            "completed_count": job.total - len(job.errors) if is_over else 0,
            "failed_count": len(job.errors) if is_over else 0,
        }
        return Reply(200, {"data": {"type": kind.removesuffix("s"), "id": job_id, "attributes": attributes}})

    def _errors(self, call: Asked, job: Job) -> Reply:
        size, start = int(call.query["page[size]"][0]), int(call.query.get("page[cursor]", ["0"])[0])
        end = start + size
        more = f"{self.url}{call.path}?page%5Bsize%5D={size}&page%5Bcursor%5D={end}" if end < len(job.errors) else None
        return Reply(200, {"data": job.errors[start:end], "links": {"next": more}})


def limited(_: Asked, __: object) -> Reply:
    """Answer that there are too many requests."""
    return Reply(429, {"errors": [{"code": "throttled"}]}, {"Retry-After": "0"})


def bad_key(call: Asked, _: object) -> Reply:
    """Answer that the key is not valid, and quote it."""
    return Reply(401, {"errors": [{"code": "not_authenticated", "detail": call.headers["authorization"]}]})
