"""Signals about runs for operators of Airflow: outcomes, metrics, lineage. They contain counts, digests and names."""
