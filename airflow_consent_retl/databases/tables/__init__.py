"""Tables of any database as the target of a load: checks, batches, upserts and removals."""
