"""The answers of endpoints that take a batch as a whole, and say with one word whether all of it is done."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.contract.outcomes import Outcomes
from airflow_consent_retl.destinations.http.responses import (
    LATER,
    SentRows,
    UnreadableAnswerError,
    of_document,
    of_kind,
    stated,
)

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.http.client import Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchAnswers:
    """The words of one vendor.

    Args:
        refusal: the field of a refusal with its code.
        refusals: the codes after which nothing of the batch was applied: its rows are rejected.
        state: the field of a success with the state of the batch.
        done: its value when every row has its result.
        later: its values while the vendor still works on the batch: its rows are uncertain.
    """

    refusal: str
    refusals: Collection[str]
    state: str
    done: str
    later: Collection[str] = ()

    def of(self, answer: Answer, sent: SentRows, read: Callable[[dict[str, Any]], Outcomes]) -> Outcomes | None:
        """Return the outcomes that `read` makes of a complete answer; None for a refusal with another code."""
        code = stated(answer, self.refusal)
        if answer.status >= 400 and isinstance(code, str) and code in self.refusals:
            return Outcomes.rejected(len(sent), code)

        def of_any(document: dict[str, Any]) -> Outcomes:
            state = document.get(self.state)
            if state in self.later:
                return Outcomes.uncertain(len(sent), LATER)
            if state != self.done:
                raise UnreadableAnswerError
            return read(document)

        return of_document(answer, sent, of_any)


def texts_at(entry: Mapping[str, Any], *path: str) -> list[str]:
    """Return the list of texts at a path of an entry; empty where a part of the path is missing.

    Raises:
        UnreadableAnswerError: it is something else.
    """
    found: Any = entry
    for name in path[:-1]:
        found = of_kind(found.get(name) or {}, dict)
    return [of_kind(text, str) for text in of_kind(found.get(path[-1], []), list)]
