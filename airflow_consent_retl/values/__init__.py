"""Arrow values: exact columns, ids, keys, hashes and JSON. Nothing here knows what consent is."""
