SELECT auction, make_timestamp((epoch_us(date_time) // 2_000_000 - back) * 2_000_000) AS start, start + INTERVAL 10 SECONDS, count(*)
FROM bid, range(5) AS r(back) GROUP BY ALL
