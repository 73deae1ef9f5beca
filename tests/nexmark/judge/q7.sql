WITH highest AS (SELECT epoch_us(date_time) // 10_000_000 AS number, max(price) AS price FROM bid GROUP BY ALL)
SELECT auction, bidder, bid.price, date_time, extra
FROM bid JOIN highest ON highest.price = bid.price AND number * 10_000_000 <= epoch_us(date_time) AND epoch_us(date_time) <= (number + 1) * 10_000_000
