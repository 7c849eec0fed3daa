"""The base of destinations of the Data Manager API: the target, its account, and the consent that sending needs.

The API accepts or refuses a request as a whole and processes it later: each row is `pending` under the request's id
until `confirm` returns its outcome. The API reports counts, never rows: after a partial success every row is uncertain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ClassVar

from airflow_consent_retl.contract.dataset_name import DatasetName
from airflow_consent_retl.destinations.data_manager.accounts import OVER_QUOTA, GoogleTarget
from airflow_consent_retl.destinations.data_manager.consent_signals import SIGNALS
from airflow_consent_retl.destinations.data_manager.members import field_of
from airflow_consent_retl.destinations.http.counted_destination import CountedDestination
from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    from google.ads.datamanager_v1 import IngestionServiceClient

    from airflow_consent_retl.contract.destination import Load
    from airflow_consent_retl.destinations.data_manager.options import DataManagerOptions
    from airflow_consent_retl.destinations.http.counted_delivery import CountedDelivery
    from airflow_consent_retl.destinations.http.pace import Pace


class DataManagerDestination(CountedDestination):
    """Sends rows to one target, and asks for their outcomes.

    Args:
        connect: returns the official client; `commit` and `abort` close it.
        place: the target.
        options: see there.
        consent_granted: whether Google's signals that are no fields were granted by everyone who is sent. If not,
            no one is sent; removing people and asking for outcomes need no consent.
        endpoint: returns the endpoint of the API; None: Google's own.
        pace, quota: see `CountedDestination`.
    """

    vendor: ClassVar[str] = "Google's Data Manager API"
    over_quota: ClassVar[str] = OVER_QUOTA

    def __init__(
        self,
        connect: Callable[[], IngestionServiceClient],
        place: GoogleTarget,
        options: DataManagerOptions,
        *,
        consent_granted: bool,
        pace: Pace | None = None,
        quota: Callable[[], str] = lambda: "Google",
        endpoint: Callable[[], str | None] = lambda: None,
    ) -> None:
        super().__init__(options, noun=place.noun, pace=pace, quota=quota)
        self._connect = connect
        self._place = place
        self._options = options
        self._consent_granted = consent_granted
        self._endpoint = endpoint

    @property
    def target(self) -> str:
        """The target, its account, and the endpoint of the API if it is not Google's own."""
        linked = self._place.linked_account
        through = f" linked to {linked.account_type} account {linked.account_id}" if linked else ""
        endpoint = self._endpoint()
        return f"{self._place}{through}{f' at {endpoint}' if endpoint else ''}"

    @property
    def dataset_name(self) -> DatasetName:
        """The target and its account, at the API's host."""
        # https://developers.google.com/data-manager/api/reference/rest (read 2026-11-29)
        return DatasetName(f"https://{self._endpoint() or 'datamanager.googleapis.com'}", str(self._place))

    def is_own_code(self, code: str) -> bool:
        """Return whether a code is a name of one of Google's enumerations."""
        from airflow_consent_retl.destinations.data_manager.request_states import is_google_code

        return is_google_code(code)

    def field_of(self, kind: str, names: Iterable[str]) -> str:
        """Return the only field of a kind, such as `email`."""
        return field_of(kind, names)

    def check_consent(self, load: Load) -> None:
        """Check that people may be sent.

        Raises:
            ConfigurationError: it was not checked that they granted Google's signals.
        """
        if not self._consent_granted:
            raise ConfigurationError(
                f"it was not checked that the people sent to `{load.destination}` granted {' and '.join(SIGNALS)}"
            )

    def connected(self, pace: Callable[[], Pace]) -> CountedDelivery:
        """Return what sends by the official client."""
        client = self._connect()
        # Imported after the client: without the extra, the client's hook raises an error that names it.
        from airflow_consent_retl.destinations.data_manager.api import DataManagerApi
        from airflow_consent_retl.destinations.http.counted_delivery import CountedDelivery

        options = self._options
        api = DataManagerApi(client, pace=pace(), timeout_s=options.timeout_s)
        vendor, target = "the Data Manager API", str(self._place)
        return CountedDelivery(api, options, vendor=vendor, target=target, items=options.items)
