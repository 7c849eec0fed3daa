"""Workspaces: the places of a model's rows, in files or in tables of the warehouse that they come from."""
