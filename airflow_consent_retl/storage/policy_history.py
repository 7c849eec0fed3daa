"""The policies that a sync was decided under, the newest last: the base for comparing a changed policy.

A policy is written once, at its first decision, and never changed. It names categories and destinations, but no
person.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.consent import ConsentPolicy, parse_recorded_policy, policy_document
from airflow_consent_retl.errors import PolicyError, RefusedError

if TYPE_CHECKING:
    from airflow_consent_retl.storage.folder import Folder


@dataclass(frozen=True, slots=True)
class PolicyHistory:
    """The policies of one sync: one model at one destination, whichever task decides.

    Args:
        folder: the folder of their files.
    """

    folder: Folder

    def latest(self) -> ConsentPolicy | None:
        """Return the policy of the last run that published; None before the first.

        Raises:
            RefusedError: the file cannot be read, or its policy has another digest than it names.
        """
        names = sorted(name for name in self.folder.names() if name.endswith(".json"))
        if not names:
            return None
        try:
            kept: dict[str, Any] = json.loads(self.folder.read(names[-1]))
            policy = parse_recorded_policy(kept["policy"])
        except (ValueError, KeyError, PolicyError):
            raise RefusedError(f"{self.folder.uri}/{names[-1]}: no policy of this version of the package") from None
        if policy.digest != kept["digest"]:
            raise RefusedError(f"{self.folder.uri}/{names[-1]}: not the policy that it names")
        return policy

    def add(self, policy: ConsentPolicy, *, at: datetime) -> None:
        """Write a policy that a run decided under and that differs from the latest."""
        document = {"digest": policy.digest, "since": at.isoformat(), "policy": policy_document(policy)}
        self.folder.make()
        with self.folder.create(f"{at.astimezone(UTC):%Y%m%dt%H%M%S%f}.json") as file:
            file.write(json.dumps(document, indent=2).encode())
