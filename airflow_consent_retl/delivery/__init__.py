"""The protocol of a load: verify, send in batches, account for every row."""
