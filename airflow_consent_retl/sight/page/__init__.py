"""The page in Airflow: an application that Airflow's API server mounts, guarded by Airflow's own rights."""
