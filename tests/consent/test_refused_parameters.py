"""The exact problems of a declaration with wrong parameters: the place and the sentence of each, all at once."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from airflow_consent_retl.consent import (
    Agreeing,
    BitMask,
    CategorySignal,
    ConsentObject,
    ConsentObjectKey,
    ConsentSource,
    ConsentTime,
    EpochTime,
    ExcludedDestinations,
    FirstOf,
    GppUs,
    GrantedId,
    IdentityLinks,
    IntegrationsObject,
    Literals,
    MostRestrictive,
    NoticeVersion,
    OptOut,
    Recorded,
    SuppressionList,
    TwoLists,
    WholeConsent,
    formats,
)
from airflow_consent_retl.consent.formats.opt_outs import OptOuts
from airflow_consent_retl.consent.switches import ExclusionSwitch, IntegrationSwitch
from airflow_consent_retl.errors import PolicyError

AT = datetime(2026, 11, 24, tzinfo=UTC)
COLUMN = "expected the name of a column"
TEXT = "expected text that is not empty"
TIME = "expected the name of a column, or EpochTime for numbers"
BOUNDS = "expected timestamps with a zone, ascending"
NAMES = "expected the names of a destination"
FORM = "expected one of folded, email, phone, sha256, exact"
EACH_NAME = "expected the name of each destination, as text"


def problems_of(make: Callable[[], object]) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        make()
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize("way", [FirstOf, MostRestrictive, Agreeing])
def test_combined_records_name_each_part_that_is_no_record(way: Any) -> None:
    name, kinds = way.__name__, "expected a column, a consent format or Recorded, found"

    assert problems_of(way) == [f"expected at least two records @ {name}"]
    assert problems_of(lambda: way("ads")) == [f"expected at least two records @ {name}"]
    assert problems_of(lambda: way("")) == [
        f"expected at least two records @ {name}",
        f"{kinds} text @ {name}[0]",
    ]
    assert problems_of(lambda: way("ads", 7, Recorded("web"), None)) == [
        f"{kinds} a number @ {name}[1]",
        f"{kinds} null @ {name}[3]",
    ]


@pytest.mark.parametrize(
    ("make", "problems"),
    [
        (lambda: Recorded(""), ["expected a column or a consent format, found text @ Recorded.signal"]),
        (
            lambda: Recorded(7, time="", notice_version="", valid_from=7, valid_until=""),  # type: ignore[arg-type]
            [
                "expected a column or a consent format, found a number @ Recorded.signal",
                f"{COLUMN} @ Recorded.notice_version",
                f"{TIME} @ Recorded.time",
                f"{TIME} @ Recorded.valid_from",
                f"{TIME} @ Recorded.valid_until",
            ],
        ),
        (
            lambda: Recorded(ConsentObject("consent")),  # type: ignore[arg-type]
            ["expected a column or a consent format, found a ConsentObject @ Recorded.signal"],
        ),
        (
            lambda: EpochTime("", "days"),  # type: ignore[arg-type]
            [f"{COLUMN} @ EpochTime.column", "expected `s`, `ms` or `us` @ EpochTime.unit"],
        ),
        (
            lambda: ConsentTime("", (AT.replace(tzinfo=None),)),
            [f"{COLUMN} @ ConsentTime.column", f"{BOUNDS} @ ConsentTime.bounds"],
        ),
        (lambda: ConsentTime("at", ("2026-11-24",)), [f"{BOUNDS} @ ConsentTime.bounds"]),  # type: ignore[arg-type]
        (lambda: ConsentTime("at", (AT, AT.replace(year=2025))), [f"{BOUNDS} @ ConsentTime.bounds"]),
        (lambda: NoticeVersion("", (1,)), [f"{COLUMN} @ NoticeVersion.column"]),
    ],
)
def test_a_record_and_its_conditions_name_every_wrong_parameter(
    make: Callable[[], object], problems: list[str]
) -> None:
    assert problems_of(make) == problems


@pytest.mark.parametrize("kind", [IntegrationsObject, ExcludedDestinations])
@pytest.mark.parametrize(
    ("column", "names", "problems"),
    [
        ("", {}, [f"{COLUMN} @ {{}}.column"]),
        (7, 7, [f"{COLUMN} @ {{}}.column", f"{EACH_NAME} @ {{}}.names"]),
        ("off", {"crm": 7}, [f"{EACH_NAME} @ {{}}.names"]),
        ("off", "crm", [f"{EACH_NAME} @ {{}}.names"]),
        ("off", (("crm",),), [f"{EACH_NAME} @ {{}}.names"]),
        ("off", ("ab",), [f"{EACH_NAME} @ {{}}.names"]),
        ("off", {"crm": "CRM", "lake": ""}, ["expected a name that is not blank @ {}.names.lake"]),
        ("off", (("ads:eu", " "),), ['expected a name that is not blank @ {}.names["ads:eu"]']),
        (
            "",
            {"b": "\t", "a": 1},
            [
                f"{COLUMN} @ {{}}.column",
                f"{EACH_NAME} @ {{}}.names",
                "expected a name that is not blank @ {}.names.b",
            ],
        ),
    ],
)
def test_switches_name_every_wrong_parameter(kind: Any, column: Any, names: Any, problems: list[str]) -> None:
    assert problems_of(lambda: kind(column, names=names)) == [problem.format(kind.__name__) for problem in problems]


@pytest.mark.parametrize("kind", [IntegrationSwitch, ExclusionSwitch])
def test_the_switch_of_one_destination_needs_a_column_and_names(kind: Any) -> None:
    name = kind.__name__

    assert problems_of(lambda: kind("", ("crm",))) == [f"{COLUMN} @ {name}.column"]
    for wrong in ((), "crm", ["crm"], ("",), ("crm", ""), (7,), ("crm", 7), None):
        assert problems_of(partial(kind, "off", wrong)) == [f"{NAMES} @ {name}"]
    assert problems_of(lambda: kind(None, ())) == [f"{COLUMN} @ {name}.column", f"{NAMES} @ {name}"]


def test_identities_name_every_wrong_parameter() -> None:
    def links(**given: Any) -> list[str]:
        return problems_of(lambda: IdentityLinks(**{"sql": "SELECT 1", "subject": "p", "identifier": "i", **given}))

    assert links(sql=None, subject=None, identifier=None) == [
        f"{TEXT} @ IdentityLinks.{name}" for name in ("sql", "subject", "identifier")
    ]
    assert links(sql=7, subject=["p"], identifier="", kind="", key=" ", conn_id=7) == [
        f"{TEXT} @ IdentityLinks.{name}" for name in ("sql", "subject", "identifier", "kind", "key", "conn_id")
    ]
    assert links(match=None, identifier_match="like", max_cluster_size=1, min_rows=-1, max_shrink_ratio="") == [
        f"{FORM} @ IdentityLinks.match",
        "expected a share, 0 to 1, or None @ IdentityLinks.max_shrink_ratio",
        f"{FORM} @ IdentityLinks.identifier_match",
        "expected a whole number, at least 2 @ IdentityLinks.max_cluster_size",
        "expected a whole number, at least 0 @ IdentityLinks.min_rows",
    ]
    assert links(max_cluster_size=2.0, min_rows=True) == [
        "expected a whole number, at least 2 @ IdentityLinks.max_cluster_size",
        "expected a whole number, at least 0 @ IdentityLinks.min_rows",
    ]


def test_one_column_of_identities_cannot_be_two_things() -> None:
    def links(**given: Any) -> list[str]:
        return problems_of(lambda: IdentityLinks("SELECT 1", **given))

    again = "select it a second time under a name of its own"
    assert links(subject="id", identifier="id") == [
        f"the column `id` is `subject` already: {again} (`id AS identifier`) @ IdentityLinks.identifier"
    ]
    assert links(subject="id", identifier="mail", kind="id") == [
        f"the column `id` is `subject` already: {again} (`id AS kind`) @ IdentityLinks.kind"
    ]
    assert links(subject="id", identifier="mail", kind="mail") == [
        f"the column `mail` is `identifier` already: {again} (`mail AS kind`) @ IdentityLinks.kind"
    ]
    # A wrong text has its own problem, and nothing is compared.
    assert links(subject="id", identifier="id", conn_id="") == [f"{TEXT} @ IdentityLinks.conn_id"]


def test_identities_at_the_limits_are_accepted() -> None:
    links = IdentityLinks("SELECT 1", subject="p", identifier="i", max_cluster_size=2, min_rows=0, max_shrink_ratio=0)

    assert (links.max_cluster_size, links.min_rows, links.max_shrink_ratio) == (2, 0, 0)
    assert (links.key, links.kind, links.conn_id) == ("p", None, None)
    assert IdentityLinks("SELECT 1", subject="p", identifier="i", key="id").key == "id"
    assert IdentityLinks("SELECT 1", subject="p", identifier="i", max_shrink_ratio=1).max_shrink_ratio == 1


def test_a_suppression_list_names_every_wrong_parameter() -> None:
    def never(**given: Any) -> list[str]:
        return problems_of(lambda: SuppressionList(**{"sql": "SELECT 1", "subject": "p", **given}))

    assert never(sql=7, subject=None, column="", key="", conn_id=["crm"]) == [
        f"{TEXT} @ SuppressionList.{name}" for name in ("sql", "subject", "column", "key", "conn_id")
    ]
    assert never(match="", max_shrink_ratio=2, min_rows=-1) == [
        f"{FORM} @ SuppressionList.match",
        "expected a share, 0 to 1, or None @ SuppressionList.max_shrink_ratio",
        "expected a whole number, at least 0 @ SuppressionList.min_rows",
    ]


def test_a_source_refuses_a_time_that_is_no_column() -> None:
    assert problems_of(lambda: ConsentSource("SELECT 1", subject="p", columns=["ads"], time=7)) == [  # type: ignore[arg-type]
        f"{TEXT} @ ConsentSource.time"
    ]


FORMATS = {
    name: kind
    for module in pkgutil.iter_modules(formats.__path__, f"{formats.__name__}.")
    for name, kind in vars(importlib.import_module(module.name)).items()
    if isinstance(kind, type)
    and kind.__module__ == module.name
    and issubclass(kind, CategorySignal | WholeConsent)
    and not inspect.isabstract(kind)
    and is_dataclass(kind)
    and name != "StrictLookup"
}
REFUSED_FORMATS = json.loads((Path(__file__).parents[1] / "cases" / "refused_formats.json").read_text("utf-8"))


@pytest.mark.parametrize("name", REFUSED_FORMATS)
def test_a_format_names_every_wrong_parameter(name: str) -> None:
    case = REFUSED_FORMATS[name]

    assert problems_of(lambda: FORMATS[name](**case["parameters"])) == case["problems"]


def test_each_format_has_its_wrong_parameters() -> None:
    assert FORMATS.keys() == REFUSED_FORMATS.keys()


@pytest.mark.parametrize("bit", [0, 62, 63, -1, 64, True])
def test_a_bit_mask_has_the_bits_of_a_signed_integer(bit: int) -> None:
    if bit in range(63) and type(bit) is int:
        assert BitMask("mask", bit).bit == bit
    else:
        assert problems_of(lambda: BitMask("mask", bit)) == ["expected a number from 0 to 62 @ BitMask.bit"]


def test_opt_outs_are_made_of_one_record_for_each_category() -> None:
    assert problems_of(lambda: OptOuts(TwoLists("allowed", "denied"), ["C1"])) == [
        "expected a format of one column for all categories, found a TwoLists @ OptOuts.whole"
    ]
    assert problems_of(lambda: OptOuts(ConsentObject("doc"), ["C1", ""])) == [
        "expected a list with the ids of categories @ OptOuts.categories"
    ]
    assert problems_of(lambda: OptOuts(ConsentObject("doc", missing="denied"), ["C1"])) == problems_of(
        lambda: OptOut(ConsentObjectKey("doc", ("categoryPreferences", "C1"), "denied"))
    )
    assert OptOuts(ConsentObject("doc"), ["C1"]).false_is_yes is False


@pytest.mark.parametrize(
    ("signal", "problem"),
    [
        (
            GppUs("gpp", section="usca", opt_outs=["SaleOptOut"]),
            "GppUs itself says what a yes is and cannot be turned round",
        ),
        (OptOut("off"), "OptOut itself says what a yes is and cannot be turned round"),
        (ConsentObjectKey("doc", ("C1",), "denied"), 'remove missing="denied": a missing key is no answer'),
        (
            Literals("ads", granted=("y",), expired=("x",)),
            "an objection does not expire: list these values as granted or unknown",
        ),
        (ConsentObject("doc"), "expected a column or the format of one category, found a ConsentObject"),
    ],
)
def test_what_cannot_be_turned_round_says_why(signal: Any, problem: str) -> None:
    assert problems_of(lambda: OptOut(signal)) == [f"{problem} @ OptOut.signal"]


@dataclass(frozen=True, slots=True)
class Twice(WholeConsent):
    column: str

    def for_category(self, category_id: str, name: str) -> Agreeing:
        return Agreeing(self.column, BitMask(self.column, 1))


def test_opt_outs_refuse_what_an_opt_out_of_one_category_refuses() -> None:
    wrong: Any = 7

    assert problems_of(lambda: OptOuts(Twice("doc"), ["C1"])) == [
        "a Twice has several records of a category, which cannot be turned round together @ OptOuts.whole"
    ]
    assert problems_of(lambda: OptOuts(ConsentObject("doc"), ["C1"], false_is_yes=wrong)) == [
        "expected a boolean, found a number @ OptOut.false_is_yes"
    ]


@pytest.mark.parametrize(
    ("id_", "is_accepted"),
    [(0, True), (2**53 - 1, True), (2**53, False), (-1, False), (True, False), (1.0, False), (" ", False), ("a", True)],
)
def test_an_id_is_text_or_a_whole_number_that_json_keeps_exactly(id_: Any, is_accepted: bool) -> None:
    if is_accepted:
        assert GrantedId("ids", id_).id == id_
    else:
        (problem,) = problems_of(lambda: GrantedId("ids", id_))
        assert problem.endswith(" @ GrantedId.id")
