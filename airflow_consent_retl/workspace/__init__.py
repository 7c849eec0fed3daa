"""Where snapshots, permitted sets and decision logs live."""
