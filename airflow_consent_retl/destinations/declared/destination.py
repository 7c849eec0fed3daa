"""The destination that a declaration describes: its requests, its limits and the reading of its answers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa

from airflow_consent_retl.contract.account_rate import AccountRate
from airflow_consent_retl.contract.destination import Limits, Load
from airflow_consent_retl.contract.outcomes import FORGOTTEN, Outcome, Outcomes, RowStatus
from airflow_consent_retl.destinations.declared.declaration import rates_of
from airflow_consent_retl.destinations.declared.declaration_checks import wrong_fields
from airflow_consent_retl.destinations.declared.path_template import filled, names_in
from airflow_consent_retl.destinations.declared.row_references import ROW, at
from airflow_consent_retl.destinations.declared.template_rows import missing, template_rows
from airflow_consent_retl.destinations.http.destination import HttpDestination
from airflow_consent_retl.destinations.http.purpose import Purpose
from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_consent_retl.contract.destination import Batch
    from airflow_consent_retl.destinations.declared.building import DeclaredHttpOptions
    from airflow_consent_retl.destinations.declared.declaration import DeclaredRemoval, DestinationDeclaration, Rate
    from airflow_consent_retl.destinations.declared.declared_request import DeclaredRequest
    from airflow_consent_retl.destinations.http.address import HttpAddress
    from airflow_consent_retl.destinations.http.bodies import Row
    from airflow_consent_retl.destinations.http.responses import SentRows

# Rows in one entry of the ledger, for a vendor that takes one row in a request.
_ROWS_ONE_BY_ONE = 100
_FORGOTTEN_REMEDY = (
    "Forgotten people are refused for ever, and a row is sent again only when it changes: keep them in a "
    "SuppressionList"
)


class DeclaredHttpDestination(HttpDestination):
    """A destination whose requests are declared as data. A subclass returns its declaration, and nothing else.

    A vendor may have several forms of requests, which differ in their fields or paths: then `declaration` is one that
    has the name and the choices of the class.

    A row without a value that the vendor needs is rejected as `missing_…`, one with a value that the vendor does not
    take for consent as `invalid_consent`. Which people a removal names is kept at the delivery: the fields of each
    removal that the declaration offers, so that the choice can change later.

    Args:
        address: of the host.
        options: see `DeclaredHttpOptions`.
        declaration: None: the class's own.
    """

    nulls_by_field: ClassVar[frozenset[str]] = frozenset({"omit", "send"})
    account_requests_per_s: ClassVar[float | None]
    batch_rows: ClassVar[int]
    max_body_bytes: ClassVar[int | None]
    max_row_bytes: ClassVar[int | None]

    @staticmethod
    @abstractmethod
    def declared() -> DestinationDeclaration:
        """Return the declaration."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Take the attributes of the class from its declaration."""
        super().__init_subclass__(**kwargs)
        declaration = cls.declared()
        cls.name = declaration.name
        cls.can_remove = bool(declaration.on_withdrawal)
        cls.can_clear = declaration.clear is not None
        cls.withdrawal_choices = declaration.withdrawal_choices
        # For people who look at the class: all workers of an account keep the rate together.
        cls.account_requests_per_s = min(
            (one.requests / one.period_s for one in rates_of(declaration.rate)), default=None
        )
        cls.batch_rows = declaration.send.most_rows
        cls.max_body_bytes = declaration.send.max_body_bytes
        cls.max_row_bytes = declaration.send.max_row_bytes

    def __init__(
        self, address: HttpAddress, options: DeclaredHttpOptions, declaration: DestinationDeclaration | None = None
    ) -> None:
        self._declaration = declaration or self.declared()
        self._base = address
        self._options = options
        self._parameters = {name: value for name, value in options.parameters.items() if value is not None}
        super().__init__(address.at(self._path(self._declaration.send)), options)

    @property
    def limits(self) -> Limits:
        """The declared limits."""
        removal, rows = self._removal, self._declaration.send.most_rows
        removal_rows = removal.request.most_rows if removal else rows
        return Limits(
            batch_rows=min(self._options.batch_rows, rows if rows > 1 else _ROWS_ONE_BY_ONE),
            removal_rows=min(self._options.batch_rows, removal_rows if removal_rows > 1 else _ROWS_ONE_BY_ONE),
            concurrency=self._options.concurrency,
            account=self.account_rates() or None,
        )

    @property
    def on_withdrawal(self) -> str:
        """The choice of the DAG."""
        return self._options.on_withdrawal or ""

    @property
    def target(self) -> str:
        """The place that rows go to, with the parameters, which may name a list or an account."""
        named = ", ".join(f"{name} {value}" for name, value in sorted(self._parameters.items()))
        return f"{super().target} with {named}" if named else super().target

    @property
    def former_targets(self) -> Sequence[str]:
        """None: every release recorded this text."""
        return ()

    def is_own_code(self, code: str) -> bool:
        """Return whether a code is a status, or one of those that the declaration names."""
        return code in self._declaration.own_codes or super().is_own_code(code)

    def remedy(self, code: str) -> str:
        """Return the declaration's remedy."""
        return self._declaration.remedies.get(code, _FORGOTTEN_REMEDY if code == FORGOTTEN else "")

    def sent_as(self, rows: pa.RecordBatch, load: Load) -> list[dict[str, object]]:
        """Return the form of each row in the body."""
        records = self.sending(load).encoder.rows(rows).records
        return [dict(one.form) if isinstance(one.form, Mapping) else {"row": one.form} for one in records]

    def account_rates(self) -> tuple[AccountRate, ...]:
        """Return the declared rate, of the account that a parameter names, or of the credentials."""
        return self._account_rates(self._declaration.rate, of="")

    def remove(self, batch: Batch) -> Outcomes:
        """Send a removal, with retries and pieces as in `send`.

        A person of whom nothing was kept was never sent, and counts as removed. One of whom only other fields were
        kept than this removal needs is rejected as `missing_…`: the choice changed since they were sent.
        """
        outcomes = super().remove(batch)
        unnamed = self._unnamed(batch.rows)
        return replace(outcomes, exceptions={**outcomes.exceptions, **unnamed}) if unnamed else outcomes

    def sending(self, load: Load) -> Purpose:
        """Return the declared request that stores rows."""
        wrong = wrong_fields(self._declaration, load.schema.names)
        if wrong:
            raise ConfigurationError("; ".join(wrong))
        return self._purpose(
            self._declaration.send,
            load.schema,
            cleared=load.nulls_sent,
            omitted=load.nulls_omitted,
            # INVARIANT: no one is sent who could not be removed later: by any of the declared removals that are mapped.
            needed=[*self._declaration.needed(), *self._needed_later(load)],
        )

    def removal_schema(self, load: Load) -> pa.Schema:
        """Return the mapped fields that any of the declared removals needs."""
        chosen = self._removal
        if chosen is not None:
            self._check_mapped(chosen.request, load)
        requests = [one.request for one in self._declaration.on_withdrawal.values()]
        if self._declaration.clear is not None:
            requests.append(self._declaration.clear)
        names = dict.fromkeys(name for one in requests for name in self._fields(one))
        return pa.schema([load.schema.field(name) for name in names if name in load.schema.names])

    def removing(self, load: Load) -> Purpose | None:
        """Return the declared request for the chosen meaning of a removal."""
        if self._removal is None:
            return None
        request = self._removal.request
        purpose = self._purpose(request, self.removal_schema(load), needed=self._needed_by(request), removes=True)
        # Removals may have a rate of their own.
        return replace(purpose, rates=self._account_rates(self._removal.rate, of=self.on_withdrawal) or None)

    def clearing(self, load: Load, fields: Sequence[str]) -> Purpose | None:
        """Return the declared request that clears fields."""
        request = self._declaration.clear
        if request is None:
            return None
        people = self.removal_schema(load)
        schema = pa.schema([*people, *(pa.field(name, pa.string()) for name in fields)])
        return self._purpose(request, schema, cleared=fields, needed=self._needed_by(request), removes=True)

    def _purpose(
        self,
        request: DeclaredRequest,
        schema: pa.Schema,
        *,
        needed: Sequence[tuple[str, ...]],
        cleared: Collection[str] = (),
        omitted: Collection[str] = (),
        removes: bool = False,
    ) -> Purpose:
        endpoint = self._endpoint(request)
        removal_endpoint = None if removes or self._removal is None else self._endpoint(self._removal.request)

        def fits(row: Row) -> bool:
            return removal_endpoint is None or _is_endpoint(self._base, removal_endpoint(row))

        return Purpose(
            method=request.method,
            address=self._base.at(self._path(request)),
            encoder=template_rows(
                request.body,
                schema,
                parameters=self._parameters,
                nulls=self._declaration.nulls,
                cleared=cleared,
                omitted=omitted,
                needed=needed,
                consent=self._declaration.consent_values,
                fits=None if removal_endpoint is None else fits,
            ),
            read=request.reader.read,
            removes=removes,
            key_header=self._declaration.idempotency_header,
            max_rows=request.most_rows,
            max_body_bytes=request.max_body_bytes,
            max_row_bytes=request.max_row_bytes,
            endpoint=None if endpoint is None else lambda sent: endpoint(_row_of(sent)),
            row_statuses=getattr(request.answer, "not_there", ()) if request.most_rows == 1 else (),
        )

    def _account_rates(self, rate: Rate | tuple[Rate, ...] | None, *, of: str) -> tuple[AccountRate, ...]:
        address, named = self._base, self._parameters.get(self._declaration.account)
        account = str(named) if named is not None else "\n".join([address.conn_id, *map(str, address.headers.values())])
        return tuple(
            AccountRate(
                # The vendor counts kinds of requests with rates of their own apart.
                account=f"{address.host}\n{account}\n{of}",
                requests=one.requests,
                period_s=one.period_s,
                by_clock=one.by_clock,
                vendor=self.name,
            )
            for one in rates_of(rate)
        )

    @property
    def _removal(self) -> DeclaredRemoval | None:
        return self._declaration.on_withdrawal.get(self._options.on_withdrawal or "")

    def _endpoint(self, request: DeclaredRequest) -> Callable[[Row], str] | None:
        path = filled(request.path, self._parameters)
        names = names_in(path)
        return (lambda row: filled(path, {name: at(row, name) for name in names})) if names else None

    def _path(self, request: DeclaredRequest) -> str:
        """Return a request's path for messages and for the ledger: a field's value is `-`."""
        path = filled(request.path, self._parameters)
        return filled(path, dict.fromkeys(names_in(path), "-"))

    def _fields(self, request: DeclaredRequest) -> list[str]:
        return list(request.fields_without(self._declaration.parameters))

    def _needed_by(self, request: DeclaredRequest) -> list[tuple[str, ...]]:
        fields = request.fields_without(self._declaration.parameters).values()
        alternatives = tuple(one.name for one in fields if one.optional)
        return [(one.name,) for one in fields if not one.optional] + ([alternatives] if alternatives else [])

    def _needed_later(self, load: Load) -> list[tuple[str, ...]]:
        removals = [one.request for one in self._declaration.on_withdrawal.values()]
        every = {
            tuple(n for n in names if n in load.schema.names) for one in removals for names in self._needed_by(one)
        }
        return sorted(names for names in every if names)

    def _unnamed(self, rows: pa.RecordBatch) -> dict[int, Outcome]:
        """Return the people of whom something was kept, but nothing that the chosen removal needs."""
        if self._removal is None:
            return {}
        unnamed: dict[int, Outcome] = {}
        for row, kept in enumerate(rows.to_pylist()):
            if all(value is None for value in kept.values()):
                continue
            for names in self._needed_by(self._removal.request):
                if all(kept.get(name) in (None, "") for name in names):
                    unnamed[row] = Outcome(RowStatus.REJECTED, missing(names))
        return unnamed

    def _check_mapped(self, request: DeclaredRequest, load: Load) -> None:
        for names in self._needed_by(request):
            if not any(name in load.schema.names for name in names):
                raise ConfigurationError(
                    f"{self.name} removes people by {' or '.join(f'`{name}`' for name in names)}: map it"
                )


def _row_of(sent: SentRows) -> Row:
    row: Any = sent[0][ROW]
    return dict(row)


def _is_endpoint(address: HttpAddress, endpoint: str) -> bool:
    try:
        address.at(endpoint)
    except ConfigurationError:
        return False
    return True


def destination_class(declaration: DestinationDeclaration) -> type[DeclaredHttpDestination]:
    """Return a class of destinations for a declaration."""
    body = {
        "__doc__": f"{declaration.name}, as it is declared.",
        "__module__": "declared",
        "declared": staticmethod(lambda: declaration),
    }
    return type("DeclaredDestination", (DeclaredHttpDestination,), body)
