"""The suppression list: it names no one, only grows, and recognises a person in every spelling of their id."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from airflow_consent_retl.consent.match_forms import MatchForm, in_form
from airflow_consent_retl.errors import ConfigurationError, RefusedError
from airflow_consent_retl.storage.decision_log import SubjectKey
from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.storage.forgotten import folded_ids
from airflow_consent_retl.storage.suppression import ForgottenList

OLD, NEW = SubjectKey("old " * 10), SubjectKey("new " * 10)
BOTH = SubjectKey("new " * 10, earlier=["old " * 10])


def listed(path: Path, key: SubjectKey = OLD) -> ForgottenList:
    return ForgottenList(Folder.local(path), lambda: key)


def files(path: Path) -> list[bytes]:
    return [file.read_bytes() for file in sorted((path / "acts").glob("*.json"))]


def forget(people: ForgottenList, *ids: str, models: list[str] | None = None) -> int:
    return people.forget(people.people(ids), models=models, by="test")


@pytest.mark.parametrize(
    ("listed_as", "in_model"),
    [
        ("Ann@X.example", pa.array(["ann@x.example"])),
        (" ann ", pa.array(["\tAnn\u00a0"])),
        ("jürgen", pa.array(["JU\u0308RGEN"])),
        ("17", pa.array([17])),
        ("17", pa.array([Decimal("17.00")])),
        ("17.5", pa.array([Decimal("17.50")])),
        ("\\xAB01", pa.array([b"\xab\x01"])),
        ("1970-01-02", pa.array([1], pa.int32()).cast(pa.date32())),
    ],
)
def test_a_person_is_recognised_in_every_spelling(tmp_path: Path, listed_as: str, in_model: pa.Array) -> None:
    people = listed(tmp_path)
    forget(people, listed_as)

    assert people.of_model("people").among(in_model).tolist() == [True]


def test_another_person_and_a_row_without_an_id_are_not_recognised(tmp_path: Path) -> None:
    people = listed(tmp_path)
    forget(people, "1", " ")

    found = people.of_model("people")

    assert found.among(pa.array(["2", None, "", "11", "1"])).tolist() == [False, False, False, False, True]
    assert len(found.found(pa.array(["1", " 1 "]))) == 1


@pytest.mark.parametrize(
    "ids", [["Ab ", "\x1fa\x1c", "a b", "ß", "\u00c5", " \u0661 ", "", None], ["\u3000x\ufeff", "I\u0307", "\u2028"]]
)
def test_ids_are_folded_as_the_law_folds_keys(ids: list[Any]) -> None:
    expected = [None if one is None else in_form(one, MatchForm.FOLDED) for one in ids]

    assert folded_ids(pa.array(ids, pa.string())).to_pylist() == expected


def test_the_list_holds_no_id_and_means_nothing_without_the_key(tmp_path: Path) -> None:
    people = listed(tmp_path)
    forget(people, "ann@x.example", "c17")

    assert not [one for one in files(tmp_path) if b"ann" in one or b"c17" in one]
    assert people.people(["c17"]) != listed(tmp_path, NEW).people(["c17"])


def test_a_person_is_put_on_the_list_once_and_files_are_only_added(tmp_path: Path) -> None:
    people = listed(tmp_path)
    assert forget(people, "1", "2") == 2
    before = files(tmp_path)

    assert forget(people, "1", " 2") == 0
    assert forget(people, "2", "3") == 1

    assert files(tmp_path)[: len(before)] == before
    assert len(files(tmp_path)) == 2


def test_a_list_may_be_about_some_models(tmp_path: Path) -> None:
    people = listed(tmp_path)
    forget(people, "1", models=["leads"])
    assert (bool(people.of_model("leads")), bool(people.of_model("customers"))) == (True, False)

    assert forget(people, "1", models=["leads", "customers"]) == 1
    assert forget(people, "1", models=["customers"]) == 0
    assert forget(people, "1") == 1

    assert people.of_model("another").among(pa.array(["1"])).tolist() == [True]


def test_a_lift_takes_back_what_was_there_and_nothing_that_came_later(tmp_path: Path) -> None:
    people = listed(tmp_path)
    forget(people, "1", "2")
    forget(people, "1", models=["leads"])

    assert people.lift(people.people(["1", "9"]), by="test") == 1
    assert people.of_model("leads").among(pa.array(["1", "2"])).tolist() == [False, True]
    assert people.lift(people.people(["1"]), by="test") == 0

    assert forget(people, "1") == 1
    assert people.of_model("leads").among(pa.array(["1", "2"])).tolist() == [True, True]


def test_a_replaced_key_still_recognises_the_people_of_its_time(tmp_path: Path) -> None:
    forget(listed(tmp_path, OLD), "1")
    both = listed(tmp_path, BOTH)
    forget(both, "2")

    assert both.of_model("people").among(pa.array(["1", "2", "3"])).tolist() == [True, True, False]
    assert forget(both, "1") == 0
    assert both.lift(both.people(["1"]), by="test") == 1
    assert both.of_model("people").among(pa.array(["1", "2"])).tolist() == [False, True]


def test_a_list_whose_key_is_lost_is_refused(tmp_path: Path) -> None:
    forget(listed(tmp_path, OLD), "1", "2")

    with pytest.raises(ConfigurationError, match=r"people were forgotten under digest key .*digest_key_previous"):
        listed(tmp_path, NEW).of_model("people")


@pytest.mark.parametrize("content", [b"", b"{}", b'{"kind": "suppression"'])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes) -> None:
    people = listed(tmp_path)
    forget(people, "1")
    next((tmp_path / "acts").glob("*.json")).write_bytes(content)

    with pytest.raises(RefusedError, match="not a SuppressionAct"):
        people.of_model("people")


@pytest.mark.parametrize("place", [0, -1])
def test_an_act_that_was_deleted_is_noticed_also_the_newest(tmp_path: Path, place: int) -> None:
    people = listed(tmp_path)
    forget(people, "1")
    forget(people, "2")
    sorted((tmp_path / "acts").glob("*.json"))[place].unlink()

    with pytest.raises(RefusedError, match="someone deleted this proof"):
        people.of_model("people")
    with pytest.raises(RefusedError, match="someone deleted this proof"):
        people.state  # noqa: B018 - reading it raises


def test_the_state_of_the_list_tells_every_act(tmp_path: Path) -> None:
    people = listed(tmp_path)
    states = [people.state]
    forget(people, "1")
    states.append(people.state)
    people.lift(people.people(["1"]), by="test")
    states.append(people.state)

    assert states[0] == ""
    assert len(set(states)) == 3
