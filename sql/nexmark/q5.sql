-- Hot items: in each window of ten seconds, every two seconds, the auctions with the most bids.
WITH counts AS (
    SELECT auction, window_start, window_end, count(*) AS bids
    FROM HOP(bid, date_time, INTERVAL '2 seconds', INTERVAL '10 seconds')
    GROUP BY auction, window_start, window_end
)
SELECT c.auction, c.bids, c.window_start
FROM counts AS c
JOIN (SELECT window_start, max(bids) AS most FROM counts GROUP BY window_start) AS m ON c.window_start = m.window_start
WHERE c.bids >= m.most
