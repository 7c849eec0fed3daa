"""Tests of the formats with declared JSON values: what a format for all categories passes on to that of one."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from airflow_consent_retl.consent import (
    JsonList,
    JsonListItem,
    JsonMap,
    JsonPath,
    OneTrustPurpose,
    OneTrustPurposes,
    TranscendPurpose,
    TranscendPurposes,
    UsercentricsService,
    UsercentricsServices,
)
from airflow_consent_retl.errors import PolicyError

STATES: dict[str, Any] = {"granted": ("y",), "denied": ("n",), "unknown": ("u",), "expired": ("x",)}


@pytest.mark.parametrize(("key_by", "key"), [("id", "C0004"), ("name", "Advertising")])
def test_each_category_is_read_with_every_declared_parameter(key_by: Literal["id", "name"], key: str) -> None:
    of_list = JsonList("doc", path="a.b", id="meta.id", state="meta.on", key_by=key_by, **STATES)
    of_map = JsonMap("doc", path="a.b", state="state.on", key_by=key_by, **STATES)

    assert of_list.for_category("C0004", "Advertising") == JsonListItem(
        "doc", key, path=("a", "b"), id=("meta", "id"), state=("meta", "on"), **STATES
    )
    assert of_map.for_category("C0004", "Advertising") == JsonPath("doc", ("a", "b", key, "state", "on"), **STATES)


@pytest.mark.parametrize(
    ("whole", "single"),
    [
        (OneTrustPurposes, OneTrustPurpose),
        (TranscendPurposes, TranscendPurpose),
        (UsercentricsServices, UsercentricsService),
    ],
)
def test_a_category_is_read_where_all_of_them_are(whole: Any, single: Any) -> None:
    assert whole("doc", ("a", "b")).for_category("P1", "Advertising") == single("doc", "P1", path=("a", "b"))


def test_an_entry_of_a_list_has_an_id_and_says_whether_it_is_enabled() -> None:
    assert JsonListItem("doc", "C0004") == JsonListItem(
        "doc", "C0004", path=(), id=("id",), state=("enabled",), granted=(True,), denied=(False,)
    )


@pytest.mark.parametrize(("id_", "state"), [("id", "id"), ("id", "id.on"), ("id.of", "id"), ("a.b", ("a", "b"))])
def test_the_id_and_the_state_of_an_entry_are_two_values(id_: str, state: Any) -> None:
    with pytest.raises(PolicyError) as refused:
        JsonList("doc", id=id_, state=state)

    assert [str(problem) for problem in refused.value.problems] == [
        "the id of an entry and its state are two values @ JsonList.state"
    ]
    assert JsonList("doc", id="meta.id", state="meta.on").state == ("meta", "on")


@pytest.mark.parametrize(
    ("path", "keys"), [("", ()), ("a.b", ("a", "b")), (["a.b", "c"], ("a.b", "c")), ([], ()), (("a",), ("a",))]
)
def test_a_path_is_dotted_text_or_keys_one_by_one(path: Any, keys: tuple[str, ...]) -> None:
    assert JsonMap("doc", path=path) == JsonMap("doc", path=keys)
    assert JsonMap("doc", path=path).path == keys
