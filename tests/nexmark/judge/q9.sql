WITH inside AS (
    SELECT a.id, b.* FROM auction AS a JOIN bid AS b ON b.auction = a.id WHERE b.date_time >= a.date_time AND b.date_time <= a.expires
), most AS (SELECT id, max(price) AS price FROM inside GROUP BY id
), first AS (SELECT id, price, min(date_time) AS date_time FROM inside JOIN most USING (id, price) GROUP BY ALL)
SELECT a.id, a.item_name, a.description, a.initial_bid, a.reserve, a.date_time, a.expires, a.seller, a.category, a.extra,
       i.auction, i.bidder, i.price, i.date_time, i.extra
FROM first AS f JOIN inside AS i USING (id, price, date_time) JOIN auction AS a ON a.id = f.id
