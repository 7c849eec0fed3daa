"""The warehouse workspace: rows that stay in tables of a staging schema, beside the model they come from."""
