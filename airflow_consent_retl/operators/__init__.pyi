"""The operators of this package, for type checkers: `__init__.py` finds them as they are asked for."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from airflow_consent_retl.destinations.braze.operator import LoadToBrazeOperator as _LoadToBrazeOperator
from airflow_consent_retl.destinations.braze.options import BrazeIdentifier, BrazeWithdrawal
from airflow_consent_retl.destinations.customerio.operator import LoadToCustomerioOperator as _LoadToCustomerioOperator
from airflow_consent_retl.destinations.customerio.options import CustomerioId, CustomerioWithdrawal
from airflow_consent_retl.destinations.data_manager.accounts import Account
from airflow_consent_retl.destinations.declared.declaration import DestinationDeclaration
from airflow_consent_retl.destinations.declared.operator import (
    LoadToDeclaredHttpOperator as _LoadToDeclaredHttpOperator,
)
from airflow_consent_retl.destinations.declared.options import Parameter
from airflow_consent_retl.destinations.files.operator import LoadToFilesOperator as _LoadToFilesOperator
from airflow_consent_retl.destinations.files.options import Compression, Format, Nulls
from airflow_consent_retl.destinations.google_customer_match.operator import (
    LoadToGoogleCustomerMatchOperator as _LoadToGoogleCustomerMatchOperator,
)
from airflow_consent_retl.destinations.google_events.operator import (
    LoadToGoogleEventsOperator as _LoadToGoogleEventsOperator,
)
from airflow_consent_retl.destinations.hubspot.operator import LoadToHubSpotOperator as _LoadToHubSpotOperator
from airflow_consent_retl.destinations.hubspot.options import HubSpotWithdrawal, LegalBasis
from airflow_consent_retl.destinations.iterable.operator import LoadToIterableOperator as _LoadToIterableOperator
from airflow_consent_retl.destinations.iterable.options import IterableId, IterableWithdrawal
from airflow_consent_retl.destinations.klaviyo.operator import LoadToKlaviyoOperator as _LoadToKlaviyoOperator
from airflow_consent_retl.destinations.klaviyo.options import KlaviyoId, KlaviyoWithdrawal
from airflow_consent_retl.destinations.meta_audiences.operator import (
    LoadToMetaAudienceOperator as _LoadToMetaAudienceOperator,
)
from airflow_consent_retl.destinations.meta_audiences.options import AudienceWithdrawal
from airflow_consent_retl.destinations.meta_conversions.operator import (
    LoadToMetaConversionsOperator as _LoadToMetaConversionsOperator,
)
from airflow_consent_retl.destinations.salesforce.consent_objects import ConsentObject
from airflow_consent_retl.destinations.salesforce.operator import LoadToSalesforceOperator as _LoadToSalesforceOperator
from airflow_consent_retl.destinations.salesforce.options import OnWithdrawal
from airflow_consent_retl.destinations.sql_table.operator import LoadToSqlTableOperator as _LoadToSqlTableOperator
from airflow_consent_retl.destinations.webhook.operator import LoadToWebhookOperator as _LoadToWebhookOperator
from airflow_consent_retl.destinations.webhook.options import RemovalMethod
from airflow_consent_retl.operators.assets import destination_asset as destination_asset
from airflow_consent_retl.operators.assets import sync_asset as sync_asset
from airflow_consent_retl.operators.consent import ConsentFilterOperator as ConsentFilterOperator
from airflow_consent_retl.operators.drop_staging import DropStagingTablesOperator as DropStagingTablesOperator
from airflow_consent_retl.operators.extract import ExtractModelOperator as ExtractModelOperator
from airflow_consent_retl.operators.forget import ForgetOperator as ForgetOperator
from airflow_consent_retl.operators.ledger_times import ResetLedgerTimesOperator as ResetLedgerTimesOperator
from airflow_consent_retl.operators.load import LoadOperator as LoadOperator
from airflow_consent_retl.operators.permitted_rows import permitted_batches as permitted_batches
from airflow_consent_retl.operators.permitted_rows import permitted_dataframes as permitted_dataframes
from airflow_consent_retl.operators.prune import PruneOperator as PruneOperator
from airflow_consent_retl.operators.retire import RetireSyncOperator as RetireSyncOperator
from airflow_consent_retl.operators.slices import BeginLoadOperator as BeginLoadOperator
from airflow_consent_retl.operators.slices import SendSliceOperator as SendSliceOperator
from airflow_consent_retl.operators.slices import in_slices as in_slices
from airflow_consent_retl.operators.sync_life import AdoptDeliveredStateOperator as AdoptDeliveredStateOperator
from airflow_consent_retl.operators.sync_life import HandOverSyncOperator as HandOverSyncOperator
from airflow_consent_retl.operators.sync_logs import SyncLogsOperator as SyncLogsOperator
from airflow_consent_retl.operators.withdraw import PropagateWithdrawalsOperator as PropagateWithdrawalsOperator
from airflow_consent_retl.operators.write_report import ConsentReportOperator as ConsentReportOperator

__all__: list[str]

class LoadToBrazeOperator(_LoadToBrazeOperator):
    conn_id: str
    workspace_name: str
    def __init__(
        self,
        *,
        batch_rows: int = 75,
        concurrency: int = 4,
        timeout_s: float = 30,
        max_attempts: int = 6,
        max_retry_s: float = 300,
        on_withdrawal: BrazeWithdrawal,
        identifier: BrazeIdentifier = "external_id",
        alias_label: str | None = None,
        withdrawn_attributes: Mapping[str, str | float | bool | None] | None = None,
        unsubscribes: Sequence[str] = ...,
        phone_groups: Sequence[str] = ...,
        requests_per_3_s: int = 3000,
        exports_per_minute: int = 250,
        workspace_name: str,
        conn_id: str = "consentbraze_default",
        **kwargs: Any,
    ) -> None: ...

class LoadToCustomerioOperator(_LoadToCustomerioOperator):
    conn_id: str
    workspace_id: int | str
    segment_id: int | str | None
    def __init__(
        self,
        *,
        conn_id: str = "consentcustomerio_default",
        on_withdrawal: CustomerioWithdrawal,
        concurrency: int = 4,
        timeout_s: float = 30,
        max_attempts: int = 6,
        max_retry_s: float = 300,
        workspace_id: int | str,
        known_by: CustomerioId = "id",
        segment_id: int | str | None = None,
        **kwargs: Any,
    ) -> None: ...

class LoadToDeclaredHttpOperator(_LoadToDeclaredHttpOperator):
    conn_id: str
    parameters: Mapping[str, Parameter] | None
    def __init__(
        self,
        *,
        conn_id: str,
        on_withdrawal: str | None,
        concurrency: int = 8,
        timeout_s: float = 30,
        max_attempts: int = 6,
        max_retry_s: float = 300,
        declaration: DestinationDeclaration,
        parameters: Mapping[str, Parameter] | None = None,
        **kwargs: Any,
    ) -> None: ...

class LoadToFilesOperator(_LoadToFilesOperator):
    path: str
    def __init__(
        self,
        *,
        path: str,
        format: Format = "parquet",
        keep_versions: int | None = 1,
        keep_versions_days: float | None = None,
        part_rows: int = 1000000,
        batch_rows: int = 65536,
        compression: Compression = "zstd",
        nulls: Nulls = "null",
        null_text: str = "",
        escape_formulas: bool = True,
        **kwargs: Any,
    ) -> None: ...

class LoadToGoogleCustomerMatchOperator(_LoadToGoogleCustomerMatchOperator):
    gcp_conn_id: str
    audience_id: str
    operating_account: Account
    login_account: Account | None
    linked_account: Account | None
    consent_signals: Mapping[str, str]
    impersonation_chain: str | Sequence[str] | None
    def __init__(
        self,
        *,
        hashed: bool = False,
        on_invalid: Literal["reject", "omit"] = "reject",
        batch_rows: int = 10000,
        concurrency: int = 2,
        requests_per_minute: int = 300,
        timeout_s: float = 120,
        max_attempts: int = 6,
        max_retry_s: float = 600,
        backoff_s: float = 2,
        operating_account: Account,
        gcp_conn_id: str = "google_cloud_default",
        login_account: Account | None = None,
        linked_account: Account | None = None,
        impersonation_chain: str | Sequence[str] | None = None,
        audience_id: str,
        consent_signals: Mapping[str, str],
        terms_of_service_accepted: bool = False,
        **kwargs: Any,
    ) -> None: ...

class LoadToGoogleEventsOperator(_LoadToGoogleEventsOperator):
    gcp_conn_id: str
    product_destination_id: str
    operating_account: Account
    login_account: Account | None
    linked_account: Account | None
    consent_signals: Mapping[str, str] | None
    impersonation_chain: str | Sequence[str] | None
    def __init__(
        self,
        *,
        hashed: bool = False,
        on_invalid: Literal["reject", "omit"] = "reject",
        batch_rows: int = 2000,
        concurrency: int = 2,
        requests_per_minute: int = 300,
        timeout_s: float = 120,
        max_attempts: int = 6,
        max_retry_s: float = 600,
        backoff_s: float = 2,
        operating_account: Account,
        gcp_conn_id: str = "google_cloud_default",
        login_account: Account | None = None,
        linked_account: Account | None = None,
        impersonation_chain: str | Sequence[str] | None = None,
        product_destination_id: str,
        consent_signals: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None: ...

class LoadToHubSpotOperator(_LoadToHubSpotOperator):
    conn_id: str
    hub_id: str
    def __init__(
        self,
        *,
        batch_rows: int = 100,
        concurrency: int = 4,
        timeout_s: float = 30,
        max_attempts: int = 6,
        max_retry_s: float = 300,
        on_withdrawal: HubSpotWithdrawal,
        id_property: str = "email",
        unsubscribes: Sequence[int] = ...,
        cleared_properties: Sequence[str] = ...,
        nulls: Literal["clear", "keep"] = "clear",
        legal_basis: LegalBasis | None = None,
        legal_basis_explanation: str | None = None,
        business_unit_id: int | None = None,
        requests_per_10_s: int = 100,
        hub_id: str,
        conn_id: str = "consenthubspot_default",
        **kwargs: Any,
    ) -> None: ...

class LoadToIterableOperator(_LoadToIterableOperator):
    conn_id: str
    project_id: int | str
    list_id: int | str | None
    def __init__(
        self,
        *,
        conn_id: str = "consentiterable_default",
        on_withdrawal: IterableWithdrawal,
        concurrency: int = 4,
        timeout_s: float = 60,
        max_attempts: int = 6,
        max_retry_s: float = 300,
        project_id: int | str,
        known_by: IterableId = "email",
        list_id: int | str | None = None,
        **kwargs: Any,
    ) -> None: ...

class LoadToKlaviyoOperator(_LoadToKlaviyoOperator):
    conn_id: str
    account_id: str
    list_id: str | None
    def __init__(
        self,
        *,
        batch_rows: int = 10000,
        removal_batch_rows: int | None = 100,
        concurrency: int = 2,
        timeout_s: float = 60,
        max_attempts: int = 6,
        max_retry_s: float = 300,
        max_body_bytes: int = 5000000,
        on_withdrawal: KlaviyoWithdrawal,
        unsubscribes: Sequence[str] = ...,
        job_wait_s: float = 1800,
        account_id: str,
        conn_id: str = "consentklaviyo_default",
        known_by: KlaviyoId = "external_id",
        list_id: str | None = None,
        nulls: Literal["clear", "keep"] = "clear",
        requests_per_s: int = 10,
        requests_per_minute: int = 150,
        **kwargs: Any,
    ) -> None: ...

class LoadToMetaAudienceOperator(_LoadToMetaAudienceOperator):
    conn_id: str
    audience_id: str
    def __init__(
        self,
        *,
        batch_rows: int = 10000,
        concurrency: int = 2,
        timeout_s: float = 120,
        max_attempts: int = 6,
        max_retry_s: float = 300,
        max_body_bytes: int = 60000,
        audience_id: str,
        conn_id: str = "consentmeta_default",
        on_withdrawal: AudienceWithdrawal,
        hashed: bool = False,
        on_invalid: Literal["reject", "omit"] = "reject",
        phone_region: str | None = None,
        **kwargs: Any,
    ) -> None: ...

class LoadToMetaConversionsOperator(_LoadToMetaConversionsOperator):
    conn_id: str
    dataset_id: str
    def __init__(
        self,
        *,
        batch_rows: int = 1000,
        concurrency: int = 16,
        timeout_s: float = 60,
        max_attempts: int = 6,
        max_retry_s: float = 300,
        dataset_id: str,
        conn_id: str = "consentmeta_default",
        hashed: bool = False,
        on_invalid: Literal["reject", "omit"] = "reject",
        phone_region: str | None = None,
        **kwargs: Any,
    ) -> None: ...

class LoadToSalesforceOperator(_LoadToSalesforceOperator):
    salesforce_conn_id: str
    sobject: str
    external_id: str
    def __init__(
        self,
        *,
        batch_rows: int = 50000,
        concurrency: int = 2,
        timeout_s: float = 60,
        max_attempts: int = 6,
        max_retry_s: float = 300,
        max_body_bytes: int = 100000000,
        external_id: str,
        on_withdrawal: OnWithdrawal,
        clear_fields: Sequence[str] = ...,
        write: Literal["upsert", "insert", "update"] = "upsert",
        nulls: Literal["clear", "keep"] = "clear",
        max_api_share: float = 0.9,
        sobject: str,
        hard_delete: bool = False,
        consent_objects: Sequence[ConsentObject | Mapping[str, Any]] = ...,
        salesforce_conn_id: str = "salesforce_default",
        **kwargs: Any,
    ) -> None: ...

class LoadToSqlTableOperator(_LoadToSqlTableOperator):
    conn_id: str
    table: str
    def __init__(
        self,
        *,
        table: str,
        nulls: Literal["overwrite", "keep"] = "overwrite",
        create_table: bool = True,
        batch_rows: int | None = None,
        on_remove: Literal["delete", "mark"] = "delete",
        mark_column: str | None = None,
        mark_nulls: bool = False,
        conn_id: str,
        **kwargs: Any,
    ) -> None: ...

class LoadToWebhookOperator(_LoadToWebhookOperator):
    conn_id: str
    endpoint: str
    removal_endpoint: str | None
    def __init__(
        self,
        *,
        batch_rows: int = 1000,
        removal_batch_rows: int | None = None,
        concurrency: int = 8,
        timeout_s: float = 30,
        max_attempts: int = 6,
        max_retry_s: float = 300,
        max_body_bytes: int = 4194304,
        nulls: Literal["null", "omit"] = "null",
        integers: Literal["number", "string"] = "number",
        answer: Literal["rows", "status"] = "rows",
        envelope: str | None = "rows",
        removal_method: RemovalMethod = "DELETE",
        removal_event: Mapping[str, str] | None = None,
        own_codes: Sequence[str] = ...,
        conn_id: str,
        endpoint: str,
        removal_endpoint: str | None = None,
        **kwargs: Any,
    ) -> None: ...
