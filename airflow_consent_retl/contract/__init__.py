"""The contract of destinations: the interface, its limits, and the outcome of each row."""
