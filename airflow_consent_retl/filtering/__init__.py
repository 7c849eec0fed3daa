"""The filter: from a snapshot to the rows that each destination may receive."""
