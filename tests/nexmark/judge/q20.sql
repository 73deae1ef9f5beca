SELECT auction, bidder, price, channel, url, bid.date_time, bid.extra,
       item_name, description, initial_bid, reserve, lots.date_time, expires, seller, category, lots.extra
FROM (FROM auction WHERE category = 10) AS lots, bid WHERE bid.auction = lots.id
