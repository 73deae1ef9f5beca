SELECT auction, bidder, price, date_time, CAST(auction - auction // 10000 * 10000 AS VARCHAR) FROM bid
