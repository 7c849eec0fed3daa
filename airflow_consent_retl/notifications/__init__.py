"""Notifiers for callbacks of tasks."""
