-- Not of the suite: how many bids each auction has, and the highest. What groups alone cost.
SELECT auction, count(*) AS bids, max(price) AS highest FROM bid GROUP BY auction
