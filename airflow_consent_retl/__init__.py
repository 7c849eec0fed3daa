"""Airflow provider that loads model results into destinations, for people who consented and for no one else."""

__version__ = "0.1.0"
