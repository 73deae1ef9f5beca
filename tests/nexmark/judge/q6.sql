-- Each winning bid is numbered within its seller, and meets those up to ten numbers before it.
WITH candidate AS (
    SELECT a.id, a.seller, b.price, b.date_time FROM auction AS a, bid AS b
    WHERE b.auction = a.id AND b.date_time >= a.date_time AND b.date_time <= a.expires
), winner AS (
    SELECT seller, arg_min({'price': price, 'moment': date_time}, {'cheap': -price, 'moment': date_time}) AS bid FROM candidate GROUP BY id, seller
), numbered AS (
    SELECT seller, bid.price AS price, row_number() OVER (PARTITION BY seller ORDER BY bid.moment) AS n FROM winner
)
SELECT seller, sum(other.price) / count(*)
FROM numbered JOIN numbered AS other USING (seller)
WHERE other.n >= numbered.n - 10 AND other.n <= numbered.n
GROUP BY seller, numbered.n
