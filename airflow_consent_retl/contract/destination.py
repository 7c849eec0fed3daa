"""The interface of destinations: their limits, and one outcome for each row that is sent or removed.

A destination sees permitted rows only, with its own field names, and nothing else of the model. It knows nothing of
consent, policies or Airflow's tasks: `delivery.protocol` connects the two sides.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar, Literal

from airflow_consent_retl.contract.account_rate import AccountRate, LocalReserve, Reserve
from airflow_consent_retl.contract.dataset_name import DatasetName
from airflow_consent_retl.errors import ConfigurationError, DestinationError

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_consent_retl.contract.outcomes import Outcomes

WriteMode = Literal["upsert", "create_only", "update_only", "fill_empty"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The most that a destination takes at once.

    Args:
        batch_rows: maximum number of rows in one `send`.
        concurrency: maximum number of calls of `send` or `remove` at the same time, each from a thread of its own.
        removal_rows: maximum number of rows in one `remove`; None: as many as in one `send`.
        requests_per_s: maximum number of requests a second on average, over all threads; None: any number. The
            destination itself keeps this limit: only it knows how many requests a batch takes.
        burst_requests: requests that may follow each other without a pause; None: those of one second.
        account: the vendor's limits on the requests of one account, over all workers and syncs; None: there are none.
            The destination keeps them with `Load.reserve`.
    """

    batch_rows: int
    concurrency: int = 1
    removal_rows: int | None = None
    requests_per_s: float | None = None
    burst_requests: int | None = None
    account: AccountRate | tuple[AccountRate, ...] | None = None

    @property
    def account_rates(self) -> tuple[AccountRate, ...]:
        """The limits of `account`."""
        if self.account is None:
            return ()
        return (self.account,) if isinstance(self.account, AccountRate) else self.account

    def __post_init__(self) -> None:
        if self.batch_rows < 1 or self.concurrency < 1 or (self.removal_rows is not None and self.removal_rows < 1):
            raise ValueError("batch_rows, concurrency and removal_rows must be at least 1")
        if self.requests_per_s is not None and not self.requests_per_s > 0:
            raise ValueError("requests_per_s must be above 0")
        if self.burst_requests is not None and self.burst_requests < 1:
            raise ValueError("burst_requests must be at least 1")


def _always() -> None:
    """Let every request pass: there is no lease to lose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One load of one permitted set into one destination, known before the first row is read.

    Args:
        key: hex digest; the same for every try that sends the same rows with the same fields.
        destination: the policy's name for it.
        model: the model's name.
        schema: the rows as the destination sees them: its field names, in the mapping's order.
        key_field: the destination's name for the primary key, or None where it is not mapped.
        rows: the number of rows that will be sent.
        decided_at: the time when consent was decided.
        delivered: how many people were delivered before: where it is not 0, a place that is missing or empty is an
            error, and is not made anew. Only `look` sets it.
        cleared: the fields that are withheld from some people who did not consent to them. The destination may still
            have their value, so a NULL in these fields is sent, whatever it does with other NULLs.
        nulls: by field, what the DAG wants of its NULLs, in place of the destination's own choice for all fields:
            `send` a NULL as it is, `omit` the field, so that the destination keeps what it has, or `clear` it there.
            Only choices that the destination has in `nulls_by_field`.
        write: which rows it writes, one of its `write_modes`. `upsert`: all. `create_only`: rows of people whom it does
            not have; the others stay as they are. `update_only`: rows of people whom it has. `fill_empty`: all, but a
            field that has a value keeps it. In every mode, a NULL of `cleared` empties the field.
        before_request: the destination calls it just before each request that carries rows, also before each repeated
            one. It raises when the load may no longer send; the destination does not catch that error.
        reserve: reserves requests of an account, of which all workers have a part. By default, counted in this process.
    """

    key: str
    destination: str
    model: str
    schema: pa.Schema
    key_field: str | None
    rows: int
    decided_at: datetime
    delivered: int = 0
    cleared: frozenset[str] = frozenset()
    nulls: Mapping[str, str] = field(default_factory=dict)
    write: WriteMode = "upsert"
    before_request: Callable[[], None] = _always
    reserve: Reserve = field(default_factory=LocalReserve, repr=False, compare=False)

    @property
    def nulls_sent(self) -> frozenset[str]:
        """The fields whose NULL is sent in any case: `cleared`, and those with `send` or `clear`."""
        return self.cleared | {name for name, choice in self.nulls.items() if choice != "omit"}

    @property
    def nulls_omitted(self) -> frozenset[str]:
        """The fields whose NULL is left out in any case. INVARIANT: none of `cleared` is among them."""
        return frozenset(name for name, choice in self.nulls.items() if choice == "omit") - self.cleared


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Rows that are sent together, or people who are removed together.

    Args:
        key: hex digest, the idempotency key: the same rows in the same load always have the same key.
        rows: rows to send: at most `Limits.batch_rows`, with the schema of the `Load`. People to remove: at most
            `Limits.removal_rows` rows, with the destination's `removal_schema`.
    """

    key: str
    rows: pa.RecordBatch


class Destination(ABC):
    """A place that permitted rows can be sent to and removed from.

    The protocol calls `open` once; `clear` for each batch of people who lose fields, `remove` for each batch of people
    to remove, then `send` for each batch of rows, all of them from up to `limits.concurrency` threads; then `commit`,
    or `abort` when the load did not end well, or when requests are still processed, which go on. It may publish in
    `send`, `remove` and `clear` or only in `commit`. After `pending`, `confirm_rows`, and by default `confirm`, asks
    for the result.

    Attributes:
        can_remove: whether `remove` removes single people. If not, the DAG has to accept the destination explicitly.
        can_clear: whether `clear` clears single fields of people; needs `can_remove`. If not, a person who withdraws
            consent to a field between two loads is removed, and the next load sends them without the field.
        takes_slices: whether several tasks may send parts of one load at the same time, each with an opened
            destination of its own: every batch is final when `send` answers, and nothing that `open` makes belongs to
            one task alone.
        replaces: whether a load's rows replace all rows at the destination. Such a destination receives all permitted
            rows every time and publishes in `commit`, so people without a row are gone; a load that calls `remove` or
            `clear` and never `send` changes single people in the present rows.
        withdrawal_choices: what `remove` can do to a person where the vendor offers several ways: each choice, a word
            such as `unsubscribe`, with one sentence for people. Empty: removal has one meaning.
        nulls_by_field: the choices of `Load.nulls` that it can carry out for a single field. Empty: none, so that a
            load with `field_nulls` is refused.
        write_modes: the choices of `Load.write` that it can carry out.
        write_refusals: for others, the reason why it cannot, where it is more than that there is no such request.
    """

    can_remove: ClassVar[bool] = False
    takes_slices: ClassVar[bool] = False
    can_clear: ClassVar[bool] = False
    replaces: ClassVar[bool] = False
    withdrawal_choices: ClassVar[Mapping[str, str]] = {}
    nulls_by_field: ClassVar[frozenset[str]] = frozenset()
    write_modes: ClassVar[frozenset[WriteMode]] = frozenset({"upsert"})
    write_refusals: ClassVar[Mapping[str, str]] = {}

    @property
    def on_withdrawal(self) -> str:
        """The one of `withdrawal_choices` that the DAG chose; empty where there are none."""
        return ""

    @property
    def removal_sentence(self) -> str:
        """The chosen meaning of a removal, for people: `unsubscribe: …`; empty where there is no choice."""
        choice = self.on_withdrawal
        return f"{choice}: {self.withdrawal_choices[choice]}" if choice else ""

    @property
    @abstractmethod
    def limits(self) -> Limits:
        """The most that it takes at once."""

    @property
    def orders_rows(self) -> bool:
        """True for a place that takes many rows faster in the order of their ids, over all batches of a first load."""
        return False

    @property
    def target(self) -> str:
        """The place where rows end up, for people and for the ledger: `table people of sqlite:/srv/crm.db`.

        It names all that decides where a row ends up, such as host, port, path, database and account, and no secret. A
        sync whose target changed is refused, since people delivered to the old target would be forgotten there.
        """
        return ""

    def is_same_target(self, recorded: str) -> bool:
        """Return whether the text that another sync recorded names this target too, maybe in another spelling.

        Two syncs with one target are refused unless both share it, so a destination whose place has several spellings,
        such as the name of a table, compares them here. It contacts nothing.
        """
        return recorded == self.target

    @property
    def target_details(self) -> Mapping[str, str]:
        """Further parts of the place that may be secret, by name; the ledger records a keyed digest of them."""
        return {}

    @property
    def dataset_name(self) -> DatasetName:
        """The place where rows end up, in lineage: by OpenLineage's naming rules, if they have one for it.

        It names no secret. By default it is the text of `target`, in a namespace of this package.
        """
        return DatasetName("consent_retl", self.target or type(self).__name__)

    @property
    def former_targets(self) -> Sequence[str]:
        """The texts that earlier releases recorded as `target` for this place: each is accepted once, and replaced."""
        return ()

    def is_own_code(self, code: str) -> bool:
        """Return whether a row's code is one of this destination's own, which can never quote a row's value.

        Codes made of plain words about errors, such as `invalid_email`, need no declaration. Any other code is counted
        as `other`, unless at least 5 rows of a batch share it.
        """
        return False

    def remedy(self, code: str) -> str:
        """Return what a person can do about rows that are rejected or uncertain with this code; empty: nothing."""
        return ""

    @abstractmethod
    def open(self, load: Load) -> None:
        """Connect, and check that the rows fit, before anything is sent.

        Raises:
            ConfigurationError: the fields do not suit the destination.
            DestinationError: the destination refuses: credentials, address, a table of another shape.
            DestinationUnavailableError: it does not answer.
        """

    def look(self, load: Load) -> None:  # noqa: B027 - a destination that cannot be read has nothing to look at
        """Check that the place still has people, without a change, in each run; called instead of `open`.

        Args:
            load: with the number of people who were delivered before, and with the fields that they have.

        Raises:
            PeopleMissingError: the place is gone, or is empty.
            ConfigurationError, DestinationError, DestinationUnavailableError: as `open`.
        """

    def may_stay(self, load: Load) -> bool:
        """Return whether the place has these very rows, as it would write them now, and nothing else that has to go.

        Only asked of a destination that replaces, without a change and before `open`, where the last load that was
        committed had the same rows. If so, the load ends without writing them again.

        Raises: as `look`.
        """
        return False

    def check(self, load: Load) -> None:  # noqa: B027 - `open` of such a destination checks nothing
        """Check what `open` checks, without any change and without a request with rows; a dry run calls it instead.

        It releases everything. A place that `open` would make may be missing.

        Raises: as `open`.
        """

    def try_writing(self) -> None:  # noqa: B027 - a destination without such a proof proves nothing
        """Prove that the place can be written to, and leave nothing there; `consent-retl check` calls it.

        A place that `open` would make may be missing. Raises: as `open`.
        """

    def sent_as(self, rows: pa.RecordBatch, load: Load) -> list[dict[str, object]]:
        """Return rows in the form in which the destination gets them, for a preview. Pure.

        By default each field's value. A row that would be rejected for its form may be missing.
        """
        return [dict(row) for row in rows.to_pylist()]

    @abstractmethod
    def send(self, batch: Batch) -> Outcomes:
        """Send a batch and return exactly one outcome for each of its rows.

        A row is `accepted` only if the destination confirmed it. Retries of single requests happen inside.

        Raises:
            DestinationError: no batch can succeed: the load stops.
            DestinationUnavailableError: this batch was certainly not applied, and later tries may succeed.
            LeaseLostError: from `Load.before_request`; earlier requests of the batch may be applied.
        """

    def removal_schema(self, load: Load) -> pa.Schema:
        """Return the fields that are needed to remove a person, by the destination's names.

        By default the primary key. They are stored at the delivery, since the person may leave the model later.

        Raises:
            ConfigurationError: a field that removal needs is not mapped.
        """
        if load.key_field is None:
            raise ConfigurationError(
                f"the primary key of model `{load.model}` is not mapped: `{load.destination}` removes people by it"
            )
        import pyarrow as pa

        return pa.schema([load.schema.field(load.key_field)])

    def removal_rows(self, rows: pa.RecordBatch, load: Load) -> pa.RecordBatch:
        """Return the fields of `removal_schema` for rows that are sent: same length, same order. Pure."""
        return rows.select(self.removal_schema(load).names)

    def remove(self, batch: Batch) -> Outcomes:
        """Remove people and return exactly one outcome for each row: `accepted` where they are certainly not there now.

        A person unknown to the destination counts as removed. Raises as `send`.
        """
        raise DestinationError("this destination cannot remove people")

    def clear(self, batch: Batch, fields: Sequence[str]) -> Outcomes:
        """Set fields of people to NULL, change nothing else, and return one outcome for each row.

        A row is `accepted` where the destination certainly has no value in these fields of the person now, also because
        it does not have the person.

        Args:
            batch: the people, as for `remove`.
            fields: the destination's names of the fields; they may be missing in the load's schema.

        Raises: as `send`.
        """
        raise DestinationError("this destination cannot clear fields")

    def confirm(self, request_id: str, rows: int) -> Outcomes | None:
        """Return the outcomes of the rows that `send` or `remove` left `pending` under this id; None: still processed.

        A row is `unsent` if the destination took it and certainly did not apply it: the next try sends it again.

        Raises:
            DestinationUnavailableError: the destination does not answer now.
        """
        raise DestinationError("this destination answers at once")

    def is_processed(self, request_id: str) -> bool:
        """Return whether `confirm` has an answer for this id. A trigger asks a destination that was never opened.

        It may contact the destination, and sends no row. `abort` releases everything.

        Raises:
            DestinationError: the destination refuses questions: the load asks next, and fails with this error.
            DestinationUnavailableError: the destination does not answer now.
        """
        raise DestinationError("this destination answers at once")

    def confirm_rows(self, request_id: str, rows: int, read: Callable[[], pa.RecordBatch]) -> Outcomes | None:
        """Return what `confirm` returns, for a destination whose results name rows by their values.

        Args:
            request_id: the id under which rows are pending.
            rows: their number.
            read: reads these rows again, in the order of the outcomes. It reads files, so it is called only when the
                results are there.

        Raises: as `confirm`.
        """
        return self.confirm(request_id, rows)

    def commit(self) -> None:  # noqa: B027 - a destination that publishes in `send` has nothing to do here
        """Publish the sent rows, after the last batch."""

    def abort(self) -> None:  # noqa: B027
        """Discard everything that `commit` has not published, and release every resource."""
