"""Consent that is recorded the other way round: a column in which a yes means that the person objects."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_consent_retl.consent.formats.boolean_column import BooleanColumn
from airflow_consent_retl.consent.json_path import type_name
from airflow_consent_retl.consent.signals import CategorySignal, ColumnKind, ConsentStatus, WholeConsent, require
from airflow_consent_retl.errors import Problem

if TYPE_CHECKING:
    from airflow_consent_retl.consent.document_parts import DocumentPart


@dataclass(frozen=True, slots=True, init=False)
class OptOut(CategorySignal):
    """A column of objections: `OptOut("HasOptedOutOfEmail")`. TRUE is a no; FALSE and NULL are unknown.

    Most systems write FALSE for people who were never asked, so FALSE is no consent: it denies under `opt_in` and
    permits under `opt_out`. `false_is_yes=True` declares that FALSE is an explicit yes. A value that cannot be read is
    invalid. Keys and ids are looked up strictly: one that differs only in form is invalid.

        OptOut(Literals("email_status", granted=("unsubscribed",), denied=("active",)))
        OptOut(ConsentObjectKey("consent", ("ccpa", "data_sale_opt_out", "consented")))

    Args:
        signal: a boolean column's name, or the format of the column. Its granted values mean that the person objects.
        false_is_yes: whether its denied values are an explicit yes.

    Raises:
        PolicyError: a parameter is wrong: the format follows a public standard, which says what a yes is; it contains
            all categories; it takes a missing key for an answer; or it has answers that expire.
    """

    signal: CategorySignal
    false_is_yes: bool
    column: str = field(init=False)

    def __init__(self, signal: str | CategorySignal, *, false_is_yes: bool = False) -> None:
        turned = BooleanColumn(signal) if isinstance(signal, str) else signal
        require(_problems(turned, false_is_yes))
        object.__setattr__(self, "signal", turned)
        object.__setattr__(self, "false_is_yes", false_is_yes)
        object.__setattr__(self, "column", turned.column)

    @property
    def kinds(self) -> frozenset[ColumnKind]:
        """The kinds of the column."""
        return self.signal.kinds

    @property
    def granting(self) -> tuple[str | int | bool, ...]:
        """The raw values that mean an objection, in token order."""
        return self.signal.granting

    @property
    def denying(self) -> tuple[str | int | bool, ...]:
        """The raw values that mean no objection, in token order."""
        return self.signal.denying

    @property
    def undecided(self) -> tuple[str | int | bool, ...]:
        """The raw values that are no answer, in token order."""
        return self.signal.undecided

    @property
    def document_part(self) -> DocumentPart | None:
        """The part that the strict lookup reads."""
        return self.signal.where_silence_permits().document_part

    def token(self, raw: object) -> int:
        """Return the token of the column's format; `status` turns its meaning round."""
        return self.signal.where_silence_permits().token(raw)

    def status(self, token: int) -> ConsentStatus:
        """Return `denied` for an objection, and never `granted` unless the absence of one is declared a yes."""
        found = self.signal.status(token)
        if found is ConsentStatus.GRANTED:
            return ConsentStatus.DENIED
        if found is ConsentStatus.DENIED:
            return ConsentStatus.GRANTED if self.false_is_yes else ConsentStatus.UNKNOWN
        return found


def _problems(signal: object, false_is_yes: object) -> list[Problem]:
    problems = []
    if isinstance(signal, WholeConsent) or not isinstance(signal, CategorySignal):
        problems.append(
            Problem("OptOut.signal", f"expected a column or the format of one category, found {type_name(signal)}")
        )
    elif isinstance(signal, OptOut) or signal.is_standard:
        problems.append(
            Problem("OptOut.signal", f"{type(signal).__name__} itself says what a yes is and cannot be turned round")
        )
    elif getattr(signal, "missing", None) == "denied":
        # A missing key must never become a yes, nor hide an objection.
        problems.append(Problem("OptOut.signal", 'remove missing="denied": a missing key is no answer'))
    elif signal.expiring:
        # Under `opt_out`, what has expired permits.
        problems.append(
            Problem("OptOut.signal", "an objection does not expire: list these values as granted or unknown")
        )
    if not isinstance(false_is_yes, bool):
        problems.append(Problem("OptOut.false_is_yes", f"expected a boolean, found {type_name(false_is_yes)}"))
    return problems
