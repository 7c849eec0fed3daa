"""Classes of parameters: a caller sees no difference from the standard library's frozen dataclasses."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from dataclasses import FrozenInstanceError, asdict, dataclass, field, fields, replace
from typing import Any, ClassVar

import pytest

from airflow_consent_retl.contract.parameter_class import parameter_class


def declared(decorate: Callable[[type], type]) -> Any:
    """Return a class of parameters that inherits some, made with a decorator."""

    @decorate
    class Pace:
        units: ClassVar[str] = "rows"
        rows: int
        seconds: float = 1

    @decorate
    class Target(Pace):
        rows: int = 1000
        host: str
        port: int
        names: tuple[str, ...] = ()
        secret: str = field(default="", repr=False, compare=False)
        url: str = field(init=False, compare=False)

        def __post_init__(self) -> None:
            object.__setattr__(self, "url", f"{self.host}:{self.port}")

    return Target


OURS = declared(parameter_class)
STANDARD = declared(dataclass(frozen=True, kw_only=True))


@pytest.mark.parametrize(
    ("given", "arguments"),
    [
        ((), {"host": "crm.example", "port": 443}),
        ((), {"host": "crm.example", "port": 443, "rows": 5, "seconds": 2, "names": ("a",), "secret": "s"}),
        ((), {"host": "crm.example"}),
        ((), {"rows": 5}),
        ((), {"host": "crm.example", "port": 443, "hots": 1}),
        ((), {"host": "crm.example", "port": 443, "url": "crm.example"}),
        ((), {"host": "crm.example", "port": 443, "units": "people"}),
        (("crm.example",), {"port": 443}),
        (("crm.example", 443), {}),
    ],
)
def test_makes_the_object_or_the_error_that_a_standard_dataclass_makes(
    given: tuple[object, ...], arguments: dict[str, object]
) -> None:
    assert made(OURS, given, arguments) == made(STANDARD, given, arguments)


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_names_all_missing_parameters_in_the_words_of_python(missing: int) -> None:
    def with_parameters(decorate: Callable[[type], type]) -> Any:
        return decorate(type("Needy", (), {"__annotations__": dict.fromkeys("abc"[:missing], int)}))

    ours, standard = with_parameters(parameter_class), with_parameters(dataclass(frozen=True, kw_only=True))

    assert made(ours, (), {}) == made(standard, (), {})
    assert "missing" in made(ours, (), {})


def made(kind: Any, given: tuple[object, ...], arguments: dict[str, object]) -> str:
    """Return what a call shows: the object with its `url`, or the error."""
    try:
        one = kind(*given, **arguments)
    except TypeError as error:
        return str(error).replace("with_parameters.<locals>.", "")
    return f"{one!r} {getattr(one, 'secret', '')}"


def test_has_the_signature_and_the_fields_of_a_standard_dataclass() -> None:
    one = OURS(host="crm.example", port=443)

    assert inspect.signature(OURS) == inspect.signature(STANDARD)
    assert [field.name for field in fields(OURS)] == [field.name for field in fields(STANDARD)]
    assert asdict(one) == asdict(STANDARD(host="crm.example", port=443))
    assert replace(one, port=80).url == "crm.example:80"


def test_objects_are_equal_by_the_compared_fields_of_one_class() -> None:
    one, same = (OURS(host="crm.example", port=443, names=("a",), secret=secret) for secret in "st")

    assert one == same
    assert hash(one) == hash(same)
    assert copy.deepcopy(one) == one
    assert one != OURS(host="crm.example", port=80, names=("a",))
    assert one != STANDARD(host="crm.example", port=443, names=("a",))


def test_an_object_cannot_be_changed() -> None:
    one = OURS(host="crm.example", port=443)

    with pytest.raises(FrozenInstanceError):
        one.port = 80
    with pytest.raises(FrozenInstanceError):
        del one.port


@parameter_class
class Options:
    rows: int = 1000


def test_a_standard_dataclass_of_a_plug_in_can_inherit_it() -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Own(Options):
        account: str

    assert repr(Own(account="a1")).endswith("Own(rows=1000, account='a1')")
    assert list(inspect.signature(Own).parameters) == ["rows", "account"]


def test_it_can_inherit_a_standard_dataclass() -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Base:
        rows: int = 1000

    @parameter_class
    class Own(Base):
        account: str

    assert repr(Own(account="a1")).endswith("Own(rows=1000, account='a1')")
    assert list(inspect.signature(Own).parameters) == ["rows", "account"]
