"""The table of recognisers, in the order in which they look: what is unmistakable comes first.

A format that is not here is never proposed: `NEVER_PROPOSED` has the reason.
"""

from __future__ import annotations

from airflow_consent_retl.checking.discovery import document_recognisers as documents
from airflow_consent_retl.checking.discovery import role_recognisers as roles
from airflow_consent_retl.checking.discovery import scalar_recognisers as scalars
from airflow_consent_retl.checking.discovery.recognition import Recogniser

RECOGNISERS: tuple[Recogniser, ...] = (
    Recogniser((), scalars.segment_columns, takes_column=True),
    Recogniser((), scalars.privacy_signals, takes_column=True),
    Recogniser(("GoogleConsent",), scalars.google_states, takes_column=True),
    Recogniser(("OptanonConsent",), documents.onetrust_cookies, takes_column=True),
    Recogniser(("TcfString", "GppTcf", "GppUs"), documents.iab_strings, takes_column=True),
    Recogniser(("IntegrationsObject", "ExcludedDestinations"), documents.row_switches, takes_column=True),
    Recogniser(("ConsentObject",), documents.consent_objects, takes_column=True),
    Recogniser(("GrantedIds",), documents.lists_of_ids),
    Recogniser((), documents.lists_of_objects),
    Recogniser((), documents.literal_objects),
    Recogniser(("BooleanColumn", "Literals", "OptOut"), scalars.plain_columns),
    Recogniser(("BitMask",), scalars.bit_masks),
    Recogniser((), roles.times),
    Recogniser((), roles.regions),
    Recogniser((), roles.notices),
)

_PART = "a part of {}, which is proposed for all categories at once"
NEVER_PROPOSED = {
    "ConsentObjectKey": _PART.format("ConsentObject"),
    "GrantedId": _PART.format("GrantedIds"),
    "OptanonConsentGroup": _PART.format("OptanonConsent"),
}
