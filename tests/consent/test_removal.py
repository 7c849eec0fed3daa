"""Tests of the causes of removals."""

from __future__ import annotations

import pytest

from airflow_consent_retl.consent import Denied, Reason, RemovalCause, cause_of, removal_cause


@pytest.mark.parametrize(
    ("reasons", "cause"),
    [
        (["C0004:denied"], RemovalCause.CONSENT_WITHDRAWN),
        (["C0002:unknown", "C0004:denied"], RemovalCause.CONSENT_WITHDRAWN),
        (["C0004:denied", "duplicate_id"], RemovalCause.CONSENT_WITHDRAWN),
        (["C0004:unknown"], RemovalCause.CONSENT_MISSING),
        (["C0004:invalid"], RemovalCause.CONSENT_MISSING),
        (["C0004:expired"], RemovalCause.EXPIRED),
        (["C0002:unknown", "C0004:expired"], RemovalCause.CONSENT_MISSING),
        (["suppression:denied"], RemovalCause.SUPPRESSED),
        (["C0004:unknown", "suppression:denied"], RemovalCause.SUPPRESSED),
        (["suppression:invalid"], RemovalCause.CONSENT_MISSING),
        (["gpc:denied"], RemovalCause.OBJECTED),
        (["gpc:invalid"], RemovalCause.CONSENT_MISSING),
        (["row_switch:denied", "suppression:denied"], RemovalCause.OBJECTED),
        (["row_switch:invalid"], RemovalCause.CONSENT_MISSING),
        (["C0004:denied", "gpc:denied", "row_switch:denied", "suppression:denied"], RemovalCause.CONSENT_WITHDRAWN),
        (["duplicate_id"], RemovalCause.ID_AMBIGUOUS),
        (["C0004:unknown", "duplicate_id"], RemovalCause.ID_AMBIGUOUS),
        (["missing_id"], RemovalCause.ID_AMBIGUOUS),
        (["unmapped_destination"], RemovalCause.DESTINATION_UNMAPPED),
        (["misspelt_destination"], RemovalCause.DESTINATION_UNMAPPED),
    ],
)
def test_distinguishes_an_explicit_no_from_missing_consent(reasons: list[str], cause: RemovalCause) -> None:
    denied = Denied(tuple(Reason(code) for code in reasons))

    assert removal_cause(reasons) is cause
    assert cause_of(denied) is cause


def test_refuses_a_denial_without_a_reason() -> None:
    with pytest.raises(ValueError, match="needs a reason"):
        removal_cause([])


@pytest.mark.parametrize(
    ("reasons", "before", "cause"),
    [
        (["C0004:denied"], ["C0002"], RemovalCause.POLICY_CHANGED),
        (["C0004:unknown"], ["C0002"], RemovalCause.POLICY_CHANGED),
        (["C0004:denied"], [], RemovalCause.POLICY_CHANGED),
        (["C0004:denied"], ["C0004"], RemovalCause.CONSENT_WITHDRAWN),
        (["C0004:denied"], None, RemovalCause.CONSENT_WITHDRAWN),
        # An id with a colon in it.
        (["ads:eu:denied"], ["ads:eu"], RemovalCause.CONSENT_WITHDRAWN),
        (["ads:eu:denied"], ["ads"], RemovalCause.POLICY_CHANGED),
        # Of alternatives, one that is not granted may never have been.
        (["C0004:denied"], [("C0002", "C0004")], RemovalCause.POLICY_CHANGED),
        (["C0002:denied", "C0004:unknown"], [("C0002", "C0004")], RemovalCause.CONSENT_WITHDRAWN),
        (["C0004:denied"], [("C0002", "C0004"), "C0004"], RemovalCause.CONSENT_WITHDRAWN),
        (["C0001:denied", "C0004:denied"], [("C0002", "C0004"), "C0001"], RemovalCause.CONSENT_WITHDRAWN),
        (["C0002:denied", "C0004:denied"], ["C0002"], RemovalCause.CONSENT_WITHDRAWN),
        (["C0002:unknown", "C0004:denied"], ["C0002"], RemovalCause.CONSENT_MISSING),
        (["C0004:denied", "gpc:denied"], ["C0002"], RemovalCause.OBJECTED),
        (["C0004:denied", "suppression:denied"], ["C0002"], RemovalCause.SUPPRESSED),
        (["suppression:unknown"], ["C0002"], RemovalCause.CONSENT_MISSING),
        (["duplicate_id", "C0004:denied"], ["C0002"], RemovalCause.ID_AMBIGUOUS),
        (["unmapped_destination"], ["C0002"], RemovalCause.DESTINATION_UNMAPPED),
    ],
)
def test_a_no_to_a_category_that_was_not_required_then_takes_nothing_back(
    reasons: list[str], before: list[str | tuple[str, ...]] | None, cause: RemovalCause
) -> None:
    assert removal_cause(reasons, required_before=before) is cause
    assert cause_of(Denied(tuple(map(Reason, reasons))), required_before=before) is cause
