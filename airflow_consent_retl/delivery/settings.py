"""How a DAG wants its sync: the limits and times of a delivery, checked."""

from __future__ import annotations

from dataclasses import dataclass, field

from airflow_consent_retl.delivery.guards import Guards
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.storage.sync_mode import SyncMode


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncSettings:
    """How a DAG wants its sync.

    Args:
        mode: how far the destination follows the model.
        guards: what one run may change at the most.
        max_rejected_ratio: rows that the destination may reject, as a share of the permitted ones, 0 to 1.
        accept_no_removal: the destination may be one that cannot remove people.
        settle_s: seconds for which a request that was never answered may still take effect.
        confirm_interval_s: seconds between two questions to a destination that processes later.
        confirm_timeout_s: seconds after which a task stops asking; 0 asks once.

    Raises:
        ConfigurationError: a value out of its range.
    """

    mode: SyncMode = SyncMode.MIRROR
    guards: Guards = field(default_factory=Guards)
    max_rejected_ratio: float = 0.0
    accept_no_removal: bool = False
    settle_s: float = 3600.0
    confirm_interval_s: float = 30.0
    confirm_timeout_s: float = 3600.0

    def __post_init__(self) -> None:
        wrong = [name for name in ("settle_s", "confirm_timeout_s") if not getattr(self, name) >= 0]
        wrong += ["confirm_interval_s"] if not self.confirm_interval_s > 0 else []
        if wrong or not 0 <= self.max_rejected_ratio <= 1:
            wrong += [] if 0 <= self.max_rejected_ratio <= 1 else ["max_rejected_ratio"]
            raise ConfigurationError(f"out of range: {', '.join(wrong)}")
