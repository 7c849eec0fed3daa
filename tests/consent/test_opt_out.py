"""Tests of consent that is recorded the other way round, and of names that say the opposite of consent."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.records import FILES, tables

from airflow_consent_retl.consent import (
    BitMask,
    CategorySignal,
    ColumnKind,
    ConsentMappingLike,
    ConsentObject,
    ConsentObjectKey,
    ConsentPlan,
    ConsentSource,
    ConsentStatus,
    FirstOf,
    GoogleConsent,
    GppUs,
    GrantedId,
    GrantedIds,
    Literals,
    MostRestrictive,
    OptanonConsent,
    OptanonConsentGroup,
    OptOut,
    OptOuts,
    Permitted,
    Recorded,
    RowConsent,
    TcfString,
    TwoLists,
    parse_consent_mapping,
    parse_policy,
    plan_consent,
)
from airflow_consent_retl.consent.opposite import says_opposite
from airflow_consent_retl.errors import PolicyError

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
GRANTED, DENIED, UNKNOWN, INVALID = (
    ConsentStatus.GRANTED,
    ConsentStatus.DENIED,
    ConsentStatus.UNKNOWN,
    ConsentStatus.INVALID,
)
MPARTICLE = ConsentObjectKey("consent", ("ccpa", "data_sale_opt_out", "consented"))


def planned(consent: ConsentMappingLike, kinds: dict[str, ColumnKind] | None = None, **terms: Any) -> ConsentPlan:
    category = {"id": "C0004", "name": "Advertising", "destinations": ["webhook"], **terms}
    policy = parse_policy({"categories": [category]})
    return plan_consent(policy, destinations=["webhook"], mapping=consent, columns=kinds, at=AT)


def answer(plan: ConsentPlan, **row: Any) -> str:
    tokens = tuple(0 if signal is None else signal.token(row.get(signal.column)) for signal in plan.signals)
    decision = plan.decide_signature(tokens, at=AT).decisions[plan.destinations[0]]
    return str(decision.ground) if isinstance(decision, Permitted) else " ".join(map(str, decision.reasons))


def problems_of(consent: ConsentMappingLike, **terms: Any) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        planned(consent, **terms)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("signal", "objects", "does_not", "silent", "unreadable"),
    [
        (OptOut("column"), True, False, [None], [1, "true", 0]),
        (
            OptOut(Literals("column", granted=("unsubscribed", "bounced"), denied=("active",))),
            "bounced",
            "active",
            [None],
            ["Active", "", 1],
        ),
        (OptOut(Literals("column", granted=(1,), denied=(0,))), 1, 0, [None], [2, True, "1"]),
        (OptOut(Literals("column", granted=(1,), denied=(0,), unknown=(-1,))), 1, 0, [None, -1], [2, True, "-1"]),
        (OptOut(BitMask("column", bit=1)), 2, 1, [None], [-1, True, "2"]),
        (
            OptOut(ConsentObjectKey("column", ("ccpa", "data_sale_opt_out", "consented"))),
            '{"ccpa": {"data_sale_opt_out": {"consented": true}}}',
            '{"ccpa": {"data_sale_opt_out": {"consented": false}}}',
            [None, "{}", '{"ccpa": null}', '{"gdpr": {}}'],
            [
                '{"CCPA": {"data_sale_opt_out": {"consented": true}}}',
                '{"ccpa": {"data_sale_opt_out": {"consented": 1}}}',
            ],
        ),
        (OptOut(GrantedId("column", "C0004")), '["C0004"]', '["C0002"]', [None], ['["c0004"]', '["C0004 "]', "C0004"]),
        (OptOut(GrantedId("column", "C0004", ",")), "C0002,C0004", "C0002", [None], ["C0002,c0004", "C-0004", ""]),
    ],
)
def test_an_objection_is_a_no_and_its_absence_is_no_yes_unless_it_is_declared_one(
    signal: OptOut, objects: object, does_not: object, silent: list[object], unreadable: list[object]
) -> None:
    declared = OptOut(signal.signal, false_is_yes=True)

    def statuses(one: CategorySignal, raws: list[object]) -> list[ConsentStatus]:
        return [one.status(one.token(raw)) for raw in raws]

    assert statuses(signal, [objects, does_not]) == [DENIED, UNKNOWN]
    assert statuses(declared, [objects, does_not]) == [DENIED, GRANTED]
    for one in (signal, declared):
        assert statuses(one, silent) == [UNKNOWN] * len(silent)
        assert statuses(one, unreadable) == [INVALID] * len(unreadable)


@pytest.mark.parametrize(
    ("regime", "false_is_yes", "expected"),
    [
        ("opt_in", False, {True: "C0004:denied", False: "C0004:unknown", None: "C0004:unknown"}),
        ("opt_in", True, {True: "C0004:denied", False: "consented", None: "C0004:unknown"}),
        ("opt_out", False, {True: "C0004:denied", False: "not_opted_out", None: "not_opted_out"}),
        ("opt_out", True, {True: "C0004:denied", False: "consented", None: "not_opted_out"}),
    ],
)
def test_a_row_is_decided_by_its_objection(regime: str, false_is_yes: bool, expected: dict[bool | None, str]) -> None:
    plan = planned({"C0004": OptOut("HasOptedOutOfEmail", false_is_yes=false_is_yes)}, regime=regime)

    assert {value: answer(plan, HasOptedOutOfEmail=value) for value in expected} == expected


@pytest.mark.parametrize(
    ("combining", "regime", "absent"),
    [
        (FirstOf, "opt_in", ["consented", "C0004:unknown"]),
        (FirstOf, "opt_out", ["consented", "not_opted_out"]),
        (MostRestrictive, "opt_in", ["C0004:unknown", "C0004:unknown"]),
        (MostRestrictive, "opt_out", ["not_opted_out", "not_opted_out"]),
    ],
)
def test_an_objection_beside_a_record_of_consent_counts_as_a_no(
    combining: type[FirstOf | MostRestrictive], regime: str, absent: list[str]
) -> None:
    plan = planned({"C0004": combining(OptOut("unsubscribed"), "ads_ok")}, regime=regime)
    objected, silent = [(True, True), (True, None), (False, False)], [(False, True), (False, None)]

    assert [answer(plan, unsubscribed=objects, ads_ok=yes) for objects, yes in objected] == ["C0004:denied"] * 3
    assert [answer(plan, unsubscribed=objects, ads_ok=yes) for objects, yes in silent] == absent


def test_an_absent_objection_that_is_declared_a_yes_has_to_be_fresh_and_an_objection_does_not() -> None:
    consent = RowConsent({"C0004": OptOut("unsubscribed", false_is_yes=True)}, time="at")
    plan = planned(consent, max_age="1 year")
    old = AT - timedelta(days=400)

    assert answer(plan, unsubscribed=False, at=AT) == "consented"
    assert answer(plan, unsubscribed=False, at=old) == "C0004:expired"
    assert answer(plan, unsubscribed=True, at=old) == "C0004:denied"


def test_a_doubt_of_a_consent_source_reaches_an_objection() -> None:
    source = ConsentSource("SELECT 1", subject="user_id", time="at", columns=["unsubscribed"])
    mapping = {"C0004": OptOut("unsubscribed")}
    policy = {"categories": [{"id": "C0004", "name": "Ads", "destinations": ["webhook"], "regime": "opt_out"}]}
    plan = plan_consent(
        parse_policy(policy),
        destinations=["webhook"],
        mapping=parse_consent_mapping(mapping).with_sources([source]),
        columns=None,
    )

    assert answer(plan, unsubscribed=False, unsubscribed_doubt=1) == "C0004:conflict"
    assert answer(plan, unsubscribed=False, unsubscribed_doubt=0) == "not_opted_out"
    assert answer(plan, unsubscribed=True, unsubscribed_doubt=0) == "C0004:denied"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OptOut(""), "expected the name of a column"),
        (lambda: OptOut(7), "expected a column or the format of one category, found a number"),  # type: ignore[arg-type]
        (lambda: OptOut(ConsentObject("consent")), "found a ConsentObject"),  # type: ignore[arg-type]
        (lambda: OptOut(GrantedIds("ids")), "found a GrantedIds"),  # type: ignore[arg-type]
        (lambda: OptOut(Recorded("ads", time="at")), "found a Recorded"),  # type: ignore[arg-type]
        (lambda: OptOut(OptOut("unsubscribed")), "OptOut itself says what a yes is"),
        (lambda: OptOut(GoogleConsent("ads")), "GoogleConsent itself says what a yes is"),
        (lambda: OptOut(TcfString("tc", purposes=(1,), vendor=1)), "TcfString itself says what a yes is"),
        (lambda: OptOut(GppUs("g", section="uspv1", opt_outs=("SaleOptOut",))), "GppUs itself says what a yes is"),
        (lambda: OptOut(OptanonConsentGroup("cookie", "C0004")), "OptanonConsentGroup itself says what a yes is"),
        (lambda: OptOut(ConsentObjectKey("c", ("a",), missing="denied")), 'remove missing="denied"'),
        (
            lambda: OptOut(Literals("mail", granted=("unsubscribed",), expired=("lapsed",))),
            "an objection does not expire: list these values as granted or unknown",
        ),
        (lambda: OptOut("unsubscribed", false_is_yes="yes"), "expected a boolean, found text"),  # type: ignore[arg-type]
    ],
)
def test_refuses_to_turn_round_what_cannot_be_turned_round(make: Callable[[], object], message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        make()

    assert message in str(caught.value)


def test_an_objection_in_a_column_of_another_type_names_the_remedy() -> None:
    with pytest.raises(PolicyError, match=r"Literals\('unsubscribed', granted=\(...\), denied=\(...\)\)"):
        planned({"C0004": OptOut("unsubscribed")}, {"unsubscribed": ColumnKind.TEXT})


OPPOSITE = (
    "HasOptedOutOfEmail", "HASOPTEDOUTOFEMAIL", "hasoptedoutofemail", "has_opted_out_of_email", "hs_email_optout",
    "hs_email_optout_12345", "opt_out", "optOut", "OPT_OUT", "opt-out", "OptOuts", "emailOptOut2", "opted-out",
    "email.opt.out", "opts_out", "do_not_sell", "DoNotSell", "DONOTSELL", "do-not-call", "doNotContact", "dont_email",
    "DNC", "unsubscribed", "isUnsubscribed", "IS_UNSUBSCRIBED", "isunsubscribed", "email_unsub", "unsubscribe",
    "suppressed", "EmailSuppression", "is_suppressed", "objected", "has_objection", "object_to_marketing",
    "right_to_object", "ads_object", "marketingObjections", "blocked", "is_blocked", "block", "blocklisted", "revoked",
    "consent_revoked", "ConsentRevocation", "withdrawn", "consentWithdrawn", "withdraw", "has_withdrawn_consent",
    "ads_refused", "declined", "ads_denied", "excluded", "blacklisted",
)  # fmt: skip
NOT_OPPOSITE = (
    "ads_ok", "C0004", "consent", "consent_object", "consentObject", "opt_in", "opted_in", "email_opt_in", "optional",
    "output", "options", "adopt_outdoor", "subscribed", "is_subscribed", "not_opted_out", "no_objection",
    "not_unsubscribed", "notOptedOut", "unblocked", "objective", "object_id", "donation", "marketing_allowed",
    "categoryPreferences", "denim_club", "blockchain_ok", "analytics_ok", "withholding", "preferences",
)  # fmt: skip


# German, French, Spanish and Portuguese, with and without accents.
OPPOSITE_ELSEWHERE = (
    "abgemeldet", "newsletter_abgemeldet", "NewsletterAbmeldung", "abbestellt", "ist_abbestellt", "Widerspruch",
    "werbewiderspruch", "hat_widersprochen", "widerspruch_werbung", "widerrufen", "einwilligung_widerrufen",
    "Widerruf", "abgelehnt", "gesperrt", "sperrvermerk", "sperrliste", "werbesperre", "keine_werbung",
    "keine_einwilligung", "keinNewsletter", "ausgeschlossen", "verweigert", "NEWSLETTERABGEMELDET",
    "ABGEMELDET_AM", "désabonné", "desabonne", "est_desabonne", "désinscrit", "desinscription", "opposition",
    "a_opposition", "s_oppose", "oppose", "refus", "refusé", "refusee", "retrait_consentement",
    "consentement_retire", "révoqué", "bloqué", "ne_pas_contacter", "nePasVendre", "liste_noire", "liste_rouge",
    "rejeté", "exclu", "DESABONNE", "dado_de_baja", "baja_newsletter", "baja_email", "desuscrito", "desuscrita",
    "oposicion", "oposición", "se_opone", "rechazado", "rechazo", "revocado", "retirado", "bloqueado",
    "excluido", "lista_negra", "no_enviar", "noContactar", "no_llamar", "negado", "descadastrado",
    "descadastrou", "desinscrito", "oposicao", "oposição", "se_opoe", "recusado", "recusou", "recusa",
    "rejeitado", "revogado", "revogação", "bloqueada", "nao_enviar", "não_contatar", "nao_perturbe",
    "nao_autoriza", "naoAceita", "negou", "suprimido", "excluída",
)  # fmt: skip
NOT_OPPOSITE_ELSEWHERE = (
    "angemeldet", "anmeldung", "bestellt", "newsletter_bestellt", "abbildung", "absender", "widget",
    "einwilligung", "zustimmung", "kein_widerspruch", "nicht_abgemeldet", "nichtWidersprochen",
    "ohne_widerspruch", "gegenstand", "sperrmuell", "sprache", "abonné", "abonne", "inscrit", "consentement",
    "opposable", "retraite", "retraites", "sans_opposition", "pas_desabonne", "non_desabonne", "blog", "refuge",
    "refugio", "exclusivement", "exclusif", "reference", "refusion_ok", "alta", "suscrito", "suscripcion",
    "consentimiento", "aceptado", "bajo", "baja_california", "trabaja", "negativo_ok", "negocio", "negociacion",
    "sin_oposicion", "no_revocado", "no_bloqueado", "permitido", "autorizado", "cadastrado", "inscrito",
    "aceito", "aceitou", "recurso", "recursos", "rejeicao_zero", "negocios", "sem_oposicao", "nao_revogado",
    "posicao", "deposito", "proposta", "exclusivo", "block_id", "objective", "unsubstantiated", "unsubsidized",
    "subject", "subjects", "subject_line", "object_store", "objects", "blockchain", "withholding", "option",
    "optician", "donor", "donut", "denver", "denim", "dnd", "excellent", "optin", "outlook", "retirement",
    "retire_age",
)  # fmt: skip


@pytest.mark.parametrize("name", [*OPPOSITE, *OPPOSITE_ELSEWHERE])
def test_a_name_says_the_opposite_of_consent(name: str) -> None:
    assert says_opposite(name)


@pytest.mark.parametrize("name", [*NOT_OPPOSITE, *NOT_OPPOSITE_ELSEWHERE])
def test_a_name_does_not_say_the_opposite_of_consent(name: str) -> None:
    assert not says_opposite(name)


def wrong_ways(name: str) -> list[ConsentMappingLike]:
    return [
        {"C0004": name},
        {"C0004": Literals(name, granted=("yes",), denied=("no",))},
        {"C0004": BitMask(name, bit=0)},
        {"C0004": GrantedId(name, "C0004")},
        GrantedIds(name, separator=","),
        {"C0004": ConsentObjectKey("consent", ("marketing", name))},
        {"C0004": ConsentObjectKey("consent", (name, "value"))},
        {"C0004": ConsentObjectKey(name, ("C0004",))},
        ConsentObject("consent", path=("marketing", name)),
        {"C0004": Recorded(name, time="at")},
        {"C0004": FirstOf("ads_ok", name)},
        {"C0004": MostRestrictive(Literals(name, granted=(1,)), "ads_ok")},
    ]


@pytest.mark.parametrize("regime", ["opt_in", "opt_out"])
@pytest.mark.parametrize("name", ["HasOptedOutOfEmail", "do_not_sell", "unsubscribed"])
@pytest.mark.parametrize("way", range(12))
def test_refuses_to_take_the_yes_of_an_objection_for_consent(name: str, way: int, regime: str) -> None:
    consent = wrong_ways(name)[way]

    problems = problems_of(consent, regime=regime)

    assert len(problems) == 1
    assert problems[0].startswith(f"`{name}` sounds like an objection, and its yes would count as consent: turn it")
    assert "OptOut(...)" in problems[0]
    assert problems[0].endswith(("@ consent.C0004", "@ consent"))


@pytest.mark.parametrize("file", FILES)
def test_every_reader_of_documents_is_turned_round_or_says_why_not(file: str) -> None:
    seen = set()
    for signal, raw, status in (row for table in tables(file) for row in table.rows):
        is_turned = isinstance(signal, OptOut)
        if is_turned or signal.is_standard or signal.expiring or getattr(signal, "missing", None) == "denied":
            with pytest.raises(PolicyError, match=r"cannot be turned round|does not expire|a missing key is no answer"):
                OptOut(signal)
            continue
        turned = OptOut(signal)
        found = turned.status(turned.token(raw))
        seen.add(status)

        # A key in another spelling may hide an objection.
        expected = {"granted": {DENIED}, "invalid": {INVALID}}.get(status, {UNKNOWN, INVALID})
        assert found in expected, (file, raw, status, found)
        assert OptOut(signal, false_is_yes=True).status(turned.token(raw)) is not GRANTED or status == "denied"
    assert seen <= {"granted", "denied", "unknown", "invalid"}


NEGATING: dict[str, Any] = {"id": "DNS", "name": "Do not sell my data"}


@pytest.mark.parametrize(
    "consent",
    [
        {"DNS": "sale"},
        {"DNS": Literals("sale", granted=(1,), denied=(0,))},
        {"DNS": GrantedId("groups", "DNS")},
        GrantedIds("groups"),
        ConsentObject("consent"),
        {"DNS": FirstOf("sale", OptOut("unsubscribed"))},
    ],
)
@pytest.mark.parametrize("terms", [NEGATING, {"id": "DNS", "name": "Werbewiderspruch"}])
def test_refuses_a_yes_to_a_category_whose_name_negates(consent: ConsentMappingLike, terms: dict[str, str]) -> None:
    path = "consent.DNS" if isinstance(consent, dict) else "consent"

    assert problems_of(consent, **terms) == [
        f"category `DNS` is called `{terms['name']}`, so a yes to it is an objection: turn its column round with "
        "OptOut(...), or with OptOuts(...) around a format for all categories. If a yes to it is consent, give the "
        f"category a name that says so @ {path}"
    ]


@pytest.mark.parametrize(
    "consent",
    [
        {"DNS": OptOut("sale")},
        {"DNS": OptOut("do_not_sell")},
        OptOuts(ConsentObject("consent"), ["DNS"]),
        OptOuts(GrantedIds("groups"), ["DNS"]),
        {"DNS": GppUs("gpp", section="uspv1", opt_outs=("SaleOptOut",))},
    ],
)
def test_a_category_whose_name_negates_is_turned_round(consent: ConsentMappingLike) -> None:
    assert planned(consent, **NEGATING).categories == ("DNS",)


def test_one_column_for_all_categories_has_categories_of_objections() -> None:
    categories = [
        {"id": "C0004", "name": "Ads", "destinations": ["ads"]},
        {**NEGATING, "destinations": ["sale"], "regime": "opt_out"},
    ]
    plan = plan_consent(
        parse_policy({"categories": categories}),
        destinations=["ads", "sale"],
        mapping=OptOuts(ConsentObject("consent", path=()), ["DNS"]),
        columns=None,
    )

    def recipients(text: str | None) -> tuple[str, ...]:
        tokens = tuple(0 if signal is None else signal.token(text) for signal in plan.signals)
        return tuple(map(str, plan.decide_signature(tokens, at=AT).recipients))

    assert recipients('{"C0004": true, "DNS": true}') == ("ads",)
    assert recipients('{"C0004": true, "DNS": false}') == ("ads", "sale")
    assert recipients('{"C0004": false}') == ("sale",)
    assert recipients('{"C0004": true, "dns": true}') == ("ads",)
    assert recipients(None) == ("sale",)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OptOuts("consent", ["DNS"]), "expected a format of one column for all categories, found text"),  # type: ignore[arg-type]
        (lambda: OptOuts(TwoLists("a", "b"), ["DNS"]), "found a TwoLists"),
        (lambda: OptOuts(OptOuts(GrantedIds("a"), ["DNS"]), ["C0004"]), "found a OptOuts"),
        (lambda: OptOuts(GrantedIds("a"), []), "expected a list with the ids of categories"),
        (lambda: OptOuts(GrantedIds("a"), "DNS"), "expected a list with the ids of categories"),
        (lambda: OptOuts(GrantedIds("a"), [7]), "expected a list with the ids of categories"),  # type: ignore[list-item]
        (lambda: OptOuts(OptanonConsent("a"), ["DNS"]), "OptanonConsentGroup itself says what a yes is"),
        (lambda: OptOuts(ConsentObject("a", missing="denied"), ["DNS"]), 'remove missing="denied"'),
    ],
)
def test_refuses_to_turn_round_categories_that_cannot_be_turned_round(make: Callable[[], object], message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        make()

    assert message in str(caught.value)


def test_refuses_the_opt_out_record_of_mparticle_as_it_stands_and_reads_it_turned_round() -> None:
    assert "`data_sale_opt_out` sounds like an objection" in problems_of({"C0004": MPARTICLE})[0]

    plan = planned({"C0004": OptOut(MPARTICLE)}, regime="opt_out")

    opted_out = '{"ccpa": {"data_sale_opt_out": {"consented": true}}}'
    assert answer(plan, consent=opted_out) == "C0004:denied"
    assert answer(plan, consent=opted_out.replace("true", "false")) == "not_opted_out"
    assert answer(plan, consent='{"gdpr": {}}') == "not_opted_out"


@pytest.mark.parametrize(
    "signal",
    [
        TcfString("do_not_sell", purposes=(1,), vendor=1),
        GppUs("opt_outs", section="uspv1", opt_outs=("SaleOptOut",)),
        GoogleConsent("denied_or_granted"),
        OptanonConsentGroup("blocked_groups", "C0004"),
    ],
)
def test_a_format_of_a_public_standard_is_read_whatever_its_column_is_called(signal: CategorySignal) -> None:
    assert planned({"C0004": signal}).signals == (signal,)


@pytest.mark.parametrize(
    ("columns", "is_refused"),
    [
        ({"C0004": "ads_ok"}, True),
        ({"C0004": "ads_opt_out", "C0002": "analytics_ok"}, True),
        ({"C0004": "ads_opt_out", "C0002": "analytics_opt_out"}, False),
    ],
)
def test_the_answers_of_a_source_keep_a_name_that_says_what_they_are(columns: dict[str, str], is_refused: bool) -> None:
    def declared(value: str) -> ConsentSource:
        return ConsentSource("SELECT 1", subject="id", category="category", value=value, columns=columns)

    assert declared("given").value == "given"
    if is_refused:
        with pytest.raises(PolicyError, match="`unsubscribed`, which sounds like an objection"):
            declared("unsubscribed")
    else:
        assert declared("unsubscribed").value == "unsubscribed"


@pytest.mark.parametrize(
    ("columns", "is_refused"),
    [({"opted_out": "ads_ok"}, True), ({"opted_out": "ads_opted_out"}, False), ({"given": "ads_ok"}, False)],
)
def test_a_column_of_a_source_is_not_renamed_into_its_opposite(columns: dict[str, str], is_refused: bool) -> None:
    if is_refused:
        with pytest.raises(PolicyError, match="`opted_out`, which sounds like an objection"):
            ConsentSource("SELECT 1", subject="id", columns=columns)
    else:
        assert ConsentSource("SELECT 1", subject="id", columns=columns).columns == tuple(columns.items())
