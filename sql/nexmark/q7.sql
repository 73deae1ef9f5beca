-- Highest bid: in each window of ten seconds the bids with the highest price. The window's end counts to it here, as the suite writes it.
SELECT b.auction, b.bidder, b.price, b.date_time, b.extra
FROM bid AS b
JOIN (
    SELECT max(price) AS most, window_end
    FROM TUMBLE(bid, date_time, INTERVAL '10 seconds')
    GROUP BY window_start, window_end
) AS m ON b.price = m.most
WHERE b.date_time BETWEEN m.window_end - INTERVAL '10 seconds' AND m.window_end
