{{ config(materialized="table") }}
select user_id, email, name, analytics_ok, ads, preferences from {{ source("raw", "people") }}
