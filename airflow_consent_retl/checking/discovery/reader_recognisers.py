"""The recognisers of ready-made readers: one entry for each reader of a single column, by the vendor's name of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from airflow_consent_retl import consent as readers
from airflow_consent_retl.checking.discovery.consent_words import folded_name
from airflow_consent_retl.checking.discovery.recognition import Candidate, LookedModel, readings_of
from airflow_consent_retl.consent import CategorySignal, ColumnKind, ConsentStatus, OptOut
from airflow_consent_retl.migration.dag_text import text_of

_TURNED = "FALSE is often the default of people who were never asked: it counts as unknown"


@dataclass(frozen=True, slots=True)
class NamedReader:
    """A reader that is found by the name of its column.

    Args:
        name: of the column, with its words joined by underscores.
        reader: its name in the list of consent formats.
        about: names that say which category it is about; empty: the column's own.
        options: further arguments, as they are written.
    """

    name: str
    reader: str
    about: tuple[str, ...] = ()
    options: str = ""


_READERS = (
    NamedReader(r"(.*_)?privacy_info_(ads|analytics)_storage", "ga4_consent_mode"),
    NamedReader(r"(.*_)?is_ads_personalization_allowed", "ga4_ads_personalization", ("ads",)),
    NamedReader(r"(.*_)?is_limited_ad_tracking", "ga4_limited_ad_tracking", ("ads",)),
    NamedReader(r"(.*_)?(email|push|sms)_subscribe", "braze_channel"),
    NamedReader(r"(.*_)?(email|sms|push)_marketing_consent|klaviyo(_.*)?_consent", "klaviyo_consent"),
    NamedReader(r"(property_)?hs_email_optout(_\d+)?", "hubspot_opt_out", ("email",)),
    NamedReader(r"(property_)?hs_email_optout(_\d+)?", "hubspot_opt_out", ("email",), 'written="text"'),
    NamedReader(r"mailchimp(_.*)?_status", "mailchimp_status", ("email",)),
    NamedReader(r"(.*_)?transaction_status", "onetrust_status"),
    NamedReader(r"has_opted_out_(of_)?\w+", "salesforce_opt_out"),
)


def named_readers(model: LookedModel) -> Iterator[Candidate]:
    """Find the columns that a ready-made reader reads without an invalid value."""
    for column in model:
        name = folded_name(column.name)
        for one in _READERS:
            if not column.filled or not re.fullmatch(one.name, name):
                continue
            signal = _read_by(one, column.name)
            if signal is None or not signal.accepts(ColumnKind(column.column.kind)):
                continue
            found = readings_of(signal, column)
            if found[ConsentStatus.INVALID] == 0:
                arguments = ", ".join(filter(None, (text_of(column.name), one.options)))
                about = one.about or (column.name,)
                doubts = (_TURNED,) if isinstance(signal, OptOut) else ()
                yield Candidate(
                    column.name, one.reader, signal, about, f"{one.reader}({arguments})", is_certain=True, doubts=doubts
                )
                break


def _read_by(one: NamedReader, column: str) -> CategorySignal | None:
    reader: Callable[..., object] = getattr(readers, one.reader)
    signal = reader(column, written="text") if one.options else reader(column)
    return signal if isinstance(signal, CategorySignal) else None
