"""The base of destinations in one account of a vendor: its place, its limits on requests, and its subscriptions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from airflow_consent_retl.contract.account_rate import AccountRate
from airflow_consent_retl.contract.outcomes import STATE_REFUSED
from airflow_consent_retl.destinations.http.destination import HttpDestination
from airflow_consent_retl.destinations.http.options import HttpOptions
from airflow_consent_retl.destinations.http.purpose import Purpose
from airflow_consent_retl.destinations.http.subscriptions import SubscriptionRules
from airflow_consent_retl.destinations.http.throttle import Throttle
from airflow_consent_retl.destinations.http.written_rows import written

if TYPE_CHECKING:
    from airflow_consent_retl.contract.destination import Batch, Load, WriteMode
    from airflow_consent_retl.contract.outcomes import Outcomes
    from airflow_consent_retl.destinations.http.address import HttpAddress
    from airflow_consent_retl.destinations.http.batch_steps import BatchSteps
    from airflow_consent_retl.destinations.http.client import Answer
    from airflow_consent_retl.destinations.http.found_records import FoundRecords
    from airflow_consent_retl.destinations.http.purpose import BodyEncoder, ReadAnswer
    from airflow_consent_retl.destinations.http.vendor import Vendor

_STATE_REFUSED = (
    "The row was stored, and a subscription's state was refused: check that the account has the subscription, and that "
    "it may be changed"
)
Options = TypeVar("Options", bound=HttpOptions)


class AccountDestination(HttpDestination, Generic[Options]):
    """A destination in an account that credentials do not name: the DAG names it, and the ledger keeps it.

    Attributes:
        vendor: the vendor's record.
        place: the things that are stored, and what an account is called, such as `contacts of Acme account`.
        rates: the options with the most requests of the account, each with the seconds that the number is for.
        by_clock: whether the vendor counts in windows of its clock.
        throttle: the answers that ask to come again later.
        content_type: of the bodies.
        granting, denied: the vendor's words for subscriptions: see `SubscriptionRules`.
        own_codes: the vendor's codes of refused rows, which can never quote a value.
        remedies: by code, what a person can do about it.

    Args:
        address: of the API.
        options: see there.
        account: the account's name or number.
    """

    can_clear: ClassVar[bool] = True
    write_modes: ClassVar[frozenset[WriteMode]] = frozenset({"upsert", "create_only", "update_only"})
    nulls_by_field: ClassVar[frozenset[str]] = frozenset({"omit", "clear"})
    vendor: ClassVar[Vendor]
    place: str
    rates: ClassVar[Mapping[str, float]] = {}
    by_clock: ClassVar[bool] = False
    throttle: ClassVar[Throttle] = Throttle()
    content_type: ClassVar[str] = "application/json"
    granting: ClassVar[Collection[str]] = ()
    denied: ClassVar[str] = ""
    own_codes: ClassVar[Collection[str]] = ()
    remedies: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Take the name in messages from the vendor."""
        super().__init_subclass__(**kwargs)
        if hasattr(cls, "vendor"):
            cls.name = f"{cls.vendor.name} API"

    def __init__(self, address: HttpAddress, options: Options, *, account: str) -> None:
        super().__init__(address, options)
        self._options = options
        self._account = account
        self._rules = SubscriptionRules(self.vendor.name, granting=self.granting, denied=self.denied)

    @abstractmethod
    def found(self, batch: Batch) -> FoundRecords:
        """Return the records that the vendor has of the people whom a batch is about."""

    def send(self, batch: Batch) -> Outcomes:
        """Send a batch, or those of its rows that `Load.write` chooses: then the vendor is asked first whom it has.

        Raises: as `Destination.send`.
        """
        if self.load.write == "upsert":
            return self.store(batch)
        return written(batch, self.load, self.found(batch), destination=self)

    def store(self, batch: Batch) -> Outcomes:
        """Send rows, whoever is there already. Raises as `send`."""
        return super().send(batch)

    @property
    def target(self) -> str:
        """The things that are stored, the account, and the host of the API."""
        return f"{self.place} {self._account} at {self._address.host}:{self._address.port}"

    @property
    def former_targets(self) -> Sequence[str]:
        """None: every release recorded this text."""
        return ()

    def is_own_code(self, code: str) -> bool:
        """Return whether a code is a status, or one of the vendor's own."""
        return code in self.own_codes or super().is_own_code(code)

    def remedy(self, code: str) -> str:
        """Return what a person can do about rows with a code."""
        return self.remedies.get(code, _STATE_REFUSED if code == STATE_REFUSED else "")

    def account_rates(self) -> tuple[AccountRate, ...]:
        """Return the limits on requests, which all workers of the account share."""
        named = self.vendor.name
        return tuple(self.rate(named, getattr(self._options, name), period_s) for name, period_s in self.rates.items())

    def rate(self, vendor: str, requests: int, period_s: float) -> AccountRate:
        """Return a limit on requests of the account; `vendor` names it in messages."""
        return AccountRate(
            account=self.rated_account,
            requests=requests,
            period_s=period_s,
            by_clock=self.by_clock,
            vendor=vendor,
        )

    @property
    def rated_account(self) -> str:
        """The account whose requests the vendor counts: its name, which another host may have too, and the host."""
        return f"{self._account} {self._address.host}"

    def refuse(self, answer: Answer) -> None:
        """Raise for an answer that asks for another try, or refuses every request, without a status that says so."""
        self.throttle.check(answer)

    def removing(self, load: Load) -> Purpose | None:
        """Return None: a removal has several requests."""
        return None

    def steps(self, batch: Batch, *, has_changed: bool = False) -> BatchSteps:
        """Return the steps of a batch; see `batch_steps`."""
        return self.batch_steps(batch, refuse=self.refuse, has_changed=has_changed, content_type=self.content_type)

    def posting(self, endpoint: str, encoder: BodyEncoder, read: ReadAnswer, **others: Any) -> Purpose:
        """Return requests by POST to an endpoint; `others` are those of `Purpose`."""
        return Purpose(
            method="POST",
            address=self._address.at(endpoint),
            encoder=encoder,
            read=read,
            content_type=self.content_type,
            key_header=None,
            refuse=self.refuse,
            **others,
        )

    def deliver(self, batch: Batch, purpose: Purpose) -> Outcomes:
        """Send a batch for another purpose than `send`, with retries and pieces as there.

        Raises:
            DestinationError: the destination was not opened; otherwise as `Destination.send`.
        """
        return self._opened_delivery().deliver(batch, purpose)

    def commit(self) -> None:
        """Close the connections, and say how many opt-outs the vendor keeps."""
        super().commit()
        self._rules.warn()
