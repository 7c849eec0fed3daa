"""Tests of mapping documents: a mapping is equal after a round trip, and nothing else is read as one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_consent_retl.consent import (
    Agreeing,
    BitMask,
    BooleanColumn,
    ConsentMapping,
    ConsentMappingLike,
    ConsentObject,
    ConsentObjectKey,
    EpochTime,
    ExcludedDestinations,
    FirstOf,
    GoogleConsent,
    GppTcf,
    GppTcfCanada,
    GppUs,
    GrantedId,
    GrantedIds,
    IntegrationsObject,
    Literals,
    MostRestrictive,
    OptanonConsent,
    OptanonConsentGroup,
    OptOut,
    OptOuts,
    Recorded,
    RowConsent,
    TcfString,
    TwoLists,
    mapping_document,
    parse_consent_mapping,
    parse_mapping_document,
)
from airflow_consent_retl.errors import PolicyError


@pytest.mark.parametrize(
    "mapping",
    [
        {"C0002": "analytics_ok"},
        {"C0002": BooleanColumn("a"), "C0004": Literals("ads", granted=("yes", "ja"), denied=("no",))},
        {"C0004": Literals("ads", granted=(1,))},
        {
            "C0002": Literals("ads", granted=("yes",), denied=("no",), unknown=("", "-"), expired=("lapsed",)),
            "C0004": Literals("flag", granted=(True,), unknown=(False,)),
            "C0005": OptOut(Literals("mail", granted=(True,), unknown=(False,))),
        },
        {"C0004": ConsentObjectKey("consent", ("a", "b.c"))},
        ConsentObject("consent", path="context.consent", key_by="name"),
        ConsentObject("consent", path=()),
        {"C0002": GrantedId("ids", "C0002", ";"), "C0004": BitMask("bits", 3), "C0005": GoogleConsent("ads")},
        {"C0004": OptanonConsentGroup("cookie", "C0004", "ignored")},
        {"C0004": TcfString("tc", purposes=(1, 3), vendor=755, legitimate_interest=[2], disclosed="if_present")},
        {
            "C0004": GppTcf("gpp", purposes=[1], vendor=755),
            "C0002": GppUs("gpp", section="usca", opt_outs=["SaleOptOut"]),
            "C0003": GppUs("gpp", section="usmd", opt_outs=["SaleOptOut"], encoding="iab_library"),
            "C0005": GppTcfCanada("gpp", purposes=[2], vendor=755, implied=[7], encoding="iab_library"),
        },
        GrantedIds("groups", separator=","),
        OptanonConsent("cookie", gpc="ignored"),
        {"C0004": FirstOf("crm", Recorded("web", time="at")), "C0002": MostRestrictive("a", BitMask("bits", 1))},
        {"C0004": Recorded(Literals("ads", granted=("yes",)), notice_version="notice")},
        RowConsent(
            ConsentObject("consent"),
            time="at",
            notice_version="notice",
            region="country",
            gpc=Literals("gpc", granted=("1",), denied=("0",)),
            switches=IntegrationsObject("integrations", names={"google_ads": "Google Ads"}),
        ),
        {"C0002": OptOut("unsubscribed"), "C0004": OptOut(Literals("a", granted=(1,), denied=(0,)), false_is_yes=True)},
        {"C0004": FirstOf(Recorded(OptOut(ConsentObjectKey("consent", ("a", "opt_out"))), time="at"), "ads")},
        {"C0004": Recorded("ads", valid_from="since", valid_until=EpochTime("ends", "ms"))},
        {"C0004": Agreeing(Recorded("ads", time=EpochTime("at", "s")), OptOut("denied"))},
        {"C0004": GrantedId("ids", "C0004", unlisted="unknown")},
        GrantedIds("ids", ",", "unknown"),
        TwoLists("allowed", "refused", separator=","),
        OptOuts(ConsentObject("consent", path="a.b"), ["DNS", "DNC"], false_is_yes=True),
        OptOuts(GrantedIds("ids", ","), ["DNS"]),
        RowConsent({"C0004": "ads"}, time=EpochTime("at", "us")),
        RowConsent({"C0004": "ads"}, gpc="gpc", switches=ExcludedDestinations("excluded")),
        parse_consent_mapping({"C0004": "ads"}).with_elsewhere(doubts={"ads": "ads_doubt"}, suppressions=["listed"]),
    ],
)
def test_reads_back_what_it_wrote_through_json(mapping: ConsentMappingLike | ConsentMapping) -> None:
    checked = parse_consent_mapping(mapping)

    read = parse_mapping_document(json.loads(json.dumps(mapping_document(checked))))

    assert read == checked


def test_lists_that_are_empty_are_not_written_so_that_digests_stay_the_same() -> None:
    checked = parse_consent_mapping(
        {"C0002": Literals("ads", granted=(1,)), "C0004": Literals("a", granted=(True,), unknown=(False,))}
    )

    assert mapping_document(checked) == {
        "C0002": {"format": "Literals", "column": "ads", "granted": (1,), "denied": ()},
        "C0004": {"format": "Literals", "column": "a", "granted": (True,), "denied": (), "unknown": (False,)},
    }


@pytest.mark.parametrize(
    "document",
    [
        {"C0002": {"format": "Tarot", "column": "a"}},
        {"C0002": {"column": "a"}},
        {"C0002": "a"},
        {"C0002": {"format": "BooleanColumn", "column": "a", "default": True}},
        {"C0002": {"format": "BooleanColumn", "column": ""}},
        {"format": "ConsentObject", "column": ""},
        {"format": "ConsentObject", "column": "a", "default": True},
        {"format": "RowConsent", "categories": {"C0004": {"format": "BooleanColumn", "column": "a"}}, "moon": "full"},
        {"format": "RowConsent", "region": "country"},
        {
            "format": "RowConsent",
            "categories": {"C0004": {"format": "BooleanColumn", "column": "a"}},
            "time": {"column": "at", "unit": "days"},
        },
        {"format": "RowConsent", "categories": {"C0004": {"format": "BooleanColumn", "column": "a"}}, "time": {}},
        {"format": "TwoLists", "allowed": "a", "denied": "a"},
        {
            "format": "RowConsent",
            "categories": {"C0004": {"format": "BooleanColumn", "column": "a"}},
            "switches": {"format": "BooleanColumn", "column": "a"},
        },
        {"C0004": {"format": "FirstOf", "parts": [{"format": "BooleanColumn", "column": "a"}]}},
        {"C0004": {"format": "OptOut", "signal": {"format": "ConsentObject", "column": "a"}, "false_is_yes": False}},
        {"C0004": {"format": "OptOut", "signal": {"format": "Tarot", "column": "a"}, "false_is_yes": False}},
        {"C0004": {"format": "OptOut", "signal": {"format": "BooleanColumn", "column": "a"}, "false_is_yes": "yes"}},
        {},
    ],
)
def test_refuses_documents_that_this_version_does_not_know(document: dict[str, Any]) -> None:
    with pytest.raises(PolicyError):
        parse_mapping_document(document)
