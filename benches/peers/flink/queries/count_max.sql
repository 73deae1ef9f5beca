SELECT auction, COUNT(*) AS bids, MAX(price) AS highest FROM bid GROUP BY auction
