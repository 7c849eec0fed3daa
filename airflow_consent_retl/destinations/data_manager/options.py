"""The options and parameters that the destinations of the Data Manager API share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal, TypeVar

from airflow_consent_retl.contract.checked_options import CheckedOptions, OptionCheck
from airflow_consent_retl.contract.parameter_class import parameter_class
from airflow_consent_retl.contract.spec import DestinationSpec
from airflow_consent_retl.errors import Problem

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.data_manager.accounts import Account
    from airflow_consent_retl.destinations.http.pace import Pace

Built = TypeVar("Built")
_ACCOUNTS = ("operating_account", "login_account", "linked_account")


def _rows(options: DataManagerOptions) -> Iterator[Problem]:
    if options.batch_rows > options.most_rows:
        most = f"at most {options.most_rows:,}: the API accepts no more {options.items} in a request"
        yield Problem("batch_rows", f"batch_rows must be {most}")


def _account(options: DataManagerSpec, *, name: str) -> Iterator[Problem]:
    from airflow_consent_retl.destinations.data_manager.accounts import wrong_account

    yield from (Problem(name, one) for one in wrong_account(name, getattr(options, name), options.account_types))


@parameter_class
class DataManagerOptions(CheckedOptions):
    """The encoding and sending of rows.

    Args:
        hashed: e-mails, phone numbers and names are SHA-256 in hex already, of values normalised by Google's rules.
        on_invalid: `"reject"`: a row with an invalid value is rejected as `invalid_email`, `invalid_phone` …;
            `"omit"`: it is sent without that value where another identifier is left, and the log counts the omitted
            values. A NULL or blank value is not invalid, and an address with one part missing is no address.
        batch_rows: maximum number of rows in a request.
        concurrency: requests at the same time.
        requests_per_minute: over all loads of the Cloud project that share the ledger; lower it where others use the
            project's quota.
        timeout_s: seconds for each answer.
        max_attempts: maximum number of tries of a request.
        max_retry_s: seconds after which a request is not retried.
        backoff_s: longest wait before the second try. It doubles with each try, up to a minute; the actual wait is a
            random part of it.

    Raises:
        OptionsError: values are out of their ranges; the message names all of them.
    """

    most_rows: ClassVar[int]
    items: ClassVar[str]
    counts: ClassVar[tuple[str, ...]] = ("batch_rows", "concurrency", "requests_per_minute", "max_attempts")
    positive: ClassVar[tuple[str, ...]] = ("timeout_s", "max_retry_s", "backoff_s")
    choices: ClassVar[Mapping[str, tuple[str | None, ...]]] = {"on_invalid": ("reject", "omit")}
    checks: ClassVar[tuple[OptionCheck, ...]] = (_rows,)

    hashed: bool = False
    on_invalid: Literal["reject", "omit"] = "reject"
    batch_rows: int
    concurrency: int = 2
    requests_per_minute: int = 300
    timeout_s: float = 120
    max_attempts: int = 6
    max_retry_s: float = 600
    backoff_s: float = 2


@parameter_class
class DataManagerSpec(DataManagerOptions, DestinationSpec):
    """The options, the accounts and the connection. All destinations of one spec share its pace.

    Args:
        operating_account: the account that owns the target: an id, or a type with it.
        gcp_conn_id: a Google Cloud connection.
        login_account: the account that the credentials belong to.
        linked_account: for data partners.
        impersonation_chain: service account to impersonate, or a chain of them.
    """

    account_types: ClassVar[tuple[str, ...]]
    checks: ClassVar[tuple[OptionCheck, ...]] = tuple(partial(_account, name=name) for name in _ACCOUNTS)
    templated: ClassVar[tuple[str, ...]] = (*_ACCOUNTS, "consent_signals", "impersonation_chain")

    operating_account: Account
    gcp_conn_id: str = "google_cloud_default"
    login_account: Account | None = None
    linked_account: Account | None = None
    impersonation_chain: str | Sequence[str] | None = None

    pace: Pace = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        from airflow_consent_retl.destinations.data_manager.accounts import OVER_QUOTA
        from airflow_consent_retl.destinations.http.pace import Pace

        super().__post_init__()
        object.__setattr__(self, "pace", Pace(requests=self.requests_per_minute, code=OVER_QUOTA))

    def built(self, kind: Callable[..., Built], noun: str, number: str, *, consent_granted: bool) -> Built:
        """Return the destination of a kind, not yet opened; contacts nothing.

        Args:
            kind: makes it.
            noun: what its target is.
            number: the target's number.
            consent_granted: see `DataManagerDestination`.
        """
        from airflow_consent_retl.destinations.data_manager.accounts import google_target
        from airflow_consent_retl.destinations.data_manager.data_manager_hook import GoogleDataManagerHook
        from airflow_consent_retl.hooks.cloud_project import cloud_project

        target = google_target(noun, number, **{name: getattr(self, name) for name in _ACCOUNTS})
        hook = GoogleDataManagerHook(gcp_conn_id=self.gcp_conn_id, impersonation_chain=self.impersonation_chain)
        return kind(
            hook.get_conn,
            target,
            self,
            consent_granted=consent_granted,
            pace=self.pace,
            quota=partial(cloud_project, self.gcp_conn_id, self.impersonation_chain),
            endpoint=hook.endpoint,
        )
