WITH found AS (SELECT *, list_position(['apple', 'google', 'facebook', 'baidu'], lower(channel)) - 1 AS known, regexp_extract(url, '(&|^)channel_id=([^&]*)', 2) AS given FROM bid)
SELECT auction, bidder, price, channel, CASE WHEN known IS NULL THEN given ELSE CAST(known AS VARCHAR) END
FROM found WHERE known IS NOT NULL OR given <> ''
