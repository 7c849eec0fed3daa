"""Limits on what one run may change, so that a truncated table cannot empty an audience.

Pure. Looks at counts only, before the first request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_consent_retl.consent import UNGUARDED
from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_consent_retl.storage.manifest import ChangesCounts


@dataclass(frozen=True, slots=True, kw_only=True)
class Guards:
    """What a run may do at the most; None: no limit.

    Args:
        max_removed_ratio: removals, as a share of the people delivered before. Explicit withdrawals never count.
        max_added_ratio: new people, as a share of the people delivered before; a first load has no such share.

    Raises:
        ConfigurationError: a negative limit.
    """

    max_removed_ratio: float | None = None
    max_added_ratio: float | None = None

    def __post_init__(self) -> None:
        wrong = [
            f"{name} must be at least 0"
            for name in ("max_removed_ratio", "max_added_ratio")
            if (limit := getattr(self, name)) is not None and not limit >= 0
        ]
        if wrong:
            raise ConfigurationError("; ".join(wrong))

    def passed(self, counts: ChangesCounts) -> list[str]:
        """Return a sentence for each limit that these changes would pass."""
        removed = {cause: rows for cause, rows in counts.removed.items() if cause not in UNGUARDED and rows}
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
