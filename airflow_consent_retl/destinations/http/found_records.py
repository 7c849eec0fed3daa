"""The vendor's records of people: found first, then changed. A person without a record counts as done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self

from airflow_consent_retl.contract.outcomes import Outcome, Outcomes
from airflow_consent_retl.destinations.http.responses import ACCEPTED, NOT_FOUND, UnreadableAnswerError, of_kind

Record = Mapping[str, Any]


def ids_by_key(
    records: Iterable[Record], keys: Iterable[str], *, field: str, id_field: str, fold: Callable[[str], str] = str
) -> dict[str, list[str]]:
    """Return the vendor's ids of the records that people have, by key; a person may have several.

    Args:
        records: that the vendor has.
        keys: that were asked for.
        field: of a record, with the key; a whole number may come as `7.0`.
        id_field: of a record, with the id.
        fold: returns a key for comparison.

    Raises:
        UnreadableAnswerError: a record has no id, or a key that was not asked for.
    """
    wanted: dict[str, list[str]] = {}
    for key in dict.fromkeys(keys):
        wanted.setdefault(fold(key), []).append(key)
    found: dict[str, list[str]] = {}
    for one in records:
        value = one.get(field)
        text = fold(str(int(value)) if isinstance(value, float) else str(value))
        if text not in wanted:
            raise UnreadableAnswerError
        for key in wanted[text]:
            found.setdefault(key, []).append(of_kind(one.get(id_field), str))
    return found


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

    @classmethod
    def asked(
        cls, keys: Sequence[str | None], ask: Callable[[list[str], dict[str, Record]], Iterable[Outcome]]
    ) -> Self:
        """Return the records of people, after one question about each key.

        Args:
            keys: of the people; empty as None.
            ask: returns the outcome of each key, and fills in the records; a key without a record is `not_found`.
        """
        texts = list(dict.fromkeys(key for key in keys if key))
        records: dict[str, Record] = {}
        known = dict(zip(texts, ask(texts, records), strict=True))
        unclear = {text: one for text, one in known.items() if one not in {ACCEPTED, NOT_FOUND}}
        return cls([key or None for key in keys], records, unclear)

    @property
    def records(self) -> list[Record]:
        """Each record once: people may share it."""
        return list({one["id"]: one for one in self.people if not isinstance(one, Outcome)}.values())

    @property
    def rows(self) -> list[int]:
        """The places of the people who have a record."""
        return [row for row, one in enumerate(self.people) if not isinstance(one, Outcome)]

    def texts(self, *path: str) -> list[str | None]:
        """Return the text at a place of each person's record; None where there is no record, or no text."""
        found: list[str | None] = []
        for one in self.people:
            value: Any = None if isinstance(one, Outcome) else one
            for name in path:
                value = value.get(name) if isinstance(value, Mapping) else None
            found.append(value if isinstance(value, str) and value else None)
        return found

    def send_for(self, send: Callable[[list[int]], Outcomes]) -> Outcomes:
        """Return the outcomes of the people, after a request for those who have a record.

        Args:
            send: sends for the people at these places, and returns an outcome for each; not called without any.
        """
        outcomes, there = self.after({}), self.rows
        if not there:
            return outcomes
        others = {row: one for row, one in enumerate(outcomes) if row not in set(there)}
        return send(there).at_rows(there, len(outcomes), others=others)

    def after(self, changed: Mapping[str, Outcome]) -> Outcomes:
        """Return the outcomes of the people.

        Args:
            changed: of the records that were changed, by `id`; the other ones needed no change.
        """
        return Outcomes.of(one if isinstance(one, Outcome) else changed.get(one["id"], ACCEPTED) for one in self.people)
