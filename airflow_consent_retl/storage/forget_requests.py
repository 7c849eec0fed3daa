"""Requests to forget people, with what became of each person at each destination, by keyed digest.

    suppression/requests/<request>/request.json, at-<sync>.json, at-rest.json

They name no one to a reader who has no digest key, and stay as proof. A request that was begun and not finished is
resumed from them: a person who was found at a destination once is never reported as not found.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Literal

import msgspec
from pydantic import AwareDatetime

from airflow_consent_retl.errors import ConfigurationError, RefusedError
from airflow_consent_retl.storage.manifest import Document

if TYPE_CHECKING:
    from airflow_consent_retl.storage.folder import Folder

_REQUEST, _SUPPRESSED, _AT, _AT_REST, _ENDING = "request.json", "suppressed.json", "at-", "at-rest.json", ".json"


class ForgetStatus(StrEnum):
    """What became of a person at a destination. The first four are the statuses of California's DROP."""

    DELETED = "deleted"
    # Removed after an objection: what lies at rest stays until its retention.
    OPTED_OUT = "opted_out"
    # The request names the destination, with a reason, as one that keeps the person.
    EXEMPTED = "exempted"
    NOT_FOUND = "not_found"
    CANNOT_REMOVE = "cannot_remove"
    # Found, and not removed yet.
    WAITING = "waiting"
    # Found, and the request has no load that could remove the person.
    NOT_SERVED = "not_served"
    # The destination answered that it did not remove the person.
    NOT_CONFIRMED = "not_confirmed"
    # No clear answer, or an earlier request may still bring the person back.
    UNCERTAIN = "uncertain"


FINAL: Final = frozenset(
    {
        ForgetStatus.DELETED,
        ForgetStatus.OPTED_OUT,
        ForgetStatus.EXEMPTED,
        ForgetStatus.NOT_FOUND,
        ForgetStatus.CANNOT_REMOVE,
    }
)


class ForgetRequest(Document):
    """One request: who is forgotten, where, and how far."""

    kind: Literal["forget_request"] = "forget_request"
    version: Literal[1] = 1
    id: str
    at: AwareDatetime
    by: str
    # Of the digest key that made the digests.
    key_id: str
    # Whether rows at rest are deleted; otherwise the people only object.
    erase: bool
    models: tuple[str, ...] | None
    digests: tuple[str, ...]
    # Names of destinations or syncs that keep the people, each with the reason.
    exempt: dict[str, str]

    def exemption(self, sync: str) -> str | None:
        """Return the reason why a sync keeps the people; None if it does not."""
        return self.exempt.get(sync, self.exempt.get(sync.rpartition("/")[2]))

    def is_about(self, model: str) -> bool:
        """Return whether the request concerns a model."""
        return self.models is None or model in self.models


class ForgottenAt(Document):
    """What became of the people of a request at one destination: each has one status."""

    kind: Literal["forgotten_at"] = "forgotten_at"
    version: Literal[1] = 1
    sync: str
    destination: str
    at: AwareDatetime
    # Digests by `ForgetStatus`.
    people: dict[str, tuple[str, ...]]
    # Why a destination keeps people, or did not remove them.
    reason: str = ""

    @property
    def counts(self) -> dict[str, int]:
        """The number of people by status."""
        return {status: len(digests) for status, digests in self.people.items() if digests}

    @property
    def found(self) -> set[str]:
        """The people who were found there at any time."""
        return {one for status, some in self.people.items() if status != ForgetStatus.NOT_FOUND for one in some}

    @property
    def is_final(self) -> bool:
        """Whether nothing is left to do there."""
        return all(ForgetStatus(status) in FINAL for status in self.counts)


class ErasedAtRest(Document):
    """The rows at rest that were deleted for a request, over all of its tries."""

    kind: Literal["erased_at_rest"] = "erased_at_rest"
    version: Literal[1] = 1
    at: AwareDatetime
    snapshots: int = 0
    permitted: int = 0
    # Whether the latest try looked at everything.
    is_complete: bool = False


class _About(msgspec.Struct):
    """The part of a request that tells whether it names a person."""

    key_id: str
    digests: frozenset[str]


@dataclass(frozen=True, slots=True)
class ForgetRequests:
    """The requests of one workspace.

    Args:
        folder: `requests` in the folder of the suppression list.
    """

    folder: Folder

    def begin(
        self,
        digests: Collection[str],
        *,
        key_id: str,
        by: str,
        erase: bool,
        models: Sequence[str] | None,
        exempt: Mapping[str, str],
    ) -> ForgetRequest:
        """Write a request before anything is done; the same people, again, are the same request."""
        known = None if models is None else tuple(sorted(set(models)))
        people = tuple(sorted(digests))
        identity = json.dumps([key_id, erase, known, people])
        name = hashlib.sha256(identity.encode()).hexdigest()[:16]
        begun = self._read(name)
        request = ForgetRequest(
            id=name,
            at=datetime.now(UTC) if begun is None else begun.at,
            by=by,
            key_id=key_id,
            erase=erase,
            models=known,
            digests=people,
            exempt=dict(exempt),
        )
        (self.folder / name).put_document(_REQUEST, request.to_json())
        return request

    def all(self) -> Iterator[ForgetRequest]:
        """Yield all requests, the earliest first."""
        found = [request for name in self.folder.names() if (request := self._read(name)) is not None]
        yield from sorted(found, key=lambda request: request.at)

    def naming(self, person: Collection[str], *, key_ids: Collection[str], verify: bool) -> list[ForgetRequest]:
        """Return the requests that name a person, the earliest first.

        Args:
            person: the digests of the person, under each known key.
            key_ids: the known keys.
            verify: check the signature of every request; otherwise of those that name the person.

        Raises:
            RefusedError: a request is not signed, or was changed.
            ConfigurationError: one was made under a key that is not known.
        """
        found = []
        for name in self.folder.names():
            folder = self.folder / name
            if not folder.exists(_REQUEST):
                continue
            content = folder.read_document(_REQUEST) if verify else folder.read(_REQUEST)
            about = _decoded(content, folder)
            if about.key_id not in key_ids:
                raise ConfigurationError(
                    f"{folder.uri}: this request was made under digest key {about.key_id}, which is not known: add "
                    "the secret of that time to `[consent_retl] digest_key_previous`"
                )
            if not about.digests.isdisjoint(person):
                found.append(ForgetRequest.from_json(folder.read_document(_REQUEST)))
        return sorted(found, key=lambda request: request.at)

    def note(self, request: ForgetRequest, found: ForgottenAt) -> None:
        """Write what became of the people at one destination, in place of what was known before."""
        (self.folder / request.id).put_document(_name_of(found.sync), found.to_json())

    def noted(self, request: ForgetRequest, sync: str) -> ForgottenAt | None:
        """Return what is known of one destination; None if it was not looked at yet."""
        folder = self.folder / request.id
        return ForgottenAt.from_json(folder.read_document(_name_of(sync))) if folder.exists(_name_of(sync)) else None

    def destinations(self, request: ForgetRequest) -> list[ForgottenAt]:
        """Return what is known of all destinations, by sync."""
        folder = self.folder / request.id
        names = sorted(name for name in folder.names() if name.startswith(_AT) and name != _AT_REST)
        found = [ForgottenAt.from_json(folder.read_document(name)) for name in names if name.endswith(_ENDING)]
        return sorted(found, key=lambda one: one.sync)

    def note_at_rest(self, request: ForgetRequest, erased: ErasedAtRest) -> None:
        """Write what was deleted at rest."""
        (self.folder / request.id).put_document(_AT_REST, erased.to_json())

    def at_rest(self, request: ForgetRequest) -> ErasedAtRest | None:
        """Return what was deleted at rest; None before the first try."""
        folder = self.folder / request.id
        return ErasedAtRest.from_json(folder.read_document(_AT_REST)) if folder.exists(_AT_REST) else None

    def is_complete(self, request: ForgetRequest) -> bool:
        """Return whether nothing is left to do for a request."""
        places = self.destinations(request)
        rest = self.at_rest(request)
        return all(one.is_final for one in places) and (not request.erase or (rest is not None and rest.is_complete))

    def ended(self, *, before: datetime) -> Iterator[tuple[Folder, datetime]]:
        """Yield the folder of each finished request, and its last time, if nothing happened to it since a time.

        A request that cannot be read is left.
        """
        for name in self.folder.names():
            with suppress(RefusedError):
                request = self._read(name)
                if request is None or request.at >= before or not self.is_complete(request):
                    continue
                rest = self.at_rest(request)
                times = [request.at, *(one.at for one in self.destinations(request))]
                last = max([*times, *([] if rest is None else [rest.at])])
                if last < before:
                    yield self.folder / name, last

    def note_suppressed(self, request: ForgetRequest) -> None:
        """Write that the people were put on the suppression list."""
        (self.folder / request.id).put_document(_SUPPRESSED, json.dumps({"request": request.id}, indent=2).encode())

    def were_suppressed(self, request: ForgetRequest) -> bool:
        """Return whether the people were put on the suppression list: whoever is not on it now was taken off it."""
        folder = self.folder / request.id
        return folder.exists(_SUPPRESSED) and bool(folder.read_document(_SUPPRESSED))

    def _read(self, name: str) -> ForgetRequest | None:
        folder = self.folder / name
        return ForgetRequest.from_json(folder.read_document(_REQUEST)) if folder.exists(_REQUEST) else None


def worst_statuses(places: Collection[ForgottenAt], digests: Collection[str]) -> Counter[ForgetStatus]:
    """Count people by the status that is left to report: the least final one of all destinations."""
    order = [*ForgetStatus]
    ranks = {status: rank for rank, status in enumerate([ForgetStatus.NOT_FOUND, *order[:3], *order[4:]])}
    worst = dict.fromkeys(digests, ForgetStatus.NOT_FOUND)
    for place in places:
        for text, people in place.people.items():
            for one in people:
                if one in worst:
                    worst[one] = max(worst[one], ForgetStatus(text), key=ranks.__getitem__)
    return Counter(worst.values())


def _decoded(content: bytes, folder: Folder) -> _About:
    try:
        return msgspec.json.decode(content, type=_About)
    except msgspec.DecodeError:
        raise RefusedError(f"{folder.uri}/{_REQUEST}: no request to forget people") from None


def _name_of(sync: str) -> str:
    return f"{_AT}{hashlib.sha256(sync.encode()).hexdigest()[:16]}{_ENDING}"
