"""Google's consent signals: each a category that the policy requires, or a field with each person's own answer.

https://developers.google.com/data-manager/api/devguides/concepts/consent: `ad_user_data` permits sending data about
a person to Google for ads, `ad_personalization` permits ads for this person. They are never a constant.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.fields.field_values import other_than_answers
from airflow_consent_retl.near import suggestion

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_consent_retl.storage.manifest import PermittedCounts

SIGNALS = ("ad_user_data", "ad_personalization")
GRANTED = "granted"
DENIED = "denied"


class Consent(NamedTuple):
    """True where one person granted each of Google's signals."""

    ad_user_data: bool
    ad_personalization: bool


def check_signals(
    signals: Mapping[str, str], counts: PermittedCounts, *, destination: str, answered: Collection[str] = ()
) -> None:
    """Check that a permitted set contains only people who granted the categories of Google's signals.

    Args:
        signals: each signal with the id of its category.
        counts: of the permitted set.
        destination: its name.
        answered: the signals that are fields, each with a person's own answer.

    Raises:
        ConfigurationError: a signal has no category, or the policy does not require it of the destination.
    """
    wrong = wrong_signals(signals, answered)
    # With match `any`, each of several categories may be the one that was not granted.
    granted = counts.required if counts.match == "all" or len(counts.required) == 1 else ()
    # Nor did everyone grant a category that permits without a yes.
    granted = tuple(category for category in granted if category not in counts.without_consent)
    for name in SIGNALS:
        category = signals.get(name)
        if category and (counts.ground != "consent" or category not in granted):
            wrong.append(
                f"`{name}` stands for category `{category}`, which the policy does not require of everyone who is "
                f"sent to `{destination}`"
            )
    if wrong:
        raise ConfigurationError("; ".join(wrong))


def wrong_signals(signals: Mapping[str, str], answered: Collection[str]) -> list[str]:
    """Return the errors in the categories of signals; see `check_signals`."""
    missing = [name for name in SIGNALS if name not in answered and not signals.get(name)]
    unknown = [name for name in signals if name not in SIGNALS]
    return [
        *(f"consent_signals names no category for `{name}`" for name in missing),
        *(f"`{name}` is not a Google consent signal{suggestion(name, SIGNALS)}" for name in unknown),
        *(f"`{name}` is a field, and in consent_signals too: give it once" for name in signals if name in answered),
    ]


def check_answered(fields: Mapping[str, str]) -> None:
    """Check that each field with a signal is a person's own answer; templates are not rendered yet, and left out.

    Raises:
        ConfigurationError: it is a constant, a column, or an answer with other values; the message names all.
    """
    wrong = [
        f"field `{name}` has to be each person's own answer: "
        f"consent('C0004', granted='{GRANTED}', otherwise='{DENIED}') with the category that stands for it"
        for name in other_than_answers(fields, SIGNALS, granted=GRANTED, otherwise={None, DENIED})
    ]
    if wrong:
        raise ConfigurationError("; ".join(wrong))


def consents_of(rows: pa.RecordBatch) -> tuple[list[Consent], dict[int, tuple[str, str]]]:
    """Return the signals of each row, and the code and field of each row whose fields have none.

    A signal without a field is granted: the policy requires it of everyone. NULL is no grant.
    """
    # Not at the top: an operator imports this module, and loads no engine.
    from airflow_consent_retl.destinations.data_manager.texts import texts_of

    answered: list[list[bool]] = []
    refused: dict[int, tuple[str, str]] = {}
    for name in SIGNALS:
        if name not in rows.schema.names:
            answered.append([True] * rows.num_rows)
            continue
        texts = [None if text is None else str(text).strip().lower() for text in texts_of(rows.column(name))]
        for row, text in enumerate(texts):
            if text not in {None, GRANTED, DENIED}:
                refused.setdefault(row, (f"invalid_{name}", name))
        # INVARIANT: a value that is missing, or withheld from this person, never counts as a grant.
        answered.append([text == GRANTED for text in texts])
    return [Consent(*one) for one in zip(*answered, strict=True)], refused


def pieces_by_consent(
    rows: Iterable[int], consents: Sequence[Consent] | Mapping[int, Consent] | None
) -> list[list[int]]:
    """Return the rows in pieces of equal signals.

    Google answers with counts for a request: where it takes no one who denied a signal, no one else is uncertain.
    """
    pieces: dict[Consent | None, list[int]] = {}
    for row in rows:
        pieces.setdefault(consents[row] if consents is not None else None, []).append(row)
    return list(pieces.values())
