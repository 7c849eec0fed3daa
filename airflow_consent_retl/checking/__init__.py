"""The check of DAGs before their first run: everything that a run would refuse, all at once. Sends nothing."""
