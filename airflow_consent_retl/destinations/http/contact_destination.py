"""The base of destinations that store contacts whose subscriptions belong to an address, and are settled apart."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeVar

import pyarrow as pa

from airflow_consent_retl.destinations.http.account_destination import AccountDestination
from airflow_consent_retl.destinations.http.contact_options import ContactOptions
from airflow_consent_retl.destinations.http.found_records import FoundRecords
from airflow_consent_retl.destinations.http.responses import ACCEPTED
from airflow_consent_retl.destinations.http.row_states import StateField, settled_after
from airflow_consent_retl.destinations.http.subscriptions import AddressStates, after_addresses
from airflow_consent_retl.destinations.http.text_values import texts_of
from airflow_consent_retl.destinations.http.written_rows import filled

if TYPE_CHECKING:
    from airflow_consent_retl.contract.destination import Batch, Load, WriteMode
    from airflow_consent_retl.contract.outcomes import Outcome, Outcomes
    from airflow_consent_retl.destinations.http.address import HttpAddress
    from airflow_consent_retl.destinations.http.batch_steps import BatchSteps
    from airflow_consent_retl.destinations.http.found_records import Record
    from airflow_consent_retl.destinations.http.record_changes import RecordChange

SUBSCRIPTIONS = "subscriptions"
Options = TypeVar("Options", bound=ContactOptions)


class ContactStates(AddressStates, Protocol):
    """The states of subscriptions of addresses, and an opt-out from all of them."""

    def unsubscribe_all(self, addresses: Sequence[str], /) -> Mapping[str, Outcome]:
        """Unsubscribe addresses from everything, and return an outcome for each."""


class ContactDestination(AccountDestination[Options]):
    """A destination whose records have an address. A field `subscriptions.12345` is the state of a subscription.

    NULL in such a field says nothing, but a person without consent to it is unsubscribed if the vendor has them as
    subscribed. Before anyone is subscribed, the vendor is asked. An address may belong to several people: one no counts
    for all of them.

    Attributes:
        address_field: the field with the address.
        properties_path: the place of the properties in a record of the vendor's.
        removals: the changes of records for choices of `on_withdrawal`. The others are `unsubscribe`,
            `unsubscribe_all` and `clear_fields`.

    Args:
        address: of the API.
        options: see there.
        account: its number.
    """

    address_field: ClassVar[str] = "email"
    properties_path: ClassVar[tuple[str, ...]] = ()
    write_modes: ClassVar[frozenset[WriteMode]] = AccountDestination.write_modes | {"fill_empty"}
    removals: ClassVar[Mapping[str, RecordChange]] = {}

    def __init__(self, address: HttpAddress, options: Options, *, account: str) -> None:
        super().__init__(address, options, account=account)
        self._known_by = options.id_property
        self._unsubscribes = options.on_withdrawal in {"unsubscribe", "unsubscribe_all"}

    @abstractmethod
    def ask(
        self, steps: BatchSteps, keys: list[str], found: dict[str, Record], *, properties: Sequence[str] = ()
    ) -> Outcomes:
        """Fill in the records that the vendor has, by key, and return the outcome of each question.

        Args:
            steps: of the batch.
            keys: of the people.
            found: to fill in.
            properties: whose present values records need, beside those of the identifier and the address.
        """

    @abstractmethod
    def emptying(self, properties: Sequence[str]) -> RecordChange:
        """Return the change that empties properties of records."""

    @abstractmethod
    def states(self, steps: BatchSteps) -> ContactStates:
        """Return the states of subscriptions at the vendor."""

    def wrong_fields(self, load: Load) -> list[str]:
        """Return the errors in the fields of a load that are about the contact's identifier and subscriptions."""
        names, key = load.schema.names, load.key_field
        states = state_fields(names)
        wrong = [f"`{name}` names no subscription: its id is a number" for name in states if not subscription_of(name)]
        if self._known_by not in {self.address_field, key}:
            wrong.append(f"id_property `{self._known_by}` has to be `{self.address_field}`, or the primary key's field")
        addressed = bool(states) or self._unsubscribes
        return wrong + [f"no column is mapped to `{name}`" for name in self._needed(addressed) if name not in names]

    def found(self, batch: Batch) -> FoundRecords:
        """Return the records of people, by the unique property."""
        return self._found(self.steps(batch), texts_of(batch.rows, self._known_by))

    def send(self, batch: Batch) -> Outcomes:
        """Send a batch, or what of it `Load.write` chooses: then the vendor is asked first. Raises as `store`."""
        if self.load.write != "fill_empty":
            return super().send(batch)
        fields = [name for name in batch.rows.schema.names if name != self._known_by and not subscription_of(name)]
        keys = texts_of(batch.rows, self._known_by)
        found = FoundRecords.asked(keys, partial(self.ask, self.steps(batch), properties=fields))
        return filled(
            batch, self.load, found, key=self._known_by, fields=fields, is_empty=self._is_empty, destination=self
        )

    def store(self, batch: Batch) -> Outcomes:
        """Write the rows as records, then settle the subscriptions of those that the vendor accepted."""
        return settled_after(
            batch,
            {
                number: StateField(name, self.address_field)
                for name in batch.rows.schema.names
                if (number := subscription_of(name))
            },
            rules=self._rules,
            cleared=self.load.cleared,
            states=lambda: self.states(self.steps(batch, has_changed=True)),
            store=super().store,
        )

    def removal_schema(self, load: Load) -> pa.Schema:
        """Return the unique property, and the address where it is what will be unsubscribed."""
        self.sending(load)
        return pa.schema([load.schema.field(name) for name in self._needed(self._unsubscribes)])

    def remove(self, batch: Batch) -> Outcomes:
        """Take people back in the way that the DAG chose."""
        steps = self.steps(batch)
        if self._unsubscribes:
            return self._unsubscribe(steps, batch)
        change = self.removals.get(self._options.on_withdrawal) or self.emptying(self._options.cleared_properties)
        return change.apply(steps, self._found(steps, texts_of(batch.rows, self._known_by)))

    def clear(self, batch: Batch, fields: Sequence[str]) -> Outcomes:
        """Empty properties of people, and unsubscribe them from the subscriptions among the fields."""
        steps = self.steps(batch)
        found = self._found(steps, texts_of(batch.rows, self._known_by))
        properties = [name for name in fields if not subscription_of(name)]
        outcomes = list(self.emptying(properties).apply(steps, found, among=None if properties else []))
        numbers = [number for name in fields if (number := subscription_of(name))]
        addresses = found.texts(*self.properties_path, self.address_field)
        return self._rules.settled_at(outcomes, self._denied(addresses, numbers), self.states(steps))

    def _is_empty(self, record: Record, name: str) -> bool:
        for part in self.properties_path:
            record = record[part]
        # A property that the answer does not have may have a value that the connection must not see.
        return name in record and (record[name] is None or record[name] == "")

    def _needed(self, addressed: bool) -> list[str]:
        return list(dict.fromkeys([self._known_by, *([self.address_field] if addressed else [])]))

    def _found(self, steps: BatchSteps, keys: Sequence[str | None]) -> FoundRecords:
        return FoundRecords.asked(keys, partial(self.ask, steps))

    def _unsubscribe(self, steps: BatchSteps, batch: Batch) -> Outcomes:
        addresses = texts_of(batch.rows, self.address_field)
        outcomes: Sequence[Outcome] = [ACCEPTED] * len(addresses)
        if self._known_by != self.address_field and None in addresses:
            # People who were sent without an address may have one at the vendor.
            keys = texts_of(batch.rows, self._known_by)
            found = self._found(steps, [None if text else key for key, text in zip(keys, addresses, strict=True)])
            others = found.texts(*self.properties_path, self.address_field)
            addresses = [text or other for text, other in zip(addresses, others, strict=True)]
            outcomes = list(found.after({}))
        states = self.states(steps)
        if self._options.on_withdrawal == "unsubscribe_all":
            return after_addresses(outcomes, addresses, states.unsubscribe_all)
        return self._rules.settled_at(outcomes, self._denied(addresses, self._options.unsubscribes), states)

    def _denied(
        self, addresses: Sequence[str | None], numbers: Sequence[int]
    ) -> list[list[tuple[str | None, int, str | None]]]:
        return [[(address, number, self.denied) for number in numbers] for address in addresses]


def state_fields(names: Sequence[str]) -> list[str]:
    """Return the fields that are states of subscriptions, or have a name that looks so."""
    return [name for name in names if name.startswith(f"{SUBSCRIPTIONS}.")]


def subscription_of(field: str) -> int | None:
    """Return the subscription that a field such as `subscriptions.12345` is about; None: it is a property."""
    prefix, _, number = field.partition(".")
    return int(number) if prefix == SUBSCRIPTIONS and number.isascii() and number.isdigit() else None
