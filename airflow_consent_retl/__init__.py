"""Airflow provider that loads model results into destinations, for people who consented, and nobody else."""

__version__ = "0.1.0"
