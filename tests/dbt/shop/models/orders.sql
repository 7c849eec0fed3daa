select user_id, row_number() over (order by user_id) as order_id from {{ ref("customers") }}
