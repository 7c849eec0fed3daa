"""The declaration of a destination over HTTP: a record, checked as a whole when a DAG file is parsed.

It says how rows are stored, what removal means and how it is asked for, which fields are needed, which limits count,
and how answers are read. It imports nothing heavy and contacts nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from airflow_consent_retl.destinations.declared.declaration_checks import problems
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.fields.vendor_consent import VendorSignal

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.declared.declared_answers import AnswerMap
    from airflow_consent_retl.destinations.declared.declared_request import DeclaredRequest
    from airflow_consent_retl.destinations.http.vendor import Vendor
    from airflow_consent_retl.destinations.http.vendor_auth import Authentication

Needs = Sequence[str | tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Rate:
    """A number of requests in a period, over all workers of one account.

    Args:
        requests: the number.
        period_s: seconds of the period.
        by_clock: whether the vendor's periods begin with the clock; otherwise the limit counts in any period.
    """

    requests: int
    period_s: float = 1
    by_clock: bool = False


def rates_of(rate: Rate | tuple[Rate, ...] | None) -> tuple[Rate, ...]:
    """Return all rates of one kind of request."""
    if rate is None:
        return ()
    return (rate,) if isinstance(rate, Rate) else rate


@dataclass(frozen=True, slots=True)
class DeclaredRemoval:
    """One meaning of a removal.

    Args:
        sentence: what happens to the person at the vendor, in one sentence for people.
        request: asks for it. Its fields are kept at the delivery, since the person may leave the model later.
        rate: of these requests, where it is another one than the declaration's; several, where all of them count.
    """

    sentence: str
    request: DeclaredRequest
    rate: Rate | tuple[Rate, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationDeclaration:
    """A destination over HTTP, declared as data.

    Args:
        name: the vendor's name in messages, such as `Acme CRM`; empty: that of the vendor's record.
        send: the request that stores rows. It has to be safe to repeat: the same rows again change nothing.
        on_withdrawal: what can happen to a person who is removed, by the word that the DAG chooses it with, such as
            `unsubscribe` or `delete`. Empty: the destination cannot remove people.
        clear: the request that clears fields of people; None: a person who withdraws consent to a field between two
            loads is removed, and the next load sends them without it.
        vendor: the vendor's record, for one with a connection type of its own; None: the connection is of type
            `consentwebhook` or `http`.
        authentication: of a connection of type `consentwebhook` or `http`, such as `ApiKey(header="X-Api-Key")`, which
            takes the secret from its fields; None: as for a webhook.
        headers: sent with every request, such as the version of the API.
        idempotency_header: the header in which the vendor takes a key that makes repeated requests safe; None: none.
        needs: fields that the load has to map, besides those with a place of their own in `send`. A tuple such as
            `("email", "user_id")`: exactly one of them.
        refuses: fields that the load must not map, each with the reason.
        consent: fields that tell the vendor of consent, each with the values that the vendor takes. The load maps such
            a field to `consent(…)` of `airflow_consent_retl.fields`, never to a column or a constant. With the fields
            of a vendor's record, such as `TikTokConsent.taken()`, the load has to map them, and the right way round.
        parameters: the names of parameters, each with one sentence; the DAG gives their values to the operator.
        account: the parameter that names the account, for a vendor whose credentials alone decide it: the ledger keeps
            it as a part of the place. Empty: the host or the path name the account.
        nulls: `omit` leaves a field out where it is NULL, `null` sends JSON null.
        rate: the vendor's limit on requests, which all workers of an account keep together; several, where all of them
            count; None: there is none.
        people_share: whether two rows may be one person for the vendor, who then lose what the other one has: the
            vendor knows people by an e-mail or a phone number, and not by the model's key.
        own_codes: the vendor's codes of refused rows, which can never quote a value.
        remedies: by code, what a person can do about it.
        rows, max_body_bytes: the most rows and bytes of a request with `each_row` that does not say it itself.
        answer: how answers are read, for requests that do not say it themselves.

    Raises:
        ConfigurationError: something does not fit; the message names all errors, each with its path.
    """

    name: str = ""
    send: DeclaredRequest
    on_withdrawal: Mapping[str, DeclaredRemoval]
    clear: DeclaredRequest | None = None
    vendor: Vendor | None = None
    authentication: Authentication | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    idempotency_header: str | None = None
    needs: Needs = ()
    refuses: Mapping[str, str] = field(default_factory=dict)
    consent: Mapping[str, Collection[str | int | bool] | VendorSignal] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    account: str = ""
    nulls: Literal["omit", "null"] = "omit"
    rate: Rate | tuple[Rate, ...] | None = None
    people_share: bool = False
    own_codes: Collection[str] = ()
    remedies: Mapping[str, str] = field(default_factory=dict)
    rows: int | None = None
    max_body_bytes: int | None = None
    answer: AnswerMap | None = None

    def __post_init__(self) -> None:
        self._complete()
        if wrong := problems(self):
            raise ConfigurationError("; ".join(f"{text} @ $.{path}" for path, text in wrong))

    def _complete(self) -> None:
        """Fill in the name, and what requests leave to the declaration. A wrong part stays as it is, for the checks."""

        def completed(request: Any) -> Any:
            complete = getattr(request, "completed", None)
            return request if complete is None else complete(self.answer, self.rows, self.max_body_bytes)

        removals = {name: replace(one, request=completed(one.request)) for name, one in self.on_withdrawal.items()}
        names = {"send": completed(self.send), "clear": completed(self.clear), "on_withdrawal": removals}
        if not self.name and self.vendor is not None:
            names["name"] = self.vendor.name
        for name, value in names.items():
            object.__setattr__(self, name, value)

    @property
    def withdrawal_choices(self) -> dict[str, str]:
        """Each choice with its sentence."""
        return {choice: removal.sentence for choice, removal in self.on_withdrawal.items()}

    def needed(self) -> list[tuple[str, ...]]:
        """Return the fields that a load has to map: of each tuple exactly one."""
        own = [(name,) for name, one in self.send.fields_without(self.parameters).items() if not one.optional]
        stated = [(one,) if isinstance(one, str) else tuple(one) for one in self.needs]
        # Vendors take a signal that is missing for a yes.
        signals = [(name,) for name, values in self.consent.items() if isinstance(values, VendorSignal)]
        return list(dict.fromkeys([*own, *stated, *signals]))

    @property
    def consent_values(self) -> dict[str, Collection[str | int | float | bool]]:
        """The values that the vendor takes, by field for consent."""
        return {
            name: (values.granted, values.otherwise) if isinstance(values, VendorSignal) else values
            for name, values in self.consent.items()
        }

    def requests(self) -> list[tuple[str, DeclaredRequest]]:
        """Return every request, each with its path in the declaration."""
        removals = [(f"on_withdrawal.{choice}.request", one.request) for choice, one in self.on_withdrawal.items()]
        return [("send", self.send), *removals, *([("clear", self.clear)] if self.clear is not None else [])]
