"""Policies that wait for an approval, at places of their own in the workspace of a served page."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.served_page import World
from support.sync_figures import POLICY

from airflow_consent_retl.consent import parse_policy
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.hooks.policies import policy_in_force
from airflow_consent_retl.storage.location import policy_archive
from airflow_consent_retl.storage.policy_archive import Approval, PolicyEffect

*_OTHERS, _MARKETING = POLICY["categories"]
LOOSER: dict[str, Any] = {**POLICY, "categories": [*_OTHERS, {**_MARKETING, "destinations": ["braze", "salesforce"]}]}
"""A policy that may permit more than `POLICY`: `klaviyo` needs one category less."""


@dataclass(frozen=True)
class Waiting:
    """A policy that waits in a Variable."""

    world: World
    key: str

    @property
    def place(self) -> str:
        """The place of the policy."""
        return f"variable:{self.key}"

    @property
    def digest(self) -> str:
        """The digest of the policy that waits."""
        return parse_policy(LOOSER).digest

    @property
    def approvals(self) -> list[Approval]:
        """The approvals of it."""
        with _workspace(self.world):
            return policy_archive().approvals(self.digest, self.place)


def waiting_policy(world: World) -> Waiting:
    """Put `LOOSER` into a Variable where `POLICY` is in force, as a run leaves it that saw it wait."""
    found = Waiting(world, f"policy_{uuid.uuid4().hex[:8]}")
    at = datetime.now(UTC)
    with _workspace(world):
        archive, present, looser = policy_archive(), parse_policy(POLICY), parse_policy(LOOSER)
        archive.note_in_force(found.place, present, at=at - timedelta(days=3), change_of=lambda place: None)
        effect = PolicyEffect("customers", present.digest, at, {"klaviyo": (1_204, 7)})
        archive.note_expected(looser, effect)
    world.server.set_variable(found.key, json.dumps(LOOSER))
    return found


def first_policy(world: World) -> Waiting:
    """Put `LOOSER` into a Variable where no policy was in force, and let a run see it, which is refused."""
    found = Waiting(world, f"policy_{uuid.uuid4().hex[:8]}")
    with _workspace(world), pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__CONSENT_RETL__APPROVAL_REQUIRED", "True")
        patch.setenv(f"AIRFLOW_VAR_{found.key.upper()}", json.dumps(LOOSER))
        with pytest.raises(ConfigurationError, match="was never approved"):
            policy_in_force(found.place)
    world.server.set_variable(found.key, json.dumps(LOOSER))
    return found


@contextmanager
def _workspace(world: World) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", world.workspace.as_uri())
        yield
