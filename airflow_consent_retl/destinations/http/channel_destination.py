"""The base of destinations that store people by jobs, with states of channels that belong to an address.

The vendor subscribes people whatever they decided there, so it is asked three times: for the people it has, before
the job, since a person may get another address; for the state of each address, after it; and, after a no, until the
subscription is over.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, ClassVar, NamedTuple, TypeVar

import pyarrow as pa

from airflow_consent_retl.contract.destination import Batch
from airflow_consent_retl.contract.opened import opened
from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus
from airflow_consent_retl.destinations.http.account_destination import AccountDestination
from airflow_consent_retl.destinations.http.answer_maps import MISSING, value_at
from airflow_consent_retl.destinations.http.bodies import Row, UnfitRowError
from airflow_consent_retl.destinations.http.channel_options import Channel, ChannelOptions
from airflow_consent_retl.destinations.http.http_delivery import NOT_SENT
from airflow_consent_retl.destinations.http.responses import ACCEPTED
from airflow_consent_retl.destinations.http.row_states import StateField, settled_after
from airflow_consent_retl.destinations.http.subscriptions import AddressSubscription, with_states
from airflow_consent_retl.destinations.http.text_values import texts_of
from airflow_consent_retl.errors import ConfigurationError, DestinationError, DestinationUnavailableError

if TYPE_CHECKING:
    from airflow_consent_retl.contract.destination import Load
    from airflow_consent_retl.destinations.http.batch_steps import BatchSteps
    from airflow_consent_retl.destinations.http.found_records import FoundRecords, Record

UNKNOWN_STATE = "unknown_state"
NO_CONSENT_TIME = "no_consent_time"
CONSENT_TIME_AHEAD = "consent_time_ahead"
Options = TypeVar("Options", bound=ChannelOptions)


class ChannelState(NamedTuple):
    """A state to send; the time of a consent as ISO 8601 with its offset, empty for a no."""

    channel: Channel
    address: str
    consented_at: str


class ChannelDestination(AccountDestination[Options]):
    """A destination with the states of channels, such as e-mail, as fields of its rows.

    NULL in a state says nothing, but a person without consent to the field is unsubscribed if the vendor has them as
    subscribed. A person is subscribed only where the vendor certainly has no state of them and of their address. An
    address may belong to several people: one no counts for all of them.

    Attributes:
        seen_later: the kinds of further requests without a job to ask about.

    Args:
        address: of the API.
        options: see there.
        account: its name or number.
    """

    granting: ClassVar[Collection[str]] = (ChannelOptions.granted,)
    denied: ClassVar[str] = ChannelOptions.denied
    seen_later: ClassVar[Collection[str]] = ()
    own_codes: ClassVar[Collection[str]] = (UNKNOWN_STATE, NO_CONSENT_TIME, CONSENT_TIME_AHEAD)
    remedies: ClassVar[Mapping[str, str]] = {
        UNKNOWN_STATE: "A state of a channel has other words than the vendor's: use consent(…) for it",
        NO_CONSENT_TIME: "A person agreed, and the model has no time of it: fill the column",
        CONSENT_TIME_AHEAD: "The time of a consent is after the decision of the load: correct the column",
    }

    # A preview encodes rows of a load that is not opened.
    _decided_at: datetime | None = None

    @abstractmethod
    def ask(self, steps: BatchSteps, field: str, texts: list[str], found: dict[str, Record]) -> Outcomes:
        """Fill in the records that the vendor has, by the text of a field, and return the outcome of each question."""

    @abstractmethod
    def state_of(self, record: Record, channel: Channel) -> Outcome | str:
        """Return the state in a record: empty only if the vendor certainly has none; a doubt as an outcome."""

    @abstractmethod
    def change_states(self, steps: BatchSteps, state: str, people: Sequence[ChannelState]) -> Outcomes:
        """Send one state for each of these addresses; an accepted no may take effect later."""

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The channels of the vendor."""
        return self._options.channels

    @abstractmethod
    def left_after(self, kind: str, steps: BatchSteps, found: FoundRecords) -> Collection[Record]:
        """Return the people on which a request of a kind of `seen_later` had no effect yet."""

    @abstractmethod
    def empty(self, batch: Batch, fields: Sequence[str], found: FoundRecords) -> Outcomes:
        """Empty fields in the records of people, and return their outcomes."""

    def check_states(self, load: Load) -> None:
        """Check the fields of a load that are about states, and note the time of its decision for their rows.

        Raises:
            ConfigurationError: one is missing, of another type, or would outlast a withdrawal.
        """
        options, schema = self._options, load.schema
        own = {"on_withdrawal": options.on_withdrawal, "unsubscribes": options.unsubscribes}
        wrong = options.wrong_states(schema.names, own)
        for one in self.channels_in(schema.names):
            kinds = {name: schema.field(name).type for name in (one.state, one.consented_at) if name in schema.names}
            if (kind := kinds.get(one.consented_at)) is not None and not pa.types.is_timestamp(kind):
                wrong.append(f"`{one.consented_at}` ({kind}) has to be a timestamp")
            if not (pa.types.is_string(kinds[one.state]) or pa.types.is_large_string(kinds[one.state])):
                wrong.append(f"`{one.state}` ({kinds[one.state]}) has to be text")
        if wrong:
            raise ConfigurationError("; ".join(wrong))
        self._decided_at = load.decided_at

    def store(self, batch: Batch) -> Outcomes:
        """Send rows, wait for their jobs, and settle the states of those that the vendor accepted. Raises as `send`."""
        channels = self.channels_in(batch.rows.schema.names)
        if not channels:
            return super().store(batch)
        before = self._before(batch, channels)
        send = super().store

        def stored(rows: Batch) -> Outcomes:
            return self.after_jobs(rows, send(rows), at_most_s=self._options.job_wait_s)

        return settled_after(
            batch,
            {self._number(one): StateField(one.state, one.address) for one in channels},
            rules=self._rules,
            cleared=self.load.cleared,
            states=lambda: _States(self, self.steps(batch, has_changed=True), batch, before),
            store=stored,
        )

    def end(self, batch: Batch, channels: Sequence[Channel], found: FoundRecords) -> Outcomes:
        """Unsubscribe the addresses that people have at the vendor from channels; a no is pending until it shows it."""
        texts = {one: found.texts(one.address) for one in channels}
        outcomes = found.after({})
        wanted = [
            [(some[row], self._number(one), self.denied) for one, some in texts.items()] for row in range(len(outcomes))
        ]
        return self._rules.settled_at(list(outcomes), wanted, _States(self, self.steps(batch), batch, {}))

    def clear(self, batch: Batch, fields: Sequence[str]) -> Outcomes:
        """Unsubscribe people from the channels among the fields, and empty the others."""
        channels = self.channels_in(fields)
        states = {name for one in self.channels for name in (one.state, one.consented_at)}
        others = [name for name in fields if name not in states]
        found = self.found(batch)
        ended = self.end(batch, channels, found) if channels else found.after({})
        if not others:
            return ended
        # An address that is emptied too early could not be unsubscribed any more.
        ended = self.after_jobs(batch, ended, at_most_s=self._options.job_wait_s)
        try:
            emptied = self.empty(batch, others, found)
        except (DestinationError, DestinationUnavailableError):
            # INVARIANT: `clear` raises only for a batch of which certainly nothing was applied.
            if not channels:
                raise
            emptied = Outcomes.uncertain(len(ended), NOT_SENT)
        return with_states(list(ended), [[one] for one in emptied])

    def confirm_rows(self, request_id: str, rows: int, read: Callable[[], pa.RecordBatch]) -> Outcomes | None:
        """Ask about a job; where there is none, ask whether people are still subscribed, or still there."""
        if not self._is_seen_later(request_id):
            return super().confirm_rows(request_id, rows, read)
        people, channels = read(), self._ended_by(request_id)
        seen = Batch(key=derived(request_id, "seen"), rows=people)
        found, steps = self.found(seen), self.steps(seen)
        left = any(self._is_subscribed(one, people, found, steps) for one in channels)
        if not channels:
            left = bool(self.left_after(request_id.partition(":")[0], steps, found))
        return None if left else found.after({})

    def is_processed(self, request_id: str) -> bool:
        """Ask about a job; where there is none, the load asks for people."""
        return self._is_seen_later(request_id) or super().is_processed(request_id)

    def without_states(self, row: Row, root: str) -> Row:
        """Take the states out of a row's nested values, and return the rest, which is its record.

        Args:
            row: with its values.
            root: the first part of the names of these fields.

        Raises:
            UnfitRowError: a state is unknown, or has no time of the consent, or one that is ahead.
        """
        states = row.pop(root, None)
        if states is None:
            return row
        for one in self.channels:
            state, time = (value_at(states, name.removeprefix(f"{root}.")) for name in (one.state, one.consented_at))
            if state not in {None, self.denied, *self.granting}:
                raise UnfitRowError(UNKNOWN_STATE)
            if self._rules.grants(state):
                if time is None:
                    raise UnfitRowError(NO_CONSENT_TIME)
                if _utc(datetime.fromisoformat(time)) > opened(self._decided_at, f"the {self.name}"):
                    raise UnfitRowError(CONSENT_TIME_AHEAD)
        return row

    def _number(self, channel: Channel) -> int:
        return self.channels.index(channel)

    def channels_in(self, names: Collection[str]) -> list[Channel]:
        """Return the channels whose states are among these fields."""
        return [one for one in self.channels if one.state in names]

    def _is_seen_later(self, request_id: str) -> bool:
        return bool(self._ended_by(request_id)) or request_id.partition(":")[0] in self.seen_later

    def _ended_by(self, request_id: str) -> list[Channel]:
        names = request_id.partition(":")[0].split("+")
        return [one for one in self.channels if one.name in names]

    def _is_subscribed(self, channel: Channel, people: pa.RecordBatch, found: FoundRecords, steps: BatchSteps) -> bool:
        """Return whether a no of these people did not take effect yet, or whether that is not clear."""

        def is_no(state: str | None) -> bool:
            return state == self.denied or (state is None and channel.state in self.load.cleared)

        names, rows = people.schema.names, list(range(people.num_rows))
        if channel.state in names:
            rows = [row for row, state in enumerate(texts_of(people, channel.state)) if is_no(state)]
        if channel.address not in names:
            records = [one for row in rows if not isinstance(one := found.people[row], Outcome)]
            return any(self.state_of(one, channel) in self.granting for one in records)
        # Two people may share an address, and have one record.
        addresses = texts_of(people, channel.address)
        by_address: dict[str, Record] = {}
        texts = sorted({text.casefold() for row in rows if (text := addresses[row])})
        asked = self.ask(steps, channel.address, texts, by_address)
        subscribed = [self.state_of(one, channel) in self.granting for one in by_address.values()]
        return any(one != ACCEPTED for one in asked) or any(subscribed)

    def _before(self, batch: Batch, channels: Sequence[Channel]) -> dict[AddressSubscription, Outcome | str]:
        """Return the opt-outs, and the doubts, of the people who would be subscribed, under the addresses they get."""
        rows = batch.rows
        states = {one: texts_of(rows, one.state) for one in channels}
        addresses = {one: texts_of(rows, one.address) for one in channels}
        asking = [row for row in range(rows.num_rows) if any(self._rules.grants(some[row]) for some in states.values())]
        found = self.found(Batch(key=derived(batch.key, "before"), rows=rows.take(pa.array(asking, pa.int64()))))
        before: dict[AddressSubscription, Outcome | str] = {}
        for row, person in zip(asking, found.people, strict=True):
            for one in channels:
                address = addresses[one][row]
                if not address or person == ACCEPTED:
                    continue
                if not isinstance(person, Outcome) and not person.get(one.address):
                    continue
                state = person if isinstance(person, Outcome) else self.state_of(person, one)
                if isinstance(state, Outcome) or state == self.denied:
                    before[AddressSubscription(address.casefold(), self._number(one))] = state
        return before


class _States:
    """The states of addresses at the vendor, for one batch."""

    def __init__(
        self,
        of: ChannelDestination[Options],
        steps: BatchSteps,
        batch: Batch,
        before: Mapping[AddressSubscription, Outcome | str],
    ) -> None:
        self._of = of
        self._steps = steps
        self._batch = batch
        self._before = before

    def known(self, wanted: Sequence[AddressSubscription]) -> dict[AddressSubscription, Outcome | str]:
        """Return the present states, or why nothing is known; an opt-out of the person is one of the address."""
        known: dict[AddressSubscription, Outcome | str] = {}
        for number, channel in enumerate(self._of.channels):
            texts = sorted({one.address for one in wanted if one.subscription == number})
            found: dict[str, Record] = {}
            asked = self._of.ask(self._steps, channel.address, texts, found)
            for text, outcome in zip(texts, asked, strict=True):
                state = self._of.state_of(found[text], channel) if text in found else MISSING
                known[AddressSubscription(text, number)] = state if outcome == ACCEPTED else outcome
        return {one: self._before.get(one, state) if state == "" else state for one, state in known.items()}

    def write(self, states: Sequence[tuple[AddressSubscription, str]]) -> list[Outcome]:
        """Write states, and return an outcome for each: a no is pending until the vendor shows it."""
        times, channels, denied = self._times(), self._of.channels, self._of.denied
        outcomes: dict[AddressSubscription, Outcome] = {}
        for state in (denied, *self._of.granting):
            some = [one for one, sent in states if sent == state]
            people = [
                ChannelState(channels[one.subscription], one.address, "" if state == denied else times[one])
                for one in some
            ]
            outcomes |= zip(some, self._of.change_states(self._steps, state, people), strict=True)
        ended = sorted({one.subscription for one, sent in states if sent == denied})
        pending = Outcome(RowStatus.PENDING, f"{'+'.join(channels[one].name for one in ended)}:{self._batch.key}")
        return [pending if sent == denied and outcomes[one] == ACCEPTED else outcomes[one] for one, sent in states]

    def _times(self) -> dict[AddressSubscription, str]:
        """Return the time of the consent to each subscription: the latest, where people share an address."""
        rows, times = self._batch.rows, dict[AddressSubscription, datetime]()
        for number, one in enumerate(self._of.channels):
            if one.state not in rows.schema.names:
                continue
            texts = (texts_of(rows, name) for name in (one.state, one.address))
            # A timestamp without a time zone has UTC, as everywhere in this package.
            moments = rows.column(one.consented_at).cast(pa.timestamp("us", "UTC"), safe=False).to_pylist()
            for state, address, time in zip(*texts, moments, strict=True):
                if state in self._of.granting and address and time and time <= self._of.load.decided_at:
                    key = AddressSubscription(address.casefold(), number)
                    times[key] = max(time, times.get(key, time))
        return {one: time.isoformat() for one, time in times.items()}


def derived(key: str, purpose: str) -> str:
    """Return the key of another batch about the same people."""
    return sha256(f"{key}:{purpose}".encode()).hexdigest()


def _utc(time: datetime) -> datetime:
    # A timestamp without a time zone has UTC, as everywhere in this package.
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
