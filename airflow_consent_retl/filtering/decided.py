"""Every signature of a snapshot, with its number of rows and its decision."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from airflow_consent_retl.consent import (
    ConsentPlan,
    DecidedBefore,
    Denied,
    DestinationName,
    SignatureDecision,
    count_decisions,
    status_of,
)
from airflow_consent_retl.errors import RefusedError
from airflow_consent_retl.storage.decision_log import SignatureRow

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from airflow_consent_retl.consent import DecisionCounts, Signature, Subject

    Read = Callable[[int], tuple[Subject, Signature]]

_TABLE_CODES = 1 << 20
NO_GROUP = -1
NO_CLASHES: Mapping[str, int] = MappingProxyType({})

# Destinations, and the fields that are withheld from some of them.
Recipients = tuple[tuple[DestinationName, ...], tuple[tuple[DestinationName, tuple[str, ...]], ...]]


def _recipients(decided: SignatureDecision) -> Recipients:
    return decided.recipients, tuple(sorted(decided.withheld.items()))


class DecidedSignatures:
    """Every signature of a snapshot, with its number of rows and its decision.

    Args:
        plan: decides them.
        histogram: the number of rows by the code of their signature.
        read: returns the subject and the signature that a code stands for.
        at: the time of the decision.
        clashes: by category, the number of clusters in which one person says yes and another says no.
    """

    def __init__(
        self,
        plan: ConsentPlan,
        histogram: Mapping[int, int],
        read: Read,
        at: datetime,
        *,
        clashes: Mapping[str, int] = NO_CLASHES,
    ) -> None:
        self.clashes = dict(clashes)
        self.codes = np.array(sorted(histogram), dtype=np.int64)
        self.rows = np.array([histogram[code] for code in self.codes.tolist()], dtype=np.int64)
        # A table, if the codes are small enough: a look-up instead of a search for each row.
        self._number_of: NDArray[np.int64] | None = None
        if len(self.codes) and self.codes[-1] < _TABLE_CODES:
            self._number_of = np.zeros(self.codes[-1] + 1, dtype=np.int64)
            self._number_of[self.codes] = np.arange(len(self.codes))
        self._plan = plan
        self._keys = [read(code) for code in self.codes.tolist()]
        before = DecidedBefore()
        self.decisions: list[SignatureDecision] = [
            plan.decide_signature(tokens, subject, at=at, before=before) for subject, tokens in self._keys
        ]
        self.counts: DecisionCounts = count_decisions(
            dict(zip(self._keys, self.rows.tolist(), strict=True)),
            plan,
            at=at,
            decided_before=dict(zip(self._keys, self.decisions, strict=True)),
        )
        # The distinct sets of recipients with their withheld fields.
        self.recipients: list[Recipients] = sorted(
            {_recipients(decided) for decided in self.decisions if decided.recipients}
        )
        numbers = {recipients: number for number, recipients in enumerate(self.recipients)}
        self.groups = np.array(
            [numbers.get(_recipients(decided), NO_GROUP) for decided in self.decisions], dtype=np.int64
        )
        self.denied_somewhere = np.array(
            [len(decision.recipients) < len(plan.destinations) for decision in self.decisions], dtype=bool
        )

    def find(self, codes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of each row's signature.

        Raises:
            RefusedError: a row has a signature that was not counted before.
        """
        if self._number_of is not None:
            numbers = self._number_of.take(codes, mode="clip")
        else:
            numbers = np.minimum(np.searchsorted(self.codes, codes), len(self.codes) - 1)
        if not np.array_equal(self.codes[numbers], codes):
            raise RefusedError("the snapshot changed while it was filtered: a signature appeared that was not counted")
        return numbers

    def signatures(self) -> Iterator[tuple[Subject, Signature, int]]:
        """Yield the subject of the rows, their signature, and their number."""
        for (subject, tokens), rows in zip(self._keys, self.rows.tolist(), strict=True):
            yield subject, tokens, rows

    @cached_property
    def table(self) -> list[SignatureRow]:
        """The table of signatures for the decision log."""
        # Many signatures share a few decisions.
        answers = {id(answer): answer for decision in self.decisions for answer in decision.decisions.values()}
        denied = {
            place: [reason.code for reason in answer.reasons]
            for place, answer in answers.items()
            if isinstance(answer, Denied)
        }
        return [
            SignatureRow(
                subject=str(status_of(subject)),
                statuses={c: str(s) for c, s in zip(self._plan.categories, decision.statuses, strict=True)},
                recipients=decision.recipients,
                denied={
                    name: denied[id(answer)] for name, answer in decision.decisions.items() if id(answer) in denied
                },
                rows=rows,
            )
            for (subject, _), decision, rows in zip(self._keys, self.decisions, self.rows.tolist(), strict=True)
        ]
