"""The operators of this package, for type checkers: `__init__.py` finds them as they are asked for."""

from airflow_consent_retl.destinations.files.operator import LoadToFilesOperator as LoadToFilesOperator
from airflow_consent_retl.destinations.google_customer_match.operator import (
    LoadToGoogleCustomerMatchOperator as LoadToGoogleCustomerMatchOperator,
)
from airflow_consent_retl.destinations.hubspot.operator import LoadToHubSpotOperator as LoadToHubSpotOperator
from airflow_consent_retl.destinations.meta_audiences.operator import (
    LoadToMetaAudienceOperator as LoadToMetaAudienceOperator,
)
from airflow_consent_retl.destinations.meta_conversions.operator import (
    LoadToMetaConversionsOperator as LoadToMetaConversionsOperator,
)
from airflow_consent_retl.destinations.sql_table.operator import LoadToSqlTableOperator as LoadToSqlTableOperator
from airflow_consent_retl.destinations.webhook.operator import LoadToWebhookOperator as LoadToWebhookOperator
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
from airflow_consent_retl.operators.sync_life import AdoptDeliveredStateOperator as AdoptDeliveredStateOperator
from airflow_consent_retl.operators.sync_life import HandOverSyncOperator as HandOverSyncOperator
from airflow_consent_retl.operators.withdraw import PropagateWithdrawalsOperator as PropagateWithdrawalsOperator

__all__: list[str]
