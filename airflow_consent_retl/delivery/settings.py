"""Settings of a sync, as its DAG gives them: mode, limits and times, checked. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from airflow_consent_retl.consent import UNGUARDED, RemovalCause
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.near import suggestion
from airflow_consent_retl.storage.sync_mode import SyncMode

if TYPE_CHECKING:
    from airflow_consent_retl.contract.destination import Destination, Load, WriteMode
    from airflow_consent_retl.storage.sync_manifests import ChangesCounts


@dataclass(frozen=True, slots=True, kw_only=True)
class Guards:
    """Limits on the changes of one run, so that a truncated table cannot empty an audience. None means no limit.

    They are checked against counts only, before the first request.

    Args:
        max_removed_ratio: removals, as a share of the people delivered before. Explicit withdrawals never count.
        max_added_ratio: new people, as a share of the people delivered before. It does not limit a first load.
        allow_closing: whether removals because the policy closed the destination are allowed, however many.

    Raises:
        ConfigurationError: a limit is negative.
    """

    max_removed_ratio: float | None = None
    max_added_ratio: float | None = None
    allow_closing: bool = False

    def __post_init__(self) -> None:
        wrong = [
            f"{name} must be at least 0"
            for name in ("max_removed_ratio", "max_added_ratio")
            if (limit := getattr(self, name)) is not None and not limit >= 0
        ]
        if wrong:
            raise ConfigurationError("; ".join(wrong))

    def exceeded(self, counts: ChangesCounts) -> list[str]:
        """Return a sentence for each limit that these changes would exceed."""
        unguarded = UNGUARDED | ({RemovalCause.DESTINATION_UNMAPPED} if self.allow_closing else set())
        removed = {cause: rows for cause, rows in counts.removed.items() if cause not in unguarded and rows}
        guarded, sentences = sum(removed.values()), []
        if self.max_removed_ratio is not None and guarded > self.max_removed_ratio * counts.delivered:
            causes = ", ".join(f"{cause} {rows:,}" for cause, rows in sorted(removed.items()))
            sentences.append(
                f"it would remove {guarded:,} of {counts.delivered:,} people ({causes}), "
                f"max_removed_ratio is {self.max_removed_ratio}"
            )
        if (
            self.max_added_ratio is not None
            and counts.delivered
            and counts.added > self.max_added_ratio * counts.delivered
        ):
            sentences.append(
                f"it would add {counts.added:,} people to {counts.delivered:,}, "
                f"max_added_ratio is {self.max_added_ratio}"
            )
        return sentences


# The choices of a DAG author for people who are not in the model any more.
_ABSENT = {"left_model": RemovalCause.LEFT_MODEL, "withdrawn": RemovalCause.WITHDRAWN_BY_ABSENCE}


def absent_cause(absent: str) -> RemovalCause:
    """Return the cause for people who are not in the model any more, by the `absent` of a DAG.

    Raises:
        ConfigurationError: there is no such choice.
    """
    if absent not in _ABSENT:
        raise ConfigurationError(f"absent is one of {', '.join(_ABSENT)}, not `{absent}`")
    return _ABSENT[absent]


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncSettings:
    """The settings of one sync.

    Args:
        mode: which changes of the model the destination follows.
        guards: limits on the changes of one run.
        max_rejected_ratio: rows that the destination may reject, as a share of the permitted rows, 0 to 1.
        absent: the cause for delivered people who are not in the model any more: `left_model` or
            `withdrawn_by_absence`, which is a removal in every mode.
        min_found_ratio: for withdrawals: people that the answer must contain, as a share of the people delivered; None:
            no limit.
        accept_silence: for withdrawals: the opt-out categories for which no row has to have an answer; None: it is not
            checked.
        accept_no_removal: whether a destination that cannot remove people is allowed.
        shares_target_with: the names of other syncs with people at the same target.
        shares_sync_with_dags: the ids of other DAGs that serve the sync.
        moved_from: the recorded target from which the people were moved to the destination's.
        allow_older: whether data older than those delivered may be delivered; then no one is added.
        accept_time_zone: the time zone to which the model's sessions may change.
        accept_source: the connection through which the model may be read now.
        settle_s: seconds for which a request that was never answered may still take effect.
        confirm_interval_s: most seconds between two questions to a destination that processes rows later.
        confirm_timeout_s: seconds after which a task stops asking; 0 asks once.
        field_nulls: by field, what becomes of its NULLs: see `Load.nulls`.
        write: which rows the destination writes: see `Load.write`.

    Raises:
        ConfigurationError: a value is out of its range.
    """

    mode: SyncMode = SyncMode.MIRROR
    guards: Guards = field(default_factory=Guards)
    max_rejected_ratio: float = 0.0
    absent: RemovalCause = RemovalCause.LEFT_MODEL
    min_found_ratio: float | None = None
    accept_silence: tuple[str, ...] | None = None
    accept_no_removal: bool = False
    shares_target_with: tuple[str, ...] = ()
    shares_sync_with_dags: tuple[str, ...] = ()
    moved_from: str | None = None
    allow_older: bool = False
    accept_time_zone: str | None = None
    accept_source: str | None = None
    settle_s: float = 3600.0
    confirm_interval_s: float = 30.0
    confirm_timeout_s: float = 3600.0
    field_nulls: Mapping[str, str] = field(default_factory=dict)
    write: WriteMode = "upsert"

    def __post_init__(self) -> None:
        wrong = [name for name in ("settle_s", "confirm_timeout_s") if not getattr(self, name) >= 0]
        wrong += ["confirm_interval_s"] if not self.confirm_interval_s > 0 else []
        wrong += ["max_rejected_ratio"] if not 0 <= self.max_rejected_ratio <= 1 else []
        wrong += ["min_found_ratio"] if not 0 <= (self.min_found_ratio or 0) <= 1 else []
        if wrong:
            raise ConfigurationError(f"out of range: {', '.join(wrong)}")

    @property
    def limits(self) -> dict[str, float | None]:
        """The limits that stop a run, by the name of the parameter; None: no limit."""
        return {
            "max_removed_ratio": self.guards.max_removed_ratio,
            "max_added_ratio": self.guards.max_added_ratio,
            "max_rejected_ratio": self.max_rejected_ratio,
            "min_found_ratio": self.min_found_ratio,
        }

    def applied_to(self, load: Load) -> Load:
        """Return the description of a load with what these settings say about its rows."""
        return replace(load, nulls=dict(self.field_nulls), write=self.write)

    def check_supported(self, build: Callable[[], Destination], fields: Collection[str]) -> None:
        """Check that a destination can do what these settings say about its rows.

        Args:
            build: returns it, not opened; only called if they say something.
            fields: the names of the load's fields.

        Raises:
            ConfigurationError: it cannot, or a field is not among the load's.
        """
        if not self.field_nulls and self.write == "upsert":
            return
        destination = build()
        if self.write not in destination.write_modes:
            reason = destination.write_refusals.get(self.write, "")
            raise ConfigurationError(
                f"write: {type(destination).__name__} can {', '.join(sorted(destination.write_modes))}, "
                f"not `{self.write}`{f': {reason}' if reason else ''}"
            )
        known = destination.nulls_by_field
        for name, choice in self.field_nulls.items():
            if name not in fields:
                raise ConfigurationError(
                    f"field_nulls names `{name}`, which is no field of the load{suggestion(name, fields)}"
                )
            if choice not in known:
                can = f"only {', '.join(sorted(known))}" if known else "no choice for a single field"
                raise ConfigurationError(
                    f"field_nulls[{name!r}]: {type(destination).__name__} has {can}, not `{choice}`"
                )
