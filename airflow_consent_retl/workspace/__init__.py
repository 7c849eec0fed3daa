"""Workspaces: where the rows of a model lie, in files or in tables of the warehouse that they come from."""
