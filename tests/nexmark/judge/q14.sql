WITH converted AS (SELECT *, CAST(price AS DECIMAL(18, 0)) * 0.908 AS euros, date_part('hour', date_time) AS hour FROM bid)
SELECT auction, bidder, euros,
       CASE WHEN hour IN (7, 19) THEN 'otherTime' WHEN hour > 7 AND hour < 19 THEN 'dayTime' ELSE 'nightTime' END,
       date_time, extra, len(list_filter(string_split(extra, ''), lambda letter: letter = 'c'))
FROM converted WHERE euros > 1_000_000 AND euros < 50_000_000
