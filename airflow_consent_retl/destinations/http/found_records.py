"""The vendor's records of people: found first, then changed. A person without a record counts as done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_consent_retl.contract.outcomes import Outcome, Outcomes
from airflow_consent_retl.destinations.http.responses import ACCEPTED

Record = Mapping[str, Any]


class FoundRecords:
    """The records of a batch of people.

    Args:
        keys: of the people, in the batch's order; None: the person was never sent.
        records: that the vendor has, by key; `id` is the vendor's own identifier.
        unclear: by key, the outcome of a question without a clear answer.

    Attributes:
        people: the record of each person, or the outcome of a person who needs nothing more.
    """

    def __init__(
        self, keys: Sequence[str | None], records: Mapping[str, Record], unclear: Mapping[str, Outcome]
    ) -> None:
        self.people: list[Record | Outcome] = [
            ACCEPTED if key is None else unclear[key] if key in unclear else records.get(key, ACCEPTED) for key in keys
        ]

    @property
    def records(self) -> list[Record]:
        """Each record once: people may share it."""
        return list({one["id"]: one for one in self.people if not isinstance(one, Outcome)}.values())

    @property
    def rows(self) -> list[int]:
        """The places of the people who have a record."""
        return [row for row, one in enumerate(self.people) if not isinstance(one, Outcome)]

    def after(self, changed: Mapping[str, Outcome]) -> Outcomes:
        """Return the outcomes of the people.

        Args:
            changed: of the records that were changed, by `id`; the other ones needed no change.
        """
        return Outcomes.concatenated(
            Outcomes(1, one if isinstance(one, Outcome) else changed.get(one["id"], ACCEPTED)) for one in self.people
        )
