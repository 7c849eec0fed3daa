"""How long each kind of stored rows and records is kept, as a policy declares it. Deletes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from airflow_consent_retl.consent.freshness import MaxAge

Kind = Literal["snapshots", "permitted_sets", "changes", "file_versions", "staging_tables", "evidence"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class Kept:
    """The most that is kept of one kind: None where the policy does not say.

    Args:
        max_age: older ones are deleted.
        number: only so many of the newest are kept.
    """

    max_age: MaxAge | None = None
    number: int | None = None


@dataclass(frozen=True, slots=True)
class Retention:
    """What a policy declares about each kind."""

    declared: tuple[tuple[Kind, Kept], ...] = ()

    def of(self, kind: Kind) -> Kept:
        """Return what the policy declares about a kind; an empty `Kept` where it says nothing."""
        return dict(self.declared).get(kind, Kept())


NO_RETENTION = Retention()
