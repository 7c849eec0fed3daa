"""The ledger: leases, batches and outcomes in a small SQL database."""
