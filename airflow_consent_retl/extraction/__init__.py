"""The extraction: from a model's query to an immutable snapshot, in files or inside a warehouse."""
