"""The command `consent-retl`: one file for each group of verbs, found by `app.py`. Importing it loads no Airflow."""
