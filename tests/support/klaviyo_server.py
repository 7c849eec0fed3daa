"""A local Klaviyo: profiles, lists and jobs of revision 2026-07-15, each request in the shape of the specification.

The shapes are those of `klaviyo/openapi@f0a30ba`, `openapi/stable/apis/`; `required` fields have no default. It has the
traps of the real one: who is not on a list is unsubscribed from everything, unknown people become profiles, and
subscribing deletes opt-outs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
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
    email: Marketing | None = None
    sms: Marketing | None = None


class Leaver(Struct, forbid_unknown_fields=True):
    email: str | None = None
    phone_number: str | None = None
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


class Granted(Struct, forbid_unknown_fields=True):
    consent: Literal["SUBSCRIBED"]
    consented_at: datetime | None = None


class GrantedMarketing(Struct, forbid_unknown_fields=True):
    marketing: Granted


class GrantedChannels(Struct, forbid_unknown_fields=True):
    email: GrantedMarketing | None = None
    sms: GrantedMarketing | None = None


class Joiner(Struct, forbid_unknown_fields=True):
    subscriptions: GrantedChannels
    email: str | None = None
    phone_number: str | None = None


class JoiningProfile(Struct, forbid_unknown_fields=True):
    type: Literal["profile"]
    attributes: Joiner
    id: str | None = None


class JoiningProfiles(Struct, forbid_unknown_fields=True):
    data: list[JoiningProfile]


class WithJoiners(Struct, forbid_unknown_fields=True):
    profiles: JoiningProfiles
    historical_import: bool | None = False
    custom_source: str | None = None


class JoiningJob(Struct, forbid_unknown_fields=True):
    type: Literal["profile-subscription-bulk-create-job"]
    attributes: WithJoiners
    relationships: InList | None = None


class Joining(Struct, forbid_unknown_fields=True):
    data: JoiningJob


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
        states: by profile and channel; `NEVER_SUBSCRIBED` by default.
        suppressions: of profiles from all e-mail, by reason; list_suppressions: likewise, from one list.
        subscribed: each subscription: the address, the channel, and the time of the consent.
        opt_outs_deleted: the addresses and channels whose opt-out a subscription deleted.
        confirmations: the addresses to which Klaviyo sent a request to confirm.
        lag: how many questions about profiles it takes until a change of subscriptions is applied.
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
        self.states: dict[tuple[str, str], str] = {}
        self.suppressions: dict[str, list[str]] = {}
        self.list_suppressions: dict[str, list[str]] = {}
        self.subscribed: list[tuple[str, str, datetime | None]] = []
        self.opt_outs_deleted: list[tuple[str, str]] = []
        self.confirmations: list[str] = []
        self.lag = 0
        self._later: list[tuple[int, Callable[[], None]]] = []
        self._questions = 0
        self._made = 0

    @property
    def with_values(self) -> int:
        """The number of calls with values of rows."""
        return sum(call.method != "GET" or "filter" in call.query for call in self.calls)

    def by(self, name: str) -> dict[str, dict[str, Any]]:
        """Return the profiles by an identifier."""
        return {profile[name]: profile for profile in self.profiles.values() if profile.get(name)}

    def state(self, external_id: str, channel: str = "email") -> str:
        """Return the state of a person in a channel."""
        profile = next(one for one, found in self.profiles.items() if found["external_id"] == external_id)
        return self.states.get((profile, channel), "NEVER_SUBSCRIBED")

    def opt_out(self, external_id: str, channel: str = "email") -> None:
        """Unsubscribe a person, as by a link in a message."""
        profile = next(one for one, found in self.profiles.items() if found["external_id"] == external_id)
        self.states[profile, channel] = "UNSUBSCRIBED"

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
            case "POST", ["profile-subscription-bulk-create-jobs"]:
                return self._subscribe(call)
            case "POST", ["profile-suppression-bulk-create-jobs"]:
                people = self.shaped(call, Leaving).data.attributes.profiles.data
                self.expect(0 < len(people) <= 100, "1 to 100 addresses")
                self.expect(all(one.attributes.email for one in people), "no address")
                for one in people:
                    self._known({"email": one.attributes.email})
                    self.suppressed.add(str(one.attributes.email))
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

    def _known(self, given: dict[str, Any]) -> str:
        """Return the profile of an address, made if there is none."""
        return self._upserted(given)

    def _unsubscribe(self, call: Asked) -> Reply:
        job = self.shaped(call, Leaving).data
        people = job.attributes.profiles.data
        self.expect(0 < len(people) <= 100, "1 to 100 profiles")
        list_id = job.relationships.list.data.id if job.relationships else ""
        for one in people:
            for channel, address in self._addresses(one.attributes):
                self._soon(partial(self._unsubscribed, list_id, channel, address))
        return Reply(202)

    def _unsubscribed(self, list_id: str, channel: str, address: dict[str, Any]) -> None:
        profile, (text,) = self._known(address), address.values()
        is_member = profile in self.lists.get(list_id, set())
        self.unsubscribed.append((text, list_id if is_member else "everything"))
        if is_member:
            self.list_suppressions.setdefault(profile, []).append("UNSUBSCRIBE")
            self.lists[list_id].discard(profile)
        else:
            self.states[profile, channel] = "UNSUBSCRIBED"

    def _subscribe(self, call: Asked) -> Reply:
        job = self.shaped(call, Joining).data.attributes
        self.expect(0 < len(job.profiles.data) <= 1000, "1 to 1,000 profiles")
        for one in job.profiles.data:
            for channel, address in self._addresses(one.attributes):
                given = getattr(one.attributes.subscriptions, channel).marketing.consented_at
                self.expect(
                    (given is not None) is bool(job.historical_import), "consented_at without historical_import"
                )
                self.expect(given is None or given < datetime.now(UTC), "consented_at is ahead")
                self._soon(partial(self._joined, channel, address, given))
        return Reply(202)

    def _joined(self, channel: str, address: dict[str, Any], given: datetime | None) -> None:
        profile, (text,) = self._known(address), address.values()
        if self.states.get((profile, channel)) == "UNSUBSCRIBED" or self._suppressions(profile):
            self.opt_outs_deleted.append((text, channel))
        if channel == "email":
            kept = [one for one in self.suppressions.get(profile, []) if one in {"HARD_BOUNCE", "INVALID_EMAIL"}]
            self.suppressions[profile] = kept
            self.suppressed.discard(text)
        self.subscribed.append((text, channel, given))
        if given is None:
            self.confirmations.append(text)
        else:
            self.states[profile, channel] = "SUBSCRIBED"

    def _addresses(self, person: Leaver | Joiner) -> list[tuple[str, dict[str, Any]]]:
        """Return the channels of a person in a request, each with the attribute that is its address."""
        found: list[tuple[str, dict[str, Any]]] = []
        for channel, name in (("email", "email"), ("sms", "phone_number")):
            if getattr(person.subscriptions, channel, None) is not None:
                address = getattr(person, name)
                self.expect(address is not None, f"no {name} for {channel}")
                self.expect(channel == "email" or re.fullmatch(r"\+[1-9][0-9]{6,14}", address) is not None, "no E.164")
                found.append((channel, {name: address}))
        self.expect(bool(found), "no subscriptions")
        return found

    def _soon(self, apply: Callable[[], None]) -> None:
        if self.lag:
            self._later.append((self._questions + self.lag, apply))
        else:
            apply()

    def _suppressions(self, profile: str) -> list[str]:
        by_hand = ["USER_SUPPRESSED"] if self.profiles[profile].get("email") in self.suppressed else []
        return [*self.suppressions.get(profile, []), *self.list_suppressions.get(profile, []), *by_hand]

    def _filtered(self, call: Asked, chosen: set[str]) -> Reply:
        self._questions += 1
        for due, apply in [one for one in self._later if one[0] <= self._questions]:
            self._later.remove((due, apply))
            apply()
        found = _ANY.fullmatch(call.query["filter"][0])
        self.expect(found is not None, "a filter that cannot be parsed")
        assert found is not None
        name, values = found[1], {str(value) for value in json.loads(found[2])}
        self.expect(0 < len(values) <= 100 and call.query.get("page[size]") == ["100"], "up to 100 values, page of 100")
        with_states = call.query.get("additional-fields[profile]") == ["subscriptions"]
        fields = call.query["fields[profile]"][0].split(",")
        self.expect(with_states == ("subscriptions" in fields), "a field that is not asked for")
        data = [
            {"type": "profile", "id": one, "attributes": {n: self._attribute(one, n) for n in fields}}
            for one, profile in self.profiles.items()
            if one in chosen and profile.get(name) in values
        ]
        return Reply(200, {"data": data, "links": {"next": None}})

    def _attribute(self, one: str, name: str) -> Any:
        profile = self.profiles[one]
        if name != "subscriptions":
            return profile.get(name)
        stamp = "2026-11-01T10:00:00+00:00"
        globally = [{"reason": why, "timestamp": stamp} for why in self.suppressions.get(one, [])]
        if profile.get("email") in self.suppressed:
            globally.append({"reason": "USER_SUPPRESSED", "timestamp": stamp})
        email = {
            "can_receive_email_marketing": self.states.get((one, "email")) != "UNSUBSCRIBED" and not globally,
            "consent": self.states.get((one, "email"), "NEVER_SUBSCRIBED"),
            "suppression": globally,
            "list_suppressions": [
                {"list_id": "L1", "reason": why, "timestamp": stamp} for why in self.list_suppressions.get(one, [])
            ],
        }
        state = self.states.get((one, "sms"), "NEVER_SUBSCRIBED")
        sms = {"can_receive_sms_marketing": state == "SUBSCRIBED", "consent": state}
        return {
            "email": {"marketing": email if profile.get("email") else None},
            "sms": {"marketing": sms if profile.get("phone_number") else None},
        }

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
