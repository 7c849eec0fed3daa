"""Delivery: the protocol that sends and removes in batches, and accounts for every row."""
