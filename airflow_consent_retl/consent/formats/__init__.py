"""Consent formats: one file for each way in which a consent platform records who said yes."""
