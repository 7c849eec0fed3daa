"""The end of each kind's retention: the setting's, or the deployment's policy's where it is stricter."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from airflow_consent_retl.compat import conf
from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_consent_retl.consent.retention import Kept, Kind
    from airflow_consent_retl.storage.expired import Limit

_DAYS = {"evidence": ("evidence_days", 1096.0)}
_SNAPSHOT_DAYS = ("snapshot_days", 7.0)
# Each file has an end of its own, and no newest ones of a model.
_WITHOUT_NUMBER = frozenset({"evidence", "changes", "staging_tables"})


def retention_limits(at: datetime) -> dict[str, Limit]:
    """Return the limit of each kind that `prune` deletes.

    Args:
        at: the present time.

    Raises:
        ConfigurationError: a setting is wrong.
        PolicyError: the deployment's policy is wrong.
    """
    from airflow_consent_retl.consent.retention import KINDS
    from airflow_consent_retl.storage.expired import Limit

    def limit(kind: Kind) -> Limit:
        option, default = _DAYS.get(kind, _SNAPSHOT_DAYS)
        days = float(conf.getfloat("consent_retl", option, fallback=default))
        number = int(conf.getint("consent_retl", "snapshot_number", fallback=0))
        if days <= 0 or number < 0:
            raise ConfigurationError(f"`[consent_retl] {option}` has to be above 0, and snapshot_number 0 or more")
        befores, numbers = [at - timedelta(days=days)], [number] if number and kind not in _WITHOUT_NUMBER else []
        kept = declared(kind)
        if kept.max_age is not None:
            befores.append(kept.max_age.before(at))
        if kept.number is not None:
            numbers.append(kept.number)
        return Limit(max(befores), min(numbers, default=None))

    return {kind: limit(kind) for kind in KINDS if kind != "file_versions"}


def declared(kind: Kind) -> Kept:
    """Return what the deployment's policy declares about a kind; an empty `Kept` without one."""
    from airflow_consent_retl.consent.retention import Kept
    from airflow_consent_retl.hooks.central_policy import central_policy
    from airflow_consent_retl.hooks.policies import read_policy

    central = central_policy()
    return Kept() if central is None else read_policy(central).policy.retention.of(kind)
