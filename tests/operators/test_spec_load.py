"""Loads whose parameters are those of a spec: Airflow treats them as if the operator had listed them itself."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest
from airflow.sdk import DAG

from airflow_consent_retl.contract import ConfigurationError, Destination, DestinationSpec
from airflow_consent_retl.operators.spec_load import SpecLoadOperator

GIVEN: dict[str, Any] = {"task_id": "load", "permitted": {}, "destination": "desk", "fields": {"id": "user_id"}}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskSpec(DestinationSpec):
    templated: ClassVar[tuple[str, ...]] = ("desk_id",)
    internal: ClassVar[frozenset[str]] = frozenset({"drawer"})

    desk_id: str
    size: int = 3
    drawer: str = "top"

    def build(self) -> Destination:
        raise NotImplementedError


class LoadToDesk(SpecLoadOperator):
    """Keep a desk at the permitted rows."""

    spec_class = DeskSpec

    def checked(self, own: Mapping[str, Any]) -> Mapping[str, Any]:
        if own["size"] > 9:
            raise ConfigurationError("no desk is so large")
        return own


def test_the_signature_has_the_parameters_that_the_spec_offers() -> None:
    parameters = inspect.signature(LoadToDesk).parameters

    assert {name: one.default for name, one in parameters.items() if one.kind is one.KEYWORD_ONLY} == {
        "desk_id": inspect.Parameter.empty,
        "size": 3,
    }
    assert "desk_id" in LoadToDesk.template_fields


def test_a_templated_parameter_is_an_attribute_and_the_spec_has_its_rendered_value() -> None:
    load = LoadToDesk(**GIVEN, desk_id="{{ ds }}")
    assert vars(load)["desk_id"] == "{{ ds }}"

    load.render_template_fields({"ds": "2026-11-29"})

    assert load.destination_spec() == DeskSpec(desk_id="2026-11-29")


def test_default_args_of_a_dag_fill_the_parameters_of_the_spec() -> None:
    with DAG("desks", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), default_args={"desk_id": "7"}):
        load = LoadToDesk(**GIVEN)

    assert load.destination_spec() == DeskSpec(desk_id="7")


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({}, TypeError, "missing keyword argument 'desk_id'"),
        ({"desk_id": "7", "sise": 4}, TypeError, "sise"),
        ({"desk_id": "7", "drawer": "low"}, TypeError, "drawer"),
        ({"desk_id": "7", "size": 10}, ConfigurationError, "no desk is so large"),
    ],
)
def test_wrong_parameters_are_refused_when_the_dag_file_is_parsed(
    given: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        LoadToDesk(**GIVEN, **given)


def test_a_mapped_load_takes_the_parameters_of_the_spec() -> None:
    given = {name: value for name, value in GIVEN.items() if name != "destination"}
    with DAG("desks", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
        mapped = LoadToDesk.partial(**given, size=4).expand_kwargs([{"destination": "desk:a", "desk_id": "7"}])
        with pytest.raises(TypeError, match="sise"):
            LoadToDesk.partial(**{**given, "task_id": "other"}, sise=4)

    assert mapped.operator_class is LoadToDesk


def test_a_subclass_has_the_parameters_and_may_add_its_own() -> None:
    class LoadToTallDesk(LoadToDesk):
        def __init__(self, *, height: int, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.height = height

    load = LoadToTallDesk(**GIVEN, desk_id="7", height=120)

    assert (load.height, load.destination_spec()) == (120, DeskSpec(desk_id="7"))
