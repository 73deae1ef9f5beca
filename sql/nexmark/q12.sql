-- Processing time: how many bids somebody makes while ten seconds pass on the server's clock. The table of bids has a column p_time AS PROCTIME().
SELECT bidder, window_start, window_end, count(*) AS bids
FROM TUMBLE(bid, p_time, INTERVAL '10 seconds')
GROUP BY bidder, window_start, window_end
