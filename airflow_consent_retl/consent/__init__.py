"""The rules of consent: the meaning of a policy and of raw values, and the decision whether a row may go.

Pure: no Airflow, no engine, no I/O, no clock. `decide` is the only implementation of the decision.

A name's module is imported when the name is first used: a DAG file uses a few of them, and is parsed often.
"""

from __future__ import annotations

from airflow_consent_retl.late_names import late_names

# The names of each module, with the path of the module inside this package.
_NAMES = {
    "absence": ("dead_regions", "silent_categories"),
    "answers": ("Agreeing", "FirstOf", "MostRestrictive", "Recorded"),
    "counts": ("DecisionCounts", "DestinationCounts", "count_decisions"),
    "decision": (
        "Circumstances",
        "Decision",
        "Denied",
        "Ground",
        "Permitted",
        "Reason",
        "SubjectCode",
        "SubjectStatus",
        "decide",
        "withheld_fields",
    ),
    "document": ("parse_policy", "parse_recorded_policy"),
    "document_parts": ("DocumentPart", "part_along", "parts_together"),
    "formats.adobe": ("AdobeConsent",),
    "formats.bit_mask": ("BitMask",),
    "formats.boolean_column": ("BooleanColumn",),
    "formats.consent_object": ("ConsentObject", "ConsentObjectKey"),
    "formats.cookiebot": ("CookiebotCategory", "CookiebotConsent"),
    "formats.didomi": ("DidomiPurpose", "DidomiPurposes"),
    "formats.filled_list": ("FilledList",),
    "formats.google": ("GoogleConsent",),
    "formats.gpp": ("GppTcf", "GppUs"),
    "formats.gpp_canada": ("GppTcfCanada",),
    "formats.granted_ids": ("GrantedId", "GrantedIds"),
    "formats.json_values": ("JsonList", "JsonListItem", "JsonMap", "JsonPath"),
    "formats.ketch": ("KetchPurpose", "KetchPurposes"),
    "formats.literals": ("Literals",),
    "formats.onetrust": ("OptanonConsent", "OptanonConsentGroup"),
    "formats.onetrust_purposes": ("OneTrustPurpose", "OneTrustPurposes"),
    "formats.opt_out": ("OptOut",),
    "formats.opt_outs": ("OptOuts",),
    "formats.snowplow": ("SnowplowConsent", "SnowplowScope"),
    "formats.tcf": ("TcfString",),
    "formats.transcend": ("TranscendPurpose", "TranscendPurposes"),
    "formats.two_lists": ("TwoLists",),
    "formats.usercentrics": ("UsercentricsService", "UsercentricsServices"),
    "freshness": ("CLOCK_SKEW", "ConsentTime", "EpochTime", "MaxAge", "NoticeVersion"),
    "history": ("CountedAnswer", "Doubt", "RecordedAnswer", "counted_answer", "counted_answers"),
    "identities": ("CLUSTER", "IdentityLinks", "PERSON"),
    "linked": ("LinkedSubject", "NOTHING_SAID", "Said", "Subject", "TOO_LARGE", "status_of"),
    "mapping": ("ConsentMapping", "ConsentMappingLike", "RowConsent", "parse_consent_mapping"),
    "mapping_documents": ("MappingDocument", "mapping_document", "parse_mapping_document"),
    "omission": ("fell_out",),
    "plan": ("ConsentPlan", "DecidedBefore", "Signature", "SignatureDecision"),
    "planner": ("plan_consent",),
    "policy": ("Category", "CategoryId", "ConsentPolicy", "DestinationName", "DestinationRule", "base_of"),
    "policy_diff": ("DestinationDiff", "PlanPair", "PolicyDiff", "pair_plans"),
    "policy_documents": ("PolicyDocument", "policy_document"),
    "policy_words": ("opened", "policy_differences"),
    "readers.braze": ("braze_channel", "braze_group"),
    "readers.commanders_act": ("commanders_act_categories", "commanders_act_hits"),
    "readers.dpv": ("consent_record_events", "dpv_status"),
    "readers.fides": ("fides_preference",),
    "readers.google_analytics": ("ga4_ads_personalization", "ga4_consent_mode", "ga4_limited_ad_tracking"),
    "readers.hubspot": ("hubspot_opt_out", "hubspot_subscription"),
    "readers.iterable": ("iterable_opt_in", "iterable_opt_out"),
    "readers.klaviyo": ("klaviyo_consent", "klaviyo_marketing"),
    "readers.mailchimp": ("mailchimp_permission", "mailchimp_status"),
    "readers.mparticle": ("mparticle_ccpa", "mparticle_gdpr"),
    "readers.onetrust": ("onetrust_consent_updates", "onetrust_receipt", "onetrust_status"),
    "readers.rudderstack": ("rudderstack_consent",),
    "readers.salesforce": ("salesforce_contact_point", "salesforce_opt_out"),
    "readers.segment": (
        "segment_column",
        "segment_preference_events",
        "segment_preferences",
        "segment_profile",
        "segment_profile_column",
    ),
    "readers.snowplow": ("snowplow_columns",),
    "readers.transcend": ("transcend_column",),
    "regime": ("Regime",),
    "removal": ("CauseCode", "CauseRank", "EXPLICIT", "RemovalCause", "UNGUARDED", "cause_of", "removal_cause"),
    "signals": (
        "CategorySignal",
        "ColumnKind",
        "ConsentStatus",
        "DocumentSignal",
        "NULL_TOKEN",
        "Signal",
        "WholeConsent",
    ),
    "sources": (
        "ConsentSource",
        "ExternalConsent",
        "SourceDocument",
        "SuppressionList",
        "check_sources",
        "parse_source_document",
        "source_document",
    ),
    "switches": ("ExcludedDestinations", "IntegrationsObject"),
}
MODULES = {
    **{name: f"{__name__}.{module}" for module, names in _NAMES.items() for name in names},
    "nearest": "airflow_consent_retl.near",
    "resembles": "airflow_consent_retl.near",
}

__all__ = sorted(MODULES)  # noqa: PLE0605 - computed from the one list
__getattr__, __dir__ = late_names(__name__, MODULES)
