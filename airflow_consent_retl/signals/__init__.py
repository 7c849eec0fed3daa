"""Signals about runs for operators of Airflow: outcomes, metrics, lineage. They hold counts, digests and names only."""
