SELECT auction, bidder, price, channel, url, date_time, extra
FROM bid SEMI JOIN (SELECT auction, bidder, max(date_time) AS date_time FROM bid GROUP BY ALL) AS last USING (auction, bidder, date_time)
