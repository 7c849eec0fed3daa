"""Databases: one folder each, behind shared interfaces for reading, staging and writing."""
