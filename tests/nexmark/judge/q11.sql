-- A bid begins a session if the bidder's bid before it is ten seconds away or more; sessions are numbered by counting those.
WITH timed AS (
    SELECT bidder, epoch_us(date_time) AS micros FROM bid
), marked AS (
    SELECT bidder, micros, coalesce(micros - lag(micros) OVER (PARTITION BY bidder ORDER BY micros) >= 10_000_000, true) AS begins FROM timed
), numbered AS (
    SELECT bidder, micros, sum(CAST(begins AS INT)) OVER (PARTITION BY bidder ORDER BY micros ROWS UNBOUNDED PRECEDING) AS session FROM marked
)
SELECT bidder, make_timestamp(min(micros)), make_timestamp(max(micros) + 10_000_000), count(*) FROM numbered GROUP BY bidder, session
