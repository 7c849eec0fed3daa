"""The present answers of a model's source: a verdict for each row and destination."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_consent_retl.consent import CauseRank
from airflow_consent_retl.filtering.silence import SilentCategories

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

# A verdict is a number. This number permits, a `CauseRank` denies, and a higher number permits the row without some
# fields.
PERMITTED = 0
WITHOUT_FIELDS = max(CauseRank) + 1


@dataclass(frozen=True, slots=True)
class ConsentAnswers:
    """The source's present answers about some of its rows.

    Args:
        ids: the rows' ids, none of which is NULL.
        by_destination: a verdict for each row: `PERMITTED`, a `CauseRank`, or a higher number, which permits the row
            without some fields.
        moments: the time of the last change of each row's consent, in UTC; None if it was not read.
        partial: the withheld fields of each higher number, in ascending order.
        silent: the opt-out categories without any answer, complete after the last batch, which share it.
    """

    ids: pa.Array
    by_destination: Mapping[str, NDArray[np.int16]]
    moments: pa.Array | None = None
    partial: Sequence[tuple[str, ...]] = ()
    silent: SilentCategories = field(default_factory=SilentCategories)
