"""Arrow values: exact columns, ids, keys, hashes and JSON. Nothing here depends on consent."""
