"""The table of recognisers, in the order in which they look: what is unmistakable comes first.

A format that is not here is never proposed: `NEVER_PROPOSED` has the reason.
"""

from __future__ import annotations

from airflow_consent_retl.checking.discovery import document_recognisers as documents
from airflow_consent_retl.checking.discovery import reader_recognisers as readers
from airflow_consent_retl.checking.discovery import role_recognisers as roles
from airflow_consent_retl.checking.discovery import scalar_recognisers as scalars
from airflow_consent_retl.checking.discovery import vendor_recognisers as vendors
from airflow_consent_retl.checking.discovery.recognition import Recogniser

RECOGNISERS: tuple[Recogniser, ...] = (
    Recogniser((), scalars.segment_columns, takes_column=True),
    Recogniser((), scalars.privacy_signals, takes_column=True),
    Recogniser((), readers.named_readers, takes_column=True),
    Recogniser(("GoogleConsent",), scalars.google_states, takes_column=True),
    Recogniser(("OptanonConsent",), documents.onetrust_cookies, takes_column=True),
    Recogniser(("TcfString", "GppTcf", "GppTcfCanada", "GppUs"), documents.iab_strings, takes_column=True),
    Recogniser(("IntegrationsObject", "ExcludedDestinations"), documents.row_switches, takes_column=True),
    Recogniser(
        (
            *("OneTrustPurposes", "KetchPurposes", "DidomiPurposes", "TranscendPurposes", "UsercentricsServices"),
            "SnowplowConsent",
        ),
        vendors.vendor_documents,
        takes_column=True,
    ),
    Recogniser(("CookiebotConsent",), vendors.cookiebot_cookies, takes_column=True),
    Recogniser(("AdobeConsent",), vendors.adobe_documents, takes_column=True),
    Recogniser(("TwoLists",), documents.two_lists, takes_column=True),
    Recogniser(("ConsentObject",), documents.consent_objects, takes_column=True),
    Recogniser(("FilledList",), documents.objection_lists, takes_column=True),
    Recogniser(("GrantedIds",), documents.lists_of_ids),
    Recogniser(("JsonList",), documents.lists_of_objects),
    Recogniser(("JsonMap",), documents.literal_objects),
    Recogniser(("BooleanColumn", "Literals", "OptOut"), scalars.plain_columns),
    Recogniser(("BitMask",), scalars.bit_masks),
    Recogniser((), roles.times),
    Recogniser((), roles.regions),
    Recogniser((), roles.notices),
)

_PART = "a part of {}, which is proposed for all categories at once"
NEVER_PROPOSED = {
    "CookiebotCategory": _PART.format("CookiebotConsent"),
    "DidomiPurpose": _PART.format("DidomiPurposes"),
    "JsonListItem": _PART.format("JsonList"),
    "JsonPath": _PART.format("JsonMap"),
    "KetchPurpose": _PART.format("KetchPurposes"),
    "OneTrustPurpose": _PART.format("OneTrustPurposes"),
    "SnowplowScope": _PART.format("SnowplowConsent"),
    "TranscendPurpose": _PART.format("TranscendPurposes"),
    "UsercentricsService": _PART.format("UsercentricsServices"),
    "ConsentObjectKey": _PART.format("ConsentObject"),
    "GrantedId": _PART.format("GrantedIds"),
    "OptOuts": "a person has to say which keys of a document are objections",
    "OptanonConsentGroup": _PART.format("OptanonConsent"),
}
