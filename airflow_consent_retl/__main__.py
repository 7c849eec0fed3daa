"""The command `python -m airflow_consent_retl VERB`, which is `consent-retl VERB`."""

from airflow_consent_retl.cli.app import entry

if __name__ == "__main__":
    entry()
