SELECT auction, strftime(date_time, '%Y-%m-%d') AS day, count(*),
       sum(CAST(price < 10_000 AS INT)), sum(CAST(price BETWEEN 10_000 AND 999_999 AS INT)), sum(CAST(price > 999_999 AS INT)),
       min(price), max(price), sum(price) / count(*), sum(price)
FROM bid GROUP BY auction, day
