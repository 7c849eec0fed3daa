"""Tests of formats of one's own: they are named by module and class, and nothing else is read as one."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from airflow_consent_retl.consent import (
    BitMask,
    CategorySignal,
    ColumnKind,
    ConsentStatus,
    DocumentSignal,
    FirstOf,
    IntegrationsObject,
    Literals,
    OptOut,
    OptOuts,
    Recorded,
    RowConsent,
    WholeConsent,
    mapping_document,
    parse_consent_mapping,
    parse_mapping_document,
)
from airflow_consent_retl.consent import BooleanColumn as TheirBooleanColumn
from airflow_consent_retl.consent.format_document import format_document
from airflow_consent_retl.consent.formats.format_registry import _FORMATS, format_named, is_built_in, name_of_format
from airflow_consent_retl.consent.signals import Signal
from airflow_consent_retl.consent.switches import DestinationSwitch, RowSwitches
from airflow_consent_retl.errors import PolicyError

OWN = "consent_formats_of_this_test"


@dataclass(frozen=True, slots=True)
class Mood(DocumentSignal):
    column: str
    happy: tuple[str, ...] = (":)",)
    limits: tuple[tuple[str, int], ...] = ()
    ratio: float = 0.5
    strict: bool = True
    note: str | None = None

    def read(self, text: str) -> ConsentStatus:
        return ConsentStatus.GRANTED if text in self.happy else ConsentStatus.DENIED


@dataclass(frozen=True, slots=True)
class Moods(WholeConsent):
    column: str

    def for_category(self, category_id: str, name: str) -> Mood:
        return Mood(self.column, (category_id,))


@dataclass(frozen=True, slots=True)
class BooleanColumn(CategorySignal):
    """A format with the name of a built-in format and the opposite meaning."""

    column: str

    @property
    def kinds(self) -> frozenset[ColumnKind]:
        return frozenset({ColumnKind.BOOLEAN})

    @property
    def granting(self) -> tuple[bool, ...]:
        return (False,)

    @property
    def denying(self) -> tuple[bool, ...]:
        return (True,)

    def token(self, raw: object) -> int:
        return 0 if raw is None else 1 if raw is False else 2 if raw is True else 3


class Folded(Literals):
    def token(self, raw: object) -> int:
        return Literals.token(self, raw.lower() if isinstance(raw, str) else raw)


class OwnSwitches(RowSwitches):
    def for_destination(self, destination: str) -> Signal:
        return OwnSwitch(self.column, destination)


@dataclass(frozen=True, slots=True)
class OwnSwitch(DestinationSwitch):
    column: str
    destination: str

    def is_on(self, text: str) -> bool | None:
        return text != self.destination


class Outer:
    @dataclass(frozen=True, slots=True)
    class Inner(Mood):
        pass


@dataclass(frozen=True)
class Undeclared(DocumentSignal):
    """A format without a field `column`."""

    where: str

    @property
    def column(self) -> str:  # type: ignore[override]  # that is what is wrong with it
        return self.where

    def read(self, text: str) -> ConsentStatus:
        return ConsentStatus.UNKNOWN


class Plain(DocumentSignal):
    def __init__(self, column: str) -> None:
        self.column = column

    def read(self, text: str) -> ConsentStatus:
        return ConsentStatus.UNKNOWN


@dataclass(frozen=True)
class Changeable(Mood):
    """A format whose objects with the same parameters are never equal."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "column", self.column + "!")


class Colour(StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    "mapping",
    [
        {"C0004": Mood("face")},
        {"C0004": Mood("face", (":)", ";)"), limits=(("a", 1), ("b", -2)), ratio=0.25, strict=False, note="n")},
        Moods("face"),
        {"C0002": BooleanColumn("no"), "C0004": TheirBooleanColumn("yes")},
        {"C0004": Folded("ads", granted=("yes",))},
        {"C0004": Outer.Inner("face")},
        {"C0004": FirstOf(Mood("face"), Recorded(Mood("web"), time="at"))},
        RowConsent(Moods("face"), switches=OwnSwitches("off", names={"google_ads": "Google"})),
        RowConsent({"C0004": Mood("face")}, region="country"),
    ],
    ids=repr,
)
def test_reads_back_what_it_wrote_through_json(mapping: Any) -> None:
    checked = parse_consent_mapping(mapping)

    read = parse_mapping_document(json.loads(json.dumps(mapping_document(checked))))

    assert read == checked


def test_is_named_by_module_and_class_with_its_parameters() -> None:
    document = mapping_document(parse_consent_mapping({"C0004": Outer.Inner("face")}))

    assert document == {
        "C0004": {
            "format": f"{Mood.__module__}:Outer.Inner",
            "column": "face",
            "happy": (":)",),
            "limits": (),
            "ratio": 0.5,
            "strict": True,
            "note": None,
        }
    }


def test_a_class_with_the_name_of_a_built_in_format_is_not_confused_with_it() -> None:
    document = json.loads(json.dumps(mapping_document(parse_consent_mapping({"C0004": BooleanColumn("no")}))))

    ((_, read),) = parse_mapping_document(document).entries

    assert isinstance(read, Recorded)
    assert read.signal.status(read.signal.token(True)) is ConsentStatus.DENIED
    assert not is_built_in(BooleanColumn)
    assert is_built_in(TheirBooleanColumn)
    assert (name_of_format(BitMask), name_of_format(TheirBooleanColumn)) == ("BitMask", "BooleanColumn")


def local_format() -> DocumentSignal:
    @dataclass(frozen=True)
    class Local(Mood):
        pass

    return Local("face")


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (local_format(), "is defined in a function: move it to the top of a module"),
        (Plain("face"), "must be a dataclass with a field `column`"),
        (Undeclared("face"), "must be a dataclass with a field `column`"),
        (Changeable("face"), "differs from the object that its module makes of its parameters"),
        (Mood("face", happy=[":)"]), "parameter `happy` of consent format"),  # type: ignore[arg-type]
        (Mood("face", note=Colour.RED), "is text: expected text, a number, a boolean, None, or a tuple of these"),
        (Mood("face", ratio=float("nan")), "parameter `ratio`"),
        (Mood("face", note=date(2026, 1, 1)), "is a date: expected text"),  # type: ignore[arg-type]
        (Mood("face", happy=((":)", {1}),)), "parameter `happy`"),  # type: ignore[arg-type]
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_format_that_no_load_could_read_back_is_refused_before_any_row_is_read(
    declared: DocumentSignal, message: str
) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_consent_mapping({"C0004": declared})

    ((problem),) = caught.value.problems
    assert problem.path == "consent.C0004"
    assert message in problem.message


def test_every_place_of_a_mapping_is_checked() -> None:
    class Local(Moods):
        pass

    class LocalSwitches(IntegrationsObject):
        pass

    with pytest.raises(PolicyError, match=r"is defined in a function.* @ consent$"):
        parse_consent_mapping(Local("face"))
    with pytest.raises(PolicyError, match=r"is defined in a function.* @ consent\.switches$"):
        RowConsent({"C0004": "ads"}, switches=LocalSwitches("off"))
    with pytest.raises(PolicyError, match=r"1 problem:\n.* @ consent\.C0002$"):
        parse_consent_mapping({"C0004": Mood("face"), "C0002": FirstOf(Mood("face"), Recorded(local_format()))})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module_anywhere:Mood", "module `no_such_module_anywhere` cannot be imported here"),
        ("json:Mood", "module `json` has no `Mood`: keep the class there"),
        ("json:decoder.Mood", "module `json` has no `decoder.Mood`"),
        ("json:dumps", "`json:dumps` is not a consent format"),
        ("json:JSONDecoder", "`json:JSONDecoder` is not a consent format"),
        ("airflow_consent_retl.consent.signals:Signal", "is not a consent format"),
        ("os:system('x')", "as `module:Class`, with Python names"),
        ("../json:Mood", "as `module:Class`, with Python names"),
        ("json:", "as `module:Class`, with Python names"),
        (":Mood", "as `module:Class`, with Python names"),
        ("a:b:c", "as `module:Class`, with Python names"),
        ("json.:Mood", "as `module:Class`, with Python names"),
        ("Tarot", "this version does not know the consent format"),
        (7, "this version does not know the consent format"),
        (None, "this version does not know the consent format"),
        (["BooleanColumn"], "this version does not know the consent format"),
    ],
)
def test_a_name_that_is_not_a_format_is_refused(name: object, message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        format_named(name)

    ((problem),) = caught.value.problems
    assert problem.path == "consent"
    assert message in problem.message


def test_a_missing_module_is_named_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / f"{OWN}.py"
    file.write_text("import a_package_that_is_missing\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    with pytest.raises(PolicyError) as caught:
        parse_mapping_document({"C0004": {"format": f"{OWN}:Mood", "column": "face"}})

    assert [str(problem) for problem in caught.value.problems] == [
        f"consent format `{OWN}:Mood`: module `{OWN}` cannot be imported here (No module named "
        "'a_package_that_is_missing'): put its file into the DAGs folder or the plugins folder, or install it, "
        "wherever loads and reports run @ consent"
    ]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"C0004": {"format": f"{__name__}:Mood"}}, "Mood does not accept its parameters"),
        ({"C0004": {"format": f"{__name__}:Mood", "column": "a", "moon": 1}}, "Mood does not accept"),
        ({"C0004": {"format": f"{__name__}:Moods", "column": "a"}}, "Moods is not a format of one category"),
        ({"format": f"{__name__}:Mood", "column": "a"}, "Mood is not a format of all categories"),
        ({"format": "Literals", "column": "a", "granted": ["x"]}, "Literals is not a format of all categories"),
        (
            {"format": "RowConsent", "categories": {}, "switches": {"format": f"{__name__}:Mood", "column": "a"}},
            "Mood is not a format of a row's switches",
        ),
    ],
)
def test_a_format_is_read_only_where_its_kind_belongs(document: dict[str, Any], message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        parse_mapping_document(document)


def test_an_engine_compares_only_what_a_format_compares_exactly() -> None:
    assert not TheirBooleanColumn.is_read
    assert not Literals.is_read
    assert Folded.is_read
    assert BooleanColumn.is_read
    assert Mood.is_read


def test_a_format_that_compares_in_its_own_way_is_read_unless_it_says_otherwise() -> None:
    class Kept(Literals):
        pass

    class Compared(Literals):
        def token(self, raw: object) -> int:
            return 0

    class Exact(Compared):
        is_read = False

        def token(self, raw: object) -> int:
            return 0

    assert Literals.is_read is Kept.is_read is False
    assert Compared.is_read is True
    assert Exact.is_read is False


@pytest.mark.parametrize("status", [ConsentStatus.EXPIRED, ConsentStatus.CONFLICT, True, None, "granted?"])
def test_a_text_that_is_read_as_something_else_is_invalid(status: Any) -> None:
    @dataclass(frozen=True)
    class Strange(DocumentSignal):
        column: str

        def read(self, text: str) -> ConsentStatus:
            return status  # type: ignore[no-any-return]  # a value that a careless format may return

    signal = Strange("face")

    assert signal.status(signal.token("x")) is ConsentStatus.INVALID


def test_the_defaults_for_engines_are_always_safe() -> None:
    mood = Mood("face")

    assert (mood.document_path, mood.below(0), mood.time_bounds) == ((), None, ())
    assert OwnSwitch("off", "crm").status(1) is ConsentStatus.UNKNOWN
    assert (OwnSwitch("off", "crm").alphabet, OwnSwitch("off", "crm").holds_consent) == ((), False)
    assert mood.holds_consent


def test_a_format_that_cannot_be_read_back_is_named() -> None:
    module = Mood.__module__
    wrong: Any = {"C0002": Mood("face", ratio=float("nan")), "C0004": Changeable("face")}

    with pytest.raises(PolicyError) as caught:
        parse_consent_mapping(wrong)

    assert [str(problem) for problem in caught.value.problems] == [
        f"parameter `ratio` of consent format `{module}:Mood` is a number: expected text, a number, a boolean, None, "
        "or a tuple of these @ consent.C0002",
        f"consent format `{module}:Changeable` differs from the object that its module makes of its parameters @ "
        "consent.C0004",
    ]


def test_a_format_that_is_turned_round_is_checked_where_it_is_declared() -> None:
    class Local(Moods):
        pass

    declared: Any
    for declared, path in (
        ({"C0004": OptOut(local_format())}, "consent.C0004"),
        (OptOuts(Local("face"), ["C0004"]), "consent"),
    ):
        with pytest.raises(PolicyError) as caught:
            parse_consent_mapping(declared)
        assert [problem.path for problem in caught.value.problems] == [path]


def test_a_format_that_is_no_dataclass_has_no_parameters_in_its_document() -> None:
    assert format_document(Plain("face")) == {"format": f"{Mood.__module__}:Plain"}


def test_each_name_in_the_registry_is_that_of_a_format_of_this_package() -> None:
    for name in _FORMATS:
        found = format_named(name)

        assert found.__name__ == name
        assert is_built_in(found)
        assert name_of_format(found) == name


def test_the_registry_loads_no_format_before_it_is_asked_for() -> None:
    script = (
        "import sys\n"
        "import airflow_consent_retl.consent.formats.format_registry as registry\n"
        "print(registry.format_named('BitMask').__name__)\n"
        "print(*sorted(one for one in sys.modules if one.startswith('airflow_consent_retl.consent.formats.')))"
    )

    printed = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout

    assert printed.splitlines()[-2:] == [
        "BitMask",
        "airflow_consent_retl.consent.formats.bit_mask airflow_consent_retl.consent.formats.format_registry",
    ]
