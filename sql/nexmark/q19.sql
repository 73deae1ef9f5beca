-- Top ten: the highest bids of each auction.
SELECT *
FROM (
    SELECT *, ROW_NUMBER() OVER (PARTITION BY auction ORDER BY price DESC) AS place
    FROM bid
) AS placed
WHERE place <= 10
