select 1 as id, true as analytics_ok
