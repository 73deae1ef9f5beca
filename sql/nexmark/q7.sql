-- Highest bid: in each window of ten seconds the bids with the highest price.
SELECT b.auction, b.price, b.bidder, b.date_time, b.extra
FROM bid AS b
JOIN (
    SELECT window_start, window_end, max(price) AS most
    FROM TUMBLE(bid, date_time, INTERVAL '10 seconds')
    GROUP BY window_start, window_end
) AS m ON b.price = m.most
WHERE b.date_time >= m.window_start AND b.date_time < m.window_end
