SELECT auction, bidder, CAST(price AS DECIMAL(18, 0)) * 908 / 1000, date_time, extra FROM bid
