-- Windows by their numbers: a bid of second s is in those that begin at the even seconds from s - 9 to s.
WITH counts AS (
    SELECT auction, epoch_us(date_time) // 2_000_000 - back AS slide, count(*) AS bids
    FROM bid, range(5) AS r(back) GROUP BY ALL
)
SELECT auction, bids, make_timestamp(slide * 2_000_000)
FROM counts QUALIFY rank() OVER (PARTITION BY slide ORDER BY bids DESC) = 1
