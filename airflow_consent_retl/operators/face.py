"""The one list of the names that this package offers to DAG authors, each with the module that defines it.

`operators.__all__`, its stub and the provider info follow from it. It has only names of modules, so it imports nothing.
"""

from __future__ import annotations

_OPERATORS = "airflow_consent_retl.operators"
_DESTINATIONS = "airflow_consent_retl.destinations"

MODULES = {
    "AdoptDeliveredStateOperator": f"{_OPERATORS}.sync_life",
    "BeginLoadOperator": f"{_OPERATORS}.slices",
    "ConsentFilterOperator": f"{_OPERATORS}.consent",
    "ConsentReportOperator": f"{_OPERATORS}.write_report",
    "DropStagingTablesOperator": f"{_OPERATORS}.drop_staging",
    "ExtractModelOperator": f"{_OPERATORS}.extract",
    "ForgetOperator": f"{_OPERATORS}.forget",
    "HandOverSyncOperator": f"{_OPERATORS}.sync_life",
    "LoadOperator": f"{_OPERATORS}.load",
    "LoadToBrazeOperator": f"{_DESTINATIONS}.braze.operator",
    "LoadToCustomerioOperator": f"{_DESTINATIONS}.customerio.operator",
    "LoadToDeclaredHttpOperator": f"{_DESTINATIONS}.declared.operator",
    "LoadToFilesOperator": f"{_DESTINATIONS}.files.operator",
    "LoadToGoogleCustomerMatchOperator": f"{_DESTINATIONS}.google_customer_match.operator",
    "LoadToGoogleEventsOperator": f"{_DESTINATIONS}.google_events.operator",
    "LoadToHubSpotOperator": f"{_DESTINATIONS}.hubspot.operator",
    "LoadToIterableOperator": f"{_DESTINATIONS}.iterable.operator",
    "LoadToKlaviyoOperator": f"{_DESTINATIONS}.klaviyo.operator",
    "LoadToMetaAudienceOperator": f"{_DESTINATIONS}.meta_audiences.operator",
    "LoadToMetaConversionsOperator": f"{_DESTINATIONS}.meta_conversions.operator",
    "LoadToSalesforceOperator": f"{_DESTINATIONS}.salesforce.operator",
    "LoadToSqlTableOperator": f"{_DESTINATIONS}.sql_table.operator",
    "LoadToWebhookOperator": f"{_DESTINATIONS}.webhook.operator",
    "PropagateWithdrawalsOperator": f"{_OPERATORS}.withdraw",
    "PruneOperator": f"{_OPERATORS}.prune",
    "ResetLedgerTimesOperator": f"{_OPERATORS}.ledger_times",
    "RetireSyncOperator": f"{_OPERATORS}.retire",
    "SendSliceOperator": f"{_OPERATORS}.slices",
    "SyncLogsOperator": f"{_OPERATORS}.sync_logs",
    "destination_asset": f"{_OPERATORS}.assets",
    "in_slices": f"{_OPERATORS}.slices",
    "permitted_batches": f"{_OPERATORS}.permitted_rows",
    "permitted_dataframes": f"{_OPERATORS}.permitted_rows",
    "sync_asset": f"{_OPERATORS}.assets",
}

OPERATOR_MODULES = sorted({module for name, module in MODULES.items() if name.endswith("Operator")})

HOOK_MODULES = [
    "airflow_consent_retl.hooks.ledgers",
    "airflow_consent_retl.hooks.policies",
    "airflow_consent_retl.hooks.sql",
    f"{_DESTINATIONS}.data_manager.data_manager_hook",
    f"{_DESTINATIONS}.http.webhook_hook",
]

LINKS = [f"{_OPERATORS}.links.RunReportLink", f"{_OPERATORS}.links.SyncPageLink"]

NOTIFIERS = ["airflow_consent_retl.notifications.notifier.ConsentNotifier"]

TRIGGER_MODULES = [
    "airflow_consent_retl.triggers.pending_requests",
    "airflow_consent_retl.triggers.submitted_query",
]
