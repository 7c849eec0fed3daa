"""Which policies a task decided under, the newest last: what a changed policy is held against.

A policy is written once, when it is first decided under; nothing is ever changed. It names categories and
destinations, and nobody.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.consent import ConsentPolicy, parse_policy, policy_document
from airflow_consent_retl.errors import PolicyError, RefusedError

if TYPE_CHECKING:
    from airflow_consent_retl.storage.folder import Folder


@dataclass(frozen=True, slots=True)
class PolicyHistory:
    """The policies of one task.

    Args:
        folder: where they are kept.
    """

    folder: Folder

    def latest(self) -> ConsentPolicy | None:
        """Return the policy of the last run that published; None before the first.

        Raises:
            RefusedError: what is kept cannot be read as the policy that it names.
        """
        names = sorted(name for name in self.folder.names() if name.endswith(".json"))
        if not names:
            return None
        try:
            kept: dict[str, Any] = json.loads(self.folder.read(names[-1]))
            policy = parse_policy(kept["policy"])
        except (ValueError, KeyError, PolicyError):
            raise RefusedError(f"{self.folder.uri}/{names[-1]}: no policy of this version of the package") from None
        if policy.digest != kept["digest"]:
            raise RefusedError(f"{self.folder.uri}/{names[-1]}: not the policy that it names")
        return policy

    def add(self, policy: ConsentPolicy, *, at: datetime) -> None:
        """Keep a policy that a run decided under and that is another one than the latest."""
        document = {"digest": policy.digest, "since": at.isoformat(), "policy": policy_document(policy)}
        self.folder.make()
        with self.folder.create(f"{at.astimezone(UTC):%Y%m%dt%H%M%S%f}.json") as file:
            file.write(json.dumps(document, indent=2).encode())
