"""The recognition of histories: models that have several rows for a person, which are consent sources and no models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from airflow_consent_retl.checking.discovery.consent_words import CATEGORY_WORDS, folded_name, is_id, words_of
from airflow_consent_retl.checking.discovery.proposals import Proposal
from airflow_consent_retl.migration.dag_text import text_of

if TYPE_CHECKING:
    from airflow_consent_retl.checking.discovery.recognition import LookedModel
    from airflow_consent_retl.checking.discovery.sampled_model import UniqueCount

_SUBJECTS = ("user", "person", "customer", "contact", "member", "subject", "profile", "data")
_ANSWER = frozenset({"status", "state", "value", "given", "change", "transaction_status", "answer", "decision"})
_SEGMENT = "context_consent_category_preferences_"


def history_of(
    model: LookedModel, keys: Mapping[str, UniqueCount], proposals: Sequence[Proposal], *, sql: str
) -> Proposal | None:
    """Return the proposal of a consent source, if people occur more than once; None otherwise."""
    repeated = [name for name, count in keys.items() if is_id(name) and count.different < count.values]
    subject = next((name for name in repeated if words_of(name)[0] in _SUBJECTS), None)
    if subject is None:
        return None
    times = [one.column for one in proposals if one.use == "time"]
    time = next((name for name in times if folded_name(name) == "timestamp"), times[0] if times else None)
    code = _long_form(model, sql, subject, time) or _wide_form(proposals, sql, subject, time)
    if not code:
        return None
    count = keys[subject]
    doubts = [
        f"`{subject}` has {count.different:,} different values in {count.values:,} rows: the rows are a history, of "
        "which the latest counts"
    ]
    if time is None:
        doubts.append("no column has the time of a row: without it, two answers that differ are a conflict")
    return Proposal(subject, "consent source", code.partition("(")[0], "", code, "low", {}, {}, tuple(doubts))


def _long_form(model: LookedModel, sql: str, subject: str, time: str | None) -> str:
    """Return the source of rows that are each about one category."""
    category = _named(model, CATEGORY_WORDS)
    answer = _named(model, _ANSWER)
    if category is None or answer is None or not model.columns[answer].words:
        return ""
    columns = {id_: folded_name(id_) for id_, _ in model.known}
    return _source(sql, subject, time, columns, category=category, value=answer)


def _wide_form(proposals: Sequence[Proposal], sql: str, subject: str, time: str | None) -> str:
    """Return the source of rows with a column for each category."""
    mapped = {one.column: one for one in proposals if one.use == "consent" and one.category and one.signal is not None}
    segment = {
        one.category: folded_name(one.category)
        for name, one in mapped.items()
        if folded_name(name).startswith(_SEGMENT)
    }
    if segment:
        arguments = [text_of(sql), f"categories={_dict(segment)}", f"subject={text_of(subject)}"]
        arguments += [f"time={text_of(time)}"] if time not in (None, "timestamp") else []
        return f"segment_preference_events({', '.join(arguments)})"
    return _source(sql, subject, time, {name: name for name in mapped}) if mapped else ""


def _source(
    sql: str, subject: str, time: str | None, columns: Mapping[str, str], *, category: str = "", value: str = ""
) -> str:
    arguments = [text_of(sql), f"subject={text_of(subject)}"]
    arguments += [] if time is None else [f"time={text_of(time)}"]
    arguments += [f"category={text_of(category)}, value={text_of(value)}"] if category else []
    return f"ConsentSource({', '.join(arguments)}, columns={_dict(columns)})"


def _named(model: LookedModel, wanted: frozenset[str]) -> str | None:
    return next((one.name for one in model if wanted.intersection((folded_name(one.name), *words_of(one.name)))), None)


def _dict(pairs: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{text_of(name)}: {text_of(value)}" for name, value in pairs.items()) + "}"
