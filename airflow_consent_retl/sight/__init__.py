"""Figures of syncs and runs for people who look at them, on the page in Airflow and in reports.

No value of a row is in them.
"""
