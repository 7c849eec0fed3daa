"""The suppression list of a workspace: who was forgotten, by keyed digest, so that the list itself names no one.

    suppression/acts/<time>-<16 hex digits>.json, known

Each file is one act: it puts people on the list, or takes people off it who consented anew. Files are only added. An
act that takes people off names the acts that it takes back, so the clocks of two machines do not matter.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Final, Literal

from pydantic import AwareDatetime

from airflow_consent_retl.consent.match_forms import in_form
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.storage.forget_requests import ForgetRequests
from airflow_consent_retl.storage.forgotten import FORM, NOBODY, ForgottenPeople, digest_of
from airflow_consent_retl.storage.known_files import KNOWN, check_known
from airflow_consent_retl.storage.manifest import Document, sha256_hex

if TYPE_CHECKING:
    from airflow_consent_retl.storage.decision_log import SubjectKey
    from airflow_consent_retl.storage.folder import Folder

FOLDER: Final = "suppression"
REQUESTS: Final = "requests"
_ACTS = "acts"
_ENDING = ".json"
_SALT = "suppression list"


class KnownActs(Document):
    """The names of all acts that there were when the last one was written."""

    kind: Literal["suppression_acts"] = "suppression_acts"
    version: Literal[1] = 1
    acts: tuple[str, ...]


class SuppressionAct(Document):
    """One act: some people are forgotten, or the acts that forgot them are taken back."""

    kind: Literal["suppression"] = "suppression"
    version: Literal[1] = 1
    act: Literal["forget", "lift"]
    at: AwareDatetime
    # The task or the login that did it.
    by: str
    # Of the digest key that made the digests.
    key_id: str
    # The models whose rows are withheld; None: all of the workspace, also later ones.
    models: tuple[str, ...] | None
    digests: tuple[str, ...]
    # The names of the acts that are taken back for these people.
    lifted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Entry:
    digest: str
    models: tuple[str, ...] | None
    act: str


# The digests of one person under each digest key, the present one first.
Person = tuple[str, ...]


def acts_in(workspace: Folder) -> int:
    """Return how many acts the suppression list of the workspace with this root has."""
    return sum(name.endswith(_ENDING) for name in (workspace / FOLDER / _ACTS).names())


class ForgottenList:
    """The list of one workspace.

    Args:
        folder: `FOLDER` in the workspace.
        key: returns the deployment's digest key, with those that it replaced; called only if it is needed.
    """

    def __init__(self, folder: Folder, key: Callable[[], SubjectKey]) -> None:
        self._folder = folder
        self._acts = folder / _ACTS
        self._key = key

    @cached_property
    def _salts(self) -> dict[str, str]:
        present = self._key()
        return {key.key_id: key.salt(_SALT) for key in (present, *present.earlier)}

    @property
    def key_id(self) -> str:
        """The id of the present digest key."""
        return next(iter(self._salts))

    @property
    def key_ids(self) -> frozenset[str]:
        """The ids of all known digest keys."""
        return frozenset(self._salts)

    def requests(self) -> ForgetRequests:
        """Return the requests to forget people."""
        return ForgetRequests(self._folder / REQUESTS)

    def people(self, texts: Iterable[str]) -> list[Person]:
        """Return each person once; blank texts are no one."""
        folded = sorted({one for text in texts if (one := in_form(text, FORM)) is not None})
        return [tuple(digest_of(salt, text) for salt in self._salts.values()) for text in folded]

    def named(self, digests: Collection[str], *, key_id: str) -> ForgottenPeople:
        """Return people of a document of this workspace, whether they are on the list or not.

        Raises:
            ConfigurationError: the document was made under a digest key that the deployment does not have any more.
        """
        self._check_known({key_id})
        return ForgottenPeople((self._salts[key_id],), digests)

    def of_model(self, model: str) -> ForgottenPeople:
        """Return the people who are on the list for a model.

        Raises:
            ConfigurationError: the list was made under a digest key that the deployment does not have any more.
            RefusedError: a file of the list cannot be read.
        """
        entries = self._entries()
        found = {entry.digest for entry in entries if entry.models is None or model in entry.models}
        return ForgottenPeople(tuple(self._salts.values()), found) if found else NOBODY

    @property
    def state(self) -> str:
        """A digest of everything that is on the list; empty if nothing ever was."""
        names = self._names()
        return sha256_hex("\n".join(names).encode()) if names else ""

    def still_listed(self, digests: Collection[str]) -> set[str]:
        """Return those of some digests that are on the list, for any model."""
        return {entry.digest for entry in self._entries()}.intersection(digests)

    def forget(
        self, people: Collection[Person], *, models: Sequence[str] | None, by: str, key_id: str | None = None
    ) -> int:
        """Put people on the list who are not on it yet for these models, and return their number.

        Args:
            people: each with one digest at least.
            models: the models whose rows are withheld; None: all of the workspace, also later ones.
            by: a description of the caller.
            key_id: of the digest key that made the first digest of each person; None: the present key.
        """
        listed: dict[str, list[tuple[str, ...] | None]] = {}
        for entry in self._entries():
            listed.setdefault(entry.digest, []).append(entry.models)
        new = sorted(
            person[0]
            for person in people
            if not _covers([some for digest in person for some in listed.get(digest, ())], models)
        )
        if new:
            self._add("forget", new, models=models, by=by, key_id=key_id)
        return len(new)

    def lift(self, people: Collection[Person], *, by: str) -> int:
        """Take people off the list, for all models, and return the number of those who were on it."""
        entries = self._entries()
        on_it = {entry.digest for entry in entries}
        found = [person for person in people if on_it.intersection(person)]
        taken = on_it.intersection(digest for person in found for digest in person)
        if found:
            lifted = tuple(sorted({entry.act for entry in entries if entry.digest in taken}))
            self._add("lift", sorted(taken), models=None, by=by, lifted=lifted)
        return len(found)

    def acts_about(self, person: Collection[str]) -> list[SuppressionAct]:
        """Return the acts that name a person, given by the digests under each key, the earliest first.

        Raises:
            ConfigurationError: an act was made under a digest key that the deployment does not have any more.
            RefusedError: a file of the list cannot be read.
        """
        acts = self._read_acts().values()
        self._check_known({act.key_id for act in acts})
        return [act for act in acts if not set(act.digests).isdisjoint(person)]

    def _read_acts(self) -> dict[str, SuppressionAct]:
        return {name: SuppressionAct.from_json(self._acts.read_document(name)) for name in self._names()}

    def _entries(self) -> list[_Entry]:
        acts = self._read_acts()
        if not acts:
            return []
        self._check_known({act.key_id for act in acts.values()})
        lifted = {
            (name, digest)
            for act in acts.values()
            if act.act == "lift"
            for name in act.lifted
            for digest in act.digests
        }
        return [
            _Entry(digest, act.models, name)
            for name, act in acts.items()
            if act.act == "forget"
            for digest in act.digests
            if (name, digest) not in lifted
        ]

    def _check_known(self, key_ids: set[str]) -> None:
        if unknown := sorted(key_ids - self._salts.keys()):
            raise ConfigurationError(
                f"{self._acts.uri}: people were forgotten under digest key {', '.join(unknown)}, which is not "
                f"configured, so no one of them would be recognised; the present key is {self.key_id}: add the secret "
                "of that time to `[consent_retl] digest_key_previous`"
            )

    def _names(self) -> list[str]:
        there = self._acts.names()
        names = sorted(name for name in there if name.endswith(_ENDING))
        if KNOWN in there:
            # INVARIANT: no one comes back because a file of the list is gone.
            check_known(names, KnownActs.from_json(self._acts.read_document(KNOWN)).acts, place=self._acts.uri)
        return names

    def _add(
        self,
        act: Literal["forget", "lift"],
        digests: Sequence[str],
        *,
        models: Sequence[str] | None,
        by: str,
        key_id: str | None = None,
        lifted: tuple[str, ...] = (),
    ) -> None:
        at = datetime.now(UTC)
        document = SuppressionAct(
            act=act,
            at=at,
            by=by,
            key_id=key_id or self.key_id,
            models=None if models is None else tuple(sorted(set(models))),
            digests=tuple(digests),
            lifted=lifted,
        )
        # Written whole, or not at all: half an act would make every filter fail.
        self._acts.put_document(f"{at:%Y%m%dt%H%M%S%f}-{secrets.token_hex(8)}{_ENDING}", document.to_json())
        self._acts.put_document(KNOWN, KnownActs(acts=tuple(self._names())).to_json())


def _covers(listed: Collection[tuple[str, ...] | None], models: Sequence[str] | None) -> bool:
    """Return whether a person who is listed for these models is listed for the wanted ones."""
    if None in listed:
        return True
    return models is not None and set(models) <= {model for some in listed for model in some or ()}
