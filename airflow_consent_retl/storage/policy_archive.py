"""The deployment's archive of policies: each policy that a run saw, when it was in force, its effect, and approvals.

Every file is written once, is signed, and is never changed; only the list of a folder's files is. It names categories
and destinations, and no person but those who approve.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

from airflow_consent_retl.consent import ConsentPolicy, parse_recorded_policy, policy_document
from airflow_consent_retl.errors import PolicyError, RefusedError
from airflow_consent_retl.storage.known_files import KNOWN, check_known
from airflow_consent_retl.storage.signing import SignatureState, SignedDocument, Signer, signed

if TYPE_CHECKING:
    from airflow_consent_retl.storage.folder import Folder

# Of the signatures.
PURPOSE: Final = "policy archive"
_STAMP = "%Y%m%dt%H%M%S%f"
_TICK = timedelta(microseconds=1)
# The name of a period, of an effect and of an approval. Policies are named by their digest.
_PROOF = re.compile(r"\d{8}t\d{12}-[0-9a-f]{8}\.json")


def proofs_in(archive: Folder) -> list[str]:
    """Return the names of all periods, effects and approvals in the archive in this folder, the oldest first."""
    archive.fs.invalidate_cache()
    names = (str(path).rpartition("/")[2] for path in archive.fs.find(archive.path))
    return sorted(name for name in names if _PROOF.fullmatch(name))


@dataclass(frozen=True, slots=True)
class PolicyPeriod:
    """A period in which a policy was in force at a place.

    Args:
        digest: the policy's.
        since: when a run first saw it there.
        until: when a run first saw another one there; None: it is in force.
        change: where the place's own history tells who changed it, such as a commit; None: it does not.
    """

    digest: str
    since: datetime
    until: datetime | None
    change: str | None


@dataclass(frozen=True, slots=True)
class PolicyEffect:
    """The people that a policy's first run with a model gained and lost, by destination, as (gained, lost)."""

    model: str
    replaced: str
    at: datetime
    people: Mapping[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Approval:
    """A named person's approval of a policy for a place.

    Args:
        digest: the policy's.
        place: such as `variable:consent_policy`.
        approved_by: the person's name.
        approved_at: the time.
        note: a reason or a reference.
        is_login: whether the name is that of a user who was logged in to Airflow; otherwise someone typed it.
    """

    digest: str
    place: str
    approved_by: str
    approved_at: datetime
    note: str
    is_login: bool = False

    def __str__(self) -> str:
        by = f"{self.approved_by}, logged in to Airflow" if self.is_login else self.approved_by
        return f"{by}, {self.approved_at:%F %T %Z}{f': {self.note}' if self.note else ''}"


class PolicyArchive:
    """The archive in a folder.

    Args:
        folder: its folder.
        signer: signs every file, and checks every file that is read.
    """

    def __init__(self, folder: Folder, signer: Signer) -> None:
        self._folder = folder
        self._signer = signer

    def keep(self, policy: ConsentPolicy) -> None:
        """Keep a policy, unless it is kept already, under a signature that can be checked."""
        folder, name = self._folder / "documents", f"{_short(policy.digest)}.json"
        if not (folder.exists(name) and self._is_signed(folder.read(name))):
            self._write(folder, name, {"digest": policy.digest, "policy": policy_document(policy)})

    def policy(self, digest: str) -> ConsentPolicy:
        """Return a policy that was kept.

        Raises:
            RefusedError: it was not kept, or its file was changed.
        """
        folder, name = self._folder / "documents", f"{_short(digest)}.json"
        if not folder.exists(name):
            raise RefusedError(f"{folder.uri}/{name} does not exist: no run saw policy {digest}")
        kept = self._read(folder, name)
        try:
            policy = parse_recorded_policy(kept["policy"])
        except PolicyError:
            raise RefusedError(f"{folder.uri}/{name}: no policy of this version of the package") from None
        if policy.digest != digest:
            raise RefusedError(f"{folder.uri}/{name}: not the policy that it names")
        return policy

    def note_in_force(
        self, place: str, policy: ConsentPolicy, *, at: datetime, change_of: Callable[[str], str | None]
    ) -> None:
        """Record that a policy is in force at a place, if it was not the last that was recorded.

        Args:
            place: of the policy.
            policy: that is in force.
            at: the present time.
            change_of: returns what the place's own history tells about the change; asked only if there is one.
        """
        folder = self._place(place)
        last = self._last(folder)
        if last is None or last["digest"] != policy.digest:
            document = {"place": place, "digest": policy.digest, "since": at.isoformat(), "change": change_of(place)}
            # Whatever clock was ahead, the policy in force is the last that was written.
            stamps = [name.partition("-")[0] for name in self._documents(folder)[-1:]]
            after = [datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC) + _TICK for stamp in stamps]
            self._append(folder, _timed(max([at, *after])), document)

    def in_force(self, place: str) -> PolicyPeriod | None:
        """Return the policy that was in force last at a place, and since when; None: no run saw one."""
        last = self._last(self._place(place))
        if last is None:
            return None
        return PolicyPeriod(last["digest"], datetime.fromisoformat(last["since"]), None, last["change"])

    def lacks(self, place: str, digest: str, *, at: datetime) -> bool:
        """Return whether the archive does not show that a policy was in force at a place at a time.

        Then it was emptied, or an older backup replaced it.

        Args:
            place: of the policy.
            digest: of the policy.
            at: the time.
        """
        folder, until = self._place(place), f"{at.astimezone(UTC):{_STAMP}}"
        names = self._documents(folder)
        earlier = [name for name in names if name[: len(until)] <= until]
        # A run notes the policy after it took its own time. A time of the future says nothing: a clock was ahead.
        candidates = names if at > datetime.now(UTC) else [*earlier[-1:], *names[len(earlier) :]]
        return all(self._read(folder, name)["digest"] != digest for name in candidates)

    def periods(self, place: str) -> list[PolicyPeriod]:
        """Return the periods of a place, the oldest first."""
        found = list(self._all(self._place(place)))
        # Two runs may have recorded one change.
        firsts = [one for before, one in zip([None, *found], found, strict=False) if _differs(before, one)]
        since = [datetime.fromisoformat(one["since"]) for one in firsts]
        return [
            PolicyPeriod(one["digest"], start, end, one["change"])
            for one, (start, end) in zip(firsts, zip_longest(since, since[1:]), strict=True)
        ]

    def places(self) -> list[str]:
        """Return the places at which policies were in force, sorted."""
        folder = self._folder / "places"
        found = (self._last(folder / name) for name in folder.names())
        return sorted(one["place"] for one in found if one is not None)

    def note_new_place(self, place: str, *, at: datetime) -> None:
        """Record that a run saw a policy at a place where none was in force yet, so that people find the place."""
        folder, name = self._folder / "new_places", f"{_hashed(place)}.json"
        if not (folder.exists(name) and self._is_signed(folder.read(name))):
            self._write(folder, name, {"place": place, "at": at.isoformat()})

    def new_places(self) -> list[str]:
        """Return the places at which runs saw policies, and none came into force yet, sorted."""
        folder = self._folder / "new_places"
        found = (self._read(folder, name)["place"] for name in folder.names())
        return sorted(place for place in found if not self._documents(self._place(place)))

    def note_effect(self, policy: ConsentPolicy, effect: PolicyEffect) -> None:
        """Record the people that a policy gained and lost at its first run with a model."""
        self._append(self._folder / "effects" / _short(policy.digest), _timed(effect.at), _effect_document(effect))

    def effects(self, digest: str) -> list[PolicyEffect]:
        """Return the effects of a policy, the oldest first."""
        return [_effect(one) for one in self._all(self._folder / "effects" / _short(digest))]

    def note_expected(self, policy: ConsentPolicy, effect: PolicyEffect) -> None:
        """Record the people whom a policy that waits for an approval would gain and lose, by a model's last run."""
        name = f"{_hashed(effect.model)}.json"
        self._write(self._folder / "expected" / _short(policy.digest), name, _effect_document(effect))

    def expected(self, digest: str) -> list[PolicyEffect]:
        """Return the effects that a policy would have, one for each model whose run saw it waiting, by model."""
        folder = self._folder / "expected" / _short(digest)
        found = (_effect(self._read(folder, name)) for name in folder.names())
        return sorted(found, key=lambda effect: effect.model)

    def approve(
        self, policy: ConsentPolicy, place: str, *, by: str, at: datetime, note: str, is_login: bool = False
    ) -> Approval:
        """Record a person's approval of a policy for a place."""
        self.keep(policy)
        document = {
            "digest": policy.digest,
            "place": place,
            "approved_by": by,
            "approved_at": at.isoformat(),
            "note": note,
            "is_login": is_login,
            # The newest record of what is in force there.
            "follows": max(self._documents(self._place(place)), default=""),
        }
        self._append(self._folder / "approvals" / _short(policy.digest), _timed(at), document)
        return Approval(policy.digest, place, by, at, note, is_login)

    def approvals(self, digest: str, place: str) -> list[Approval]:
        """Return the approvals of a policy for a place, the oldest first."""
        return [
            Approval(
                one["digest"],
                one["place"],
                one["approved_by"],
                datetime.fromisoformat(one["approved_at"]),
                one["note"],
                one.get("is_login", False),
            )
            for one in self._all(self._folder / "approvals" / _short(digest))
            if one["digest"] == digest and one["place"] == place
        ]

    def is_approved(self, digest: str, place: str) -> bool:
        """Return whether a policy was approved for a place since another one came into force there.

        An approval of before says nothing about going back to a policy that another one replaced since.
        """
        approvals = [
            one
            for one in self._all(self._folder / "approvals" / _short(digest))
            if one["digest"] == digest and one["place"] == place
        ]
        present = self.in_force(place)
        if present is None or not approvals:
            return bool(approvals)
        folder = self._place(place)
        names = self._documents(folder)
        begin = names[-1]
        for name in reversed(names):
            # Two runs may have recorded one change.
            if self._read(folder, name)["digest"] != present.digest:
                break
            begin = name
        # By names, which are in the order of writing whatever the clocks say. An earlier release noted the time only.
        return any(
            one["follows"] >= begin if "follows" in one else datetime.fromisoformat(one["approved_at"]) >= present.since
            for one in approvals
        )

    def _place(self, place: str) -> Folder:
        return self._folder / "places" / _hashed(place)

    def _last(self, folder: Folder) -> dict[str, Any] | None:
        names = self._documents(folder)
        return self._read(folder, names[-1]) if names else None

    def _all(self, folder: Folder) -> Iterator[dict[str, Any]]:
        for name in self._documents(folder):
            yield self._read(folder, name)

    def _documents(self, folder: Folder) -> list[str]:
        there = folder.names()
        names = sorted(name for name in there if name.endswith(".json"))
        if KNOWN in there:
            check_known(names, self._read(folder, KNOWN)["names"], place=folder.uri)
        return names

    def _append(self, folder: Folder, name: str, document: Mapping[str, object]) -> None:
        self._write(folder, name, document)
        self._write(folder, KNOWN, {"names": self._documents(folder)})

    def _write(self, folder: Folder, name: str, document: Mapping[str, object]) -> None:
        folder.replace(name, signed(json.dumps(document, indent=2).encode(), self._signer, purpose=PURPOSE))

    def _is_signed(self, content: bytes) -> bool:
        return SignedDocument.read(content).state(self._signer, purpose=PURPOSE) is SignatureState.SIGNED

    def _read(self, folder: Folder, name: str) -> dict[str, Any]:
        content = folder.read(name)
        state = SignedDocument.read(content).state(self._signer, purpose=PURPOSE)
        if state is not SignatureState.SIGNED:
            raise RefusedError(
                f"{folder.uri}/{name} is not what this deployment wrote ({state}): restore it from a backup, or give "
                "the key that signed it in `[consent_retl] digest_key_previous`"
            )
        document: dict[str, Any] = json.loads(content)
        return document


def _effect_document(effect: PolicyEffect) -> dict[str, object]:
    return {
        "model": effect.model,
        "replaced": effect.replaced,
        "at": effect.at.isoformat(),
        "people": {name: list(counts) for name, counts in effect.people.items()},
    }


def _effect(document: Mapping[str, Any]) -> PolicyEffect:
    return PolicyEffect(
        document["model"],
        document["replaced"],
        datetime.fromisoformat(document["at"]),
        {name: (gained, lost) for name, (gained, lost) in document["people"].items()},
    )


def _differs(before: Mapping[str, Any] | None, one: Mapping[str, Any]) -> bool:
    return before is None or before["digest"] != one["digest"]


def _hashed(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:32]


def _timed(at: datetime) -> str:
    return f"{at.astimezone(UTC):{_STAMP}}-{uuid.uuid4().hex[:8]}.json"
