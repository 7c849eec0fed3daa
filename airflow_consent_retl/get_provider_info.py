"""The provider info that Airflow's provider manager reads."""

from __future__ import annotations

from typing import Any

from airflow_consent_retl import __version__
from airflow_consent_retl.destinations.http.vendors import vendors
from airflow_consent_retl.destinations.http.webhook_form import WEBHOOK_FORM
from airflow_consent_retl.hooks.connection_forms import POLICY_FORM
from airflow_consent_retl.operators.face import HOOK_MODULES, LINKS, NOTIFIERS, OPERATOR_MODULES, TRIGGER_MODULES


def get_provider_info() -> dict[str, Any]:
    """Return the provider info, in the form of Airflow's `provider_info.schema.json`."""
    return {
        "package-name": "airflow-consent-retl",
        "name": "Consent in Reverse ETL",
        "description": "Reverse ETL that sends only the rows whose person consented to the destination's purpose.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": "Consent in Reverse ETL",
                "external-doc-url": "https://github.com/airflow-consent-retl/airflow-consent-retl",
                "tags": ["software"],
            }
        ],
        "operators": [
            {
                "integration-name": "Consent in Reverse ETL",
                "python-modules": OPERATOR_MODULES,
            }
        ],
        "hooks": [
            {
                "integration-name": "Consent in Reverse ETL",
                "python-modules": HOOK_MODULES + [vendor.hook.rpartition(".")[0] for vendor in vendors()],
            }
        ],
        "triggers": [
            {
                "integration-name": "Consent in Reverse ETL",
                "python-modules": TRIGGER_MODULES,
            }
        ],
        "extra-links": LINKS,
        "notifications": NOTIFIERS,
        "connection-types": [POLICY_FORM, WEBHOOK_FORM, *(dict(vendor.form) for vendor in vendors())],
        "config": {
            "consent_retl": {
                "description": "The deployment's policy, and the places of rows, manifests and the ledger.",
                "options": {
                    "policy": {
                        "description": (
                            "The place of the policy for every DAG: variable:<key>, connection:<conn_id> or "
                            "file:<path>. Default: each DAG names its own."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "variable:consent_policy",
                        "default": None,
                    },
                    "allow_dag_policies": {
                        "description": (
                            "Whether a DAG may use another policy than the option policy names. Without that option it "
                            "has no effect."
                        ),
                        "version_added": "0.1.0",
                        "type": "boolean",
                        "example": "True",
                        "default": "False",
                    },
                    "approval_required": {
                        "description": (
                            "Whether a policy that may permit more than the one in force takes effect only after a "
                            "person approved its digest, with the verb approve. Until then the one in force holds."
                        ),
                        "version_added": "0.1.0",
                        "type": "boolean",
                        "example": "True",
                        "default": "False",
                    },
                    "workspace": {
                        "description": (
                            "Folder or object storage of the workspace, as an ObjectStoragePath. Every worker that "
                            "runs a task must have access to it. Default: the folder consent_retl under AIRFLOW_HOME."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "s3://aws_default@bucket/consent_retl",
                        "default": None,
                    },
                    "page_workspaces": {
                        "description": (
                            "More workspaces and ledgers that the page in Airflow shows, by name, as a JSON object: "
                            "those that DAGs name with the parameters workspace and ledger_conn_id."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": '{"emea": {"workspace": "s3://bucket/emea", "ledger_conn_id": "ledger_emea"}}',
                        "default": None,
                    },
                    "ledger_conn_id": {
                        "description": (
                            "PostgreSQL connection of the ledger, for workers on several machines. Default for a "
                            "workspace in a local folder: a SQLite file in that folder."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "postgres_default",
                        "default": None,
                    },
                    "unserved_days": {
                        "description": (
                            "After how many days each load warns of syncs that have people at a destination and that "
                            "no run has served since. 0: never."
                        ),
                        "version_added": "0.1.0",
                        "type": "float",
                        "example": "3",
                        "default": "7",
                    },
                    "snapshot_days": {
                        "description": (
                            "Days after which PruneOperator deletes snapshots, the rows of permitted sets, and staging "
                            "tables, and DropStagingTablesOperator those of other runs. At least one day is kept."
                        ),
                        "version_added": "0.1.0",
                        "type": "float",
                        "example": "30",
                        "default": "7",
                    },
                    "snapshot_number": {
                        "description": (
                            "How many of the newest snapshots, and permitted sets, of each model PruneOperator keeps. "
                            "0: all until their age."
                        ),
                        "version_added": "0.1.0",
                        "type": "integer",
                        "example": "10",
                        "default": "0",
                    },
                    "evidence_days": {
                        "description": (
                            "Days after which PruneOperator deletes decision logs, with the manifests of their "
                            "permitted sets, and records of deliveries."
                        ),
                        "version_added": "0.1.0",
                        "type": "float",
                        "example": "1826",
                        "default": "1096",
                    },
                    "digest_key": {
                        "description": (
                            "Secret of at least 32 characters. It signs manifests and records, and the decision log "
                            "uses it to pseudonymise subjects. Default for a workspace in a local folder: a key file, "
                            "created there on first use."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "sensitive": True,
                        "example": None,
                        "default": None,
                    },
                    "digest_key_previous": {
                        "description": (
                            "The secrets that digest_key replaced, separated by white space, the newest first. What "
                            "was signed or pseudonymised with them stays valid."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "sensitive": True,
                        "example": None,
                        "default": None,
                    },
                },
            }
        },
    }
