"""Tests of what a policy guards at a destination: each guard with all its names."""

from __future__ import annotations

from airflow_consent_retl.consent import (
    Category,
    CategoryId,
    Circumstances,
    ConsentPolicy,
    ConsentStatus,
    DestinationName,
    parse_policy,
    withheld_fields,
)
from airflow_consent_retl.consent.policy import FieldClass

ADS, EMEA, CRM = (DestinationName(name) for name in ("ads", "ads:emea", "crm"))
PHONE, EMAIL = FieldClass("phone", ("mobile", "cell")), FieldClass("email", ("mail",))


def guarding(name: str, *, enabled: bool = True, **fields: object) -> Category:
    return Category(CategoryId(name), name, (), enabled=enabled, **fields)  # type: ignore[arg-type]


POLICY = ConsentPolicy(
    (
        guarding(
            "C1",
            fields=((ADS, ("cell", "mobile", "phone", "zip")), (CRM, ("email", "mail"))),
            field_classes=((ADS, (PHONE,)), (CRM, (EMAIL,))),
        ),
        guarding("C2", fields=((EMEA, ("age", "zip")),)),
        guarding("C3", enabled=False, fields=((ADS, ("birthday",)),)),
    )
)


def test_a_class_is_one_guard_with_its_aliases_and_any_other_field_is_its_own() -> None:
    found = POLICY.guards("ads")

    assert found == {"phone": ("cell", "mobile", "phone"), "zip": ("zip",)}
    assert list(found) == ["phone", "zip"]
    assert POLICY.guards("crm") == {"email": ("email", "mail")}


def test_an_instance_has_the_guards_of_its_base_and_its_own() -> None:
    assert POLICY.guards("ads:emea") == {"age": ("age",), "phone": ("cell", "mobile", "phone"), "zip": ("zip",)}
    assert POLICY.guards("ads:apac") == POLICY.guards("ads")


def test_a_destination_without_guarded_fields_has_no_guards() -> None:
    assert POLICY.guards("lake") == {}


def test_a_field_is_guarded_by_the_regime_of_the_row_s_region() -> None:
    policy = parse_policy(
        {
            "categories": [{"id": "C1", "name": "Phone", "fields": {"ads": ["phone"]}, "regions": {"US": "opt_out"}}],
            "destinations": {"ads": {"consent": "not_required", "reason": "own store"}},
        }
    )

    def withheld(region: str | None, **consent: ConsentStatus) -> tuple[str, ...]:
        given = {CategoryId(name): status for name, status in consent.items()}
        return withheld_fields(policy, "ads", given, circumstances=Circumstances(region=region))

    assert withheld("US") == ()
    assert withheld("US", C1=ConsentStatus.DENIED) == ("phone",)
    assert withheld("DE") == withheld(None) == ("phone",)
    assert withheld("DE", C1=ConsentStatus.GRANTED) == ()
