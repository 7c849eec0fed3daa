"""Classes of decisions: the decisions for all destinations, which many rows have in common, and their numbers. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from airflow_consent_retl.consent import Denied
from airflow_consent_retl.storage.records.documents import DecisionClass, DestinationDecision

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from airflow_consent_retl.consent import SignatureDecision


def classes_of(decisions: Sequence[SignatureDecision]) -> tuple[list[DecisionClass], NDArray[np.int64]]:
    """Return the distinct classes of some signatures, and the number of each signature's class among them."""
    numbers: dict[str, int] = {}
    classes: list[DecisionClass] = []
    found = []
    for decision in decisions:
        one = _class_of(decision)
        digest = digest_of(one)
        if digest not in numbers:
            numbers[digest] = len(classes)
            classes.append(one)
        found.append(numbers[digest])
    return classes, np.array(found, dtype=np.int64)


def joined(
    own: Sequence[DecisionClass], known: Sequence[DecisionClass]
) -> tuple[list[DecisionClass], NDArray[np.uint64]]:
    """Return the known classes and after them the new ones, and the number in this list of each of the run's own."""
    classes = list(known)
    numbers = {digest_of(one): number for number, one in enumerate(known)}
    found = []
    for one in own:
        number = numbers.setdefault(digest_of(one), len(classes))
        if number == len(classes):
            classes.append(one)
        found.append(number)
    return classes, np.array(found, dtype=np.uint64)


def digest_of(one: DecisionClass) -> str:
    """Return 16 hex digits that stand for a class, in every run."""
    return hashlib.sha256(one.to_json()).hexdigest()[:16]


def _class_of(decision: SignatureDecision) -> DecisionClass:
    return DecisionClass(
        destinations={
            str(name): DestinationDecision(
                permitted=not isinstance(answer, Denied),
                reasons=tuple(reason.code for reason in answer.reasons) if isinstance(answer, Denied) else (),
                withheld=tuple(decision.withheld.get(name, ())),
            )
            for name, answer in decision.decisions.items()
        }
    )
