"""The policies that a sync was decided under, the newest last: the base for comparing a changed policy.

A policy is written once, at its first decision, with the consent mapping of that run, is signed, and is never changed.
It is written again with another mapping. Both name categories, destinations and columns, but no person. An entry of an
earlier release without a signature counts only as the beginning of a history, and the next run adds the last policy
with one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from airflow_consent_retl.consent import ConsentPolicy, parse_recorded_policy, policy_document
from airflow_consent_retl.errors import PolicyError, RefusedError
from airflow_consent_retl.storage.signing import SignatureState

if TYPE_CHECKING:
    from airflow_consent_retl.consent import MappingDocument
    from airflow_consent_retl.storage.folder import Folder

_NAME: Final = "%Y%m%dt%H%M%S%f.json"
_TICK: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class PolicyHistory:
    """The policies of one sync: one model at one destination, whichever task decides.

    Args:
        folder: the folder of their files.
    """

    folder: Folder

    def latest(self) -> ConsentPolicy | None:
        """Return the policy of the last run that published; None before the first, or if it is lost for good.

        Raises:
            RefusedError: the file cannot be read, or its policy has another digest than it names.
        """
        names = self._names()
        if not names:
            return None
        kept = self._read(names[-1])
        if kept["digest"] is None:
            return None
        try:
            policy = parse_recorded_policy(kept["policy"])
        except (ValueError, KeyError, PolicyError):
            raise self._unreadable(names[-1]) from None
        if policy.digest != kept["digest"]:
            raise RefusedError(f"{self.folder.uri}/{names[-1]}: not the policy that it names")
        return policy

    def latest_mapping(self) -> tuple[MappingDocument, datetime] | None:
        """Return the consent mapping of the newest entry, and since when it holds; None: an entry without one.

        Raises:
            RefusedError: the file cannot be read.
        """
        for name in self._names()[-1:]:
            kept = self._read(name)
            if kept["consent"] is not None:
                try:
                    return dict(kept["consent"]), datetime.fromisoformat(kept["since"])
                except (ValueError, TypeError):
                    raise self._unreadable(name) from None
        return None

    def lacks(self, digest: str, *, at: datetime) -> bool:
        """Return whether the history does not show that a run decided under a policy at a time.

        Then it was emptied, or an older backup replaced it. A policy that holds from a later time on counts: a history
        that is filled again begins there.

        Args:
            digest: of the policy.
            at: the time of the decision.

        Raises:
            RefusedError: a file was changed.
        """
        names, until = self._names(), _name(at)
        earlier = [name for name in names if name <= until]
        candidates = [*earlier[-1:], *names[len(earlier) :]]
        for name in candidates:
            found = self._read(name)["digest"]
            if found == digest or (found is None and name > until):
                return False
            if name == until:
                raise RefusedError(f"{self.folder.uri}/{name}: not the policy under which the run of this time decided")
        return True

    @property
    def is_signed(self) -> bool:
        """True if the newest entry is signed, if there is none, or where entries are not signed at all."""
        newest = self._names()[-1:] if self.folder.signs else []
        return all(self.folder.signature_state(name) is not SignatureState.UNSIGNED for name in newest)

    def copy_to(self, other: PolicyHistory) -> None:
        """Add the entries, in their order, to the history of the sync's new name, which may have some of them."""
        present = set(other._names())
        for name in self._names():
            if name not in present:
                at = datetime.strptime(name, _NAME).replace(tzinfo=UTC)
                other._write({**self._read(name), "since": at.isoformat()}, at)

    def add(self, policy: ConsentPolicy, *, at: datetime, consent: MappingDocument | None = None) -> None:
        """Write a policy that a run decided under, if it or its mapping differs from the latest.

        Args:
            policy: its policy.
            at: the time of the decision.
            consent: the document of its consent mapping; None: unknown.
        """
        written = {"digest": policy.digest, "since": at.isoformat(), "policy": policy_document(policy)}
        self._write({**written, "consent": consent}, at)

    def declare_whole(self, *, at: datetime) -> None:
        """Write that a person accepted the history, although the policy of the last run is unknown."""
        self._write({"digest": None, "since": at.isoformat(), "policy": None, "consent": None}, at)

    def _names(self) -> list[str]:
        return sorted(name for name in self.folder.names() if name.endswith(".json"))

    @property
    def _of(self) -> str:
        """The sync, as the names of folders have it: a signed entry of another one is no entry of this one."""
        return f"{self.folder.parent.name}/{self.folder.name}"

    def _read(self, name: str) -> dict[str, Any]:
        is_signed = self.folder.signs and not self._is_of_earlier_release(name)
        content = self.folder.read_document(name) if is_signed else self.folder.read(name)
        try:
            kept: dict[str, Any] = json.loads(content)
            # An earlier release wrote no mapping.
            found = {name: kept[name] for name in ("digest", "since", "policy")} | {"consent": kept.get("consent")}
            if is_signed and (kept["of"], kept["name"]) != (self._of, name):
                raise RefusedError(f"{self.folder.uri}/{name} is a copy of {kept['of']}/{kept['name']}: remove it")
        except (ValueError, KeyError, TypeError):
            raise self._unreadable(name) from None
        return found

    def _is_of_earlier_release(self, name: str) -> bool:
        """Return whether an entry has no signature, and no entry before it has one."""
        names = self._names()
        until = names[: names.index(name) + 1] if name in names else [name]
        return all(self.folder.signature_state(one) is SignatureState.UNSIGNED for one in until)

    def _unreadable(self, name: str) -> RefusedError:
        return RefusedError(f"{self.folder.uri}/{name}: no policy of this version of the package")

    def _write(self, document: Mapping[str, object], at: datetime) -> None:
        self.folder.make()
        name = self._next_name(at)
        entry = {**document, "of": self._of, "name": name}
        self.folder.publish(json.dumps(entry, indent=2).encode(), name=name)

    def _next_name(self, at: datetime) -> str:
        """Return the name of an entry of a time; after one of the future, which was written under a wrong clock."""
        last, now = max(self._names(), default=""), datetime.now(UTC)
        # A run that began earlier may end later: its policy is not the newest.
        is_ahead = _name(at) <= last and last > _name(now)
        return _name(datetime.strptime(last, _NAME).replace(tzinfo=UTC) + _TICK if is_ahead else at)


def _name(at: datetime) -> str:
    return at.astimezone(UTC).strftime(_NAME)
