"""The recognisers of columns that go with consent: time, region, version of the notice, histories of events."""

from __future__ import annotations

import re
from collections.abc import Iterator

from airflow_consent_retl.checking.discovery.consent_words import folded_name, says_consent, words_of
from airflow_consent_retl.checking.discovery.recognition import Candidate, LookedModel
from airflow_consent_retl.consent import ColumnKind
from airflow_consent_retl.migration.dag_text import text_of

_TIME = re.compile(r"(^|_)(at|time|timestamp|date|datum|ts|updated|changed|created|captured|collected|recorded)($|_)")
_UNTIL = re.compile(r"(^|_)(until|to|expiry|expires|expiration|expired|end|ends|valid_to|effective_to)($|_)")
_REGION = frozenset(
    {"region", "country", "country_code", "state", "jurisdiction", "geo", "land", "pays", "pais", "paese"}
)
_NOTICE = re.compile(r"(^|_)(notice|policy|terms|consent|privacy)_version$|^notice$")
_ZONE = "it has no time zone: give it one in the model's SQL"


def times(model: LookedModel) -> Iterator[Candidate]:
    """Find the time at which consent was recorded."""
    for column in model:
        name = folded_name(column.name)
        is_timed = _TIME.search(name) is not None or _UNTIL.search(name) is not None
        kind, type_ = column.column.kind, column.column.type
        is_epoch = column.share("seconds since 1970", "milliseconds since 1970") == 1
        is_text = kind is ColumnKind.TEXT and column.share("time", "time with a zone") == 1
        if not (
            kind is ColumnKind.MOMENT or type_.startswith(("timestamp", "date")) or (is_timed and (is_epoch or is_text))
        ):
            continue
        doubts = [] if says_consent(column.name) else ["is it the time of the consent, or of the row?"]
        is_usable = kind is ColumnKind.MOMENT or (is_text and column.share("time with a zone") == 1)
        if is_epoch:
            unit = "ms" if column.shapes["milliseconds since 1970"] else "s"
            doubts.append(f"it seems to count {unit} since 1970")
            code = f"EpochTime({text_of(column.name)}, {text_of(unit)})"
        else:
            doubts += [] if is_usable else [_ZONE]
            code = text_of(column.name) if is_usable else ""
        if _UNTIL.search(name):
            code = f"Recorded(…, valid_until={code})" if code else ""
            doubts = ["a yes ends at this time: give it to the category's record"]
        yield Candidate(column.name, "validity" if _UNTIL.search(name) else "time", code=code, doubts=tuple(doubts))


def regions(model: LookedModel) -> Iterator[Candidate]:
    """Find the region whose law applies."""
    for column in model:
        words = words_of(column.name)
        is_named = folded_name(column.name) in _REGION or (bool(words) and words[-1] in _REGION)
        if column.column.kind is not ColumnKind.TEXT or not is_named or not column.filled:
            continue
        is_code = column.share("two capital letters", "region code") >= 0.9
        doubts = (
            [] if is_code else ["its values are no codes such as `DE` or `US-CA`: the policy compares them exactly"]
        )
        yield Candidate(column.name, "region", code=text_of(column.name), is_certain=is_code, doubts=tuple(doubts))


def notices(model: LookedModel) -> Iterator[Candidate]:
    """Find the version of the notice that a person saw."""
    for column in model:
        if _NOTICE.search(folded_name(column.name)) and column.column.kind in (ColumnKind.TEXT, ColumnKind.INTEGER):
            yield Candidate(column.name, "notice_version", code=text_of(column.name))
