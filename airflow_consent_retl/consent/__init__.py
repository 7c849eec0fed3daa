"""The rules of consent: the meaning of a policy and of raw values, and the decision whether a row may go.

Pure: no Airflow, no engine, no I/O, no clock. `decide` is the only implementation of the decision.
"""

from __future__ import annotations

from airflow_consent_retl.consent.absence import dead_regions, silent_categories
from airflow_consent_retl.consent.answers import Agreeing, FirstOf, MostRestrictive, Recorded
from airflow_consent_retl.consent.counts import DecisionCounts, DestinationCounts, count_decisions
from airflow_consent_retl.consent.decision import (
    Circumstances,
    Decision,
    Denied,
    Ground,
    Permitted,
    Reason,
    SubjectCode,
    SubjectStatus,
    decide,
    withheld_fields,
)
from airflow_consent_retl.consent.document import parse_policy, parse_recorded_policy
from airflow_consent_retl.consent.document_parts import DocumentPart, part_along, parts_together
from airflow_consent_retl.consent.formats.adobe import AdobeConsent
from airflow_consent_retl.consent.formats.bit_mask import BitMask
from airflow_consent_retl.consent.formats.boolean_column import BooleanColumn
from airflow_consent_retl.consent.formats.consent_object import ConsentObject, ConsentObjectKey
from airflow_consent_retl.consent.formats.cookiebot import CookiebotCategory, CookiebotConsent
from airflow_consent_retl.consent.formats.didomi import DidomiPurpose, DidomiPurposes
from airflow_consent_retl.consent.formats.filled_list import FilledList
from airflow_consent_retl.consent.formats.google import GoogleConsent
from airflow_consent_retl.consent.formats.gpp import GppTcf, GppUs
from airflow_consent_retl.consent.formats.gpp_canada import GppTcfCanada
from airflow_consent_retl.consent.formats.granted_ids import GrantedId, GrantedIds
from airflow_consent_retl.consent.formats.json_values import JsonList, JsonListItem, JsonMap, JsonPath
from airflow_consent_retl.consent.formats.ketch import KetchPurpose, KetchPurposes
from airflow_consent_retl.consent.formats.literals import Literals
from airflow_consent_retl.consent.formats.onetrust import OptanonConsent, OptanonConsentGroup
from airflow_consent_retl.consent.formats.onetrust_purposes import OneTrustPurpose, OneTrustPurposes
from airflow_consent_retl.consent.formats.opt_out import OptOut
from airflow_consent_retl.consent.formats.opt_outs import OptOuts
from airflow_consent_retl.consent.formats.snowplow import SnowplowConsent, SnowplowScope
from airflow_consent_retl.consent.formats.tcf import TcfString
from airflow_consent_retl.consent.formats.transcend import TranscendPurpose, TranscendPurposes
from airflow_consent_retl.consent.formats.two_lists import TwoLists
from airflow_consent_retl.consent.formats.usercentrics import UsercentricsService, UsercentricsServices
from airflow_consent_retl.consent.freshness import CLOCK_SKEW, ConsentTime, EpochTime, MaxAge, NoticeVersion
from airflow_consent_retl.consent.history import CountedAnswer, Doubt, RecordedAnswer, counted_answer, counted_answers
from airflow_consent_retl.consent.identities import CLUSTER, PERSON, IdentityLinks
from airflow_consent_retl.consent.linked import NOTHING_SAID, TOO_LARGE, LinkedSubject, Said, Subject, status_of
from airflow_consent_retl.consent.mapping import ConsentMapping, ConsentMappingLike, RowConsent, parse_consent_mapping
from airflow_consent_retl.consent.mapping_document import MappingDocument, mapping_document, parse_mapping_document
from airflow_consent_retl.consent.omission import fell_out
from airflow_consent_retl.consent.plan import ConsentPlan, DecidedBefore, Signature, SignatureDecision
from airflow_consent_retl.consent.planner import plan_consent
from airflow_consent_retl.consent.policy import (
    Category,
    CategoryId,
    ConsentPolicy,
    DestinationName,
    DestinationRule,
    base_of,
)
from airflow_consent_retl.consent.policy_diff import DestinationDiff, PlanPair, PolicyDiff, pair_plans
from airflow_consent_retl.consent.policy_document import PolicyDocument, policy_document
from airflow_consent_retl.consent.policy_words import opened, policy_differences
from airflow_consent_retl.consent.readers.braze import braze_channel, braze_group
from airflow_consent_retl.consent.readers.commanders_act import commanders_act_categories, commanders_act_hits
from airflow_consent_retl.consent.readers.dpv import consent_record_events, dpv_status
from airflow_consent_retl.consent.readers.fides import fides_preference
from airflow_consent_retl.consent.readers.google_analytics import (
    ga4_ads_personalization,
    ga4_consent_mode,
    ga4_limited_ad_tracking,
)
from airflow_consent_retl.consent.readers.hubspot import hubspot_opt_out, hubspot_subscription
from airflow_consent_retl.consent.readers.iterable import iterable_opt_in, iterable_opt_out
from airflow_consent_retl.consent.readers.klaviyo import klaviyo_consent, klaviyo_marketing
from airflow_consent_retl.consent.readers.mailchimp import mailchimp_permission, mailchimp_status
from airflow_consent_retl.consent.readers.mparticle import mparticle_ccpa, mparticle_gdpr
from airflow_consent_retl.consent.readers.onetrust import onetrust_consent_updates, onetrust_receipt, onetrust_status
from airflow_consent_retl.consent.readers.rudderstack import rudderstack_consent
from airflow_consent_retl.consent.readers.salesforce import salesforce_contact_point, salesforce_opt_out
from airflow_consent_retl.consent.readers.segment import (
    segment_column,
    segment_preference_events,
    segment_preferences,
    segment_profile,
    segment_profile_column,
)
from airflow_consent_retl.consent.readers.snowplow import snowplow_columns
from airflow_consent_retl.consent.readers.transcend import transcend_column
from airflow_consent_retl.consent.regime import Regime
from airflow_consent_retl.consent.removal import (
    EXPLICIT,
    UNGUARDED,
    CauseCode,
    CauseRank,
    RemovalCause,
    cause_of,
    removal_cause,
)
from airflow_consent_retl.consent.signals import (
    NULL_TOKEN,
    CategorySignal,
    ColumnKind,
    ConsentStatus,
    DocumentSignal,
    Signal,
    WholeConsent,
)
from airflow_consent_retl.consent.sources import (
    ConsentSource,
    ExternalConsent,
    SourceDocument,
    SuppressionList,
    check_sources,
    parse_source_document,
    source_document,
)
from airflow_consent_retl.consent.switches import ExcludedDestinations, IntegrationsObject
from airflow_consent_retl.near import nearest, resembles

__all__ = [
    "CLOCK_SKEW",
    "CLUSTER",
    "EXPLICIT",
    "NOTHING_SAID",
    "NULL_TOKEN",
    "PERSON",
    "TOO_LARGE",
    "UNGUARDED",
    "AdobeConsent",
    "Agreeing",
    "BitMask",
    "BooleanColumn",
    "Category",
    "CategoryId",
    "CategorySignal",
    "CauseCode",
    "CauseRank",
    "Circumstances",
    "ColumnKind",
    "ConsentMapping",
    "ConsentMappingLike",
    "ConsentObject",
    "ConsentObjectKey",
    "ConsentPlan",
    "ConsentPolicy",
    "ConsentSource",
    "ConsentStatus",
    "ConsentTime",
    "CookiebotCategory",
    "CookiebotConsent",
    "CountedAnswer",
    "DecidedBefore",
    "Decision",
    "DecisionCounts",
    "Denied",
    "DestinationCounts",
    "DestinationDiff",
    "DestinationName",
    "DestinationRule",
    "DidomiPurpose",
    "DidomiPurposes",
    "DocumentPart",
    "DocumentSignal",
    "Doubt",
    "EpochTime",
    "ExcludedDestinations",
    "ExternalConsent",
    "FilledList",
    "FirstOf",
    "GoogleConsent",
    "GppTcf",
    "GppTcfCanada",
    "GppUs",
    "GrantedId",
    "GrantedIds",
    "Ground",
    "IdentityLinks",
    "IntegrationsObject",
    "JsonList",
    "JsonListItem",
    "JsonMap",
    "JsonPath",
    "KetchPurpose",
    "KetchPurposes",
    "LinkedSubject",
    "Literals",
    "MappingDocument",
    "MaxAge",
    "MostRestrictive",
    "NoticeVersion",
    "OneTrustPurpose",
    "OneTrustPurposes",
    "OptOut",
    "OptOuts",
    "OptanonConsent",
    "OptanonConsentGroup",
    "Permitted",
    "PlanPair",
    "PolicyDiff",
    "PolicyDocument",
    "Reason",
    "Recorded",
    "RecordedAnswer",
    "Regime",
    "RemovalCause",
    "RowConsent",
    "Said",
    "Signal",
    "Signature",
    "SignatureDecision",
    "SnowplowConsent",
    "SnowplowScope",
    "SourceDocument",
    "Subject",
    "SubjectCode",
    "SubjectStatus",
    "SuppressionList",
    "TcfString",
    "TranscendPurpose",
    "TranscendPurposes",
    "TwoLists",
    "UsercentricsService",
    "UsercentricsServices",
    "WholeConsent",
    "base_of",
    "braze_channel",
    "braze_group",
    "cause_of",
    "check_sources",
    "commanders_act_categories",
    "commanders_act_hits",
    "consent_record_events",
    "count_decisions",
    "counted_answer",
    "counted_answers",
    "dead_regions",
    "decide",
    "dpv_status",
    "fell_out",
    "fides_preference",
    "ga4_ads_personalization",
    "ga4_consent_mode",
    "ga4_limited_ad_tracking",
    "hubspot_opt_out",
    "hubspot_subscription",
    "iterable_opt_in",
    "iterable_opt_out",
    "klaviyo_consent",
    "klaviyo_marketing",
    "mailchimp_permission",
    "mailchimp_status",
    "mapping_document",
    "mparticle_ccpa",
    "mparticle_gdpr",
    "nearest",
    "onetrust_consent_updates",
    "onetrust_receipt",
    "onetrust_status",
    "opened",
    "pair_plans",
    "parse_consent_mapping",
    "parse_mapping_document",
    "parse_policy",
    "parse_recorded_policy",
    "parse_source_document",
    "part_along",
    "parts_together",
    "plan_consent",
    "policy_differences",
    "policy_document",
    "removal_cause",
    "resembles",
    "rudderstack_consent",
    "salesforce_contact_point",
    "salesforce_opt_out",
    "segment_column",
    "segment_preference_events",
    "segment_preferences",
    "segment_profile",
    "segment_profile_column",
    "silent_categories",
    "snowplow_columns",
    "source_document",
    "status_of",
    "transcend_column",
    "withheld_fields",
]
