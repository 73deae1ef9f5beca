WITH ranked AS (SELECT *, CASE WHEN price < 10_000 THEN 1 WHEN price < 1_000_000 THEN 2 ELSE 3 END AS rank FROM bid)
SELECT strftime(date_time, '%Y-%m-%d') AS day, count(*),
       sum(CAST(rank = 1 AS INT)), sum(CAST(rank = 2 AS INT)), sum(CAST(rank = 3 AS INT)),
       len(list_distinct(list(bidder))),
       count(DISTINCT CASE WHEN rank = 1 THEN bidder END), count(DISTINCT CASE WHEN rank = 2 THEN bidder END), count(DISTINCT CASE WHEN rank = 3 THEN bidder END),
       len(list_distinct(list(auction))),
       count(DISTINCT CASE WHEN rank = 1 THEN auction END), count(DISTINCT CASE WHEN rank = 2 THEN auction END), count(DISTINCT CASE WHEN rank = 3 THEN auction END)
FROM ranked GROUP BY day
