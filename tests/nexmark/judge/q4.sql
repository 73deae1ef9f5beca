-- Each auction looks for its own highest bid.
WITH sold AS (
    SELECT category, (SELECT max(price) FROM bid WHERE auction = a.id AND date_time >= a.date_time AND date_time <= a.expires) AS price
    FROM auction AS a
)
SELECT category, sum(price) / count(price) FROM sold WHERE price IS NOT NULL GROUP BY category
