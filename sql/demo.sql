-- What `tidemill demo` runs: an auction site made by the built-in generator, and views on views over it.

-- The outside world: 10,000 events per second; of 50 events one is a person, three are auctions, 46 are bids.
CREATE SOURCE person  WITH (connector = 'nexmark', nexmark.table.type = 'person',  nexmark.events.per.second = '10000');
CREATE SOURCE auction WITH (connector = 'nexmark', nexmark.table.type = 'auction', nexmark.events.per.second = '10000');
CREATE SOURCE bid     WITH (connector = 'nexmark', nexmark.table.type = 'bid',     nexmark.events.per.second = '10000');

-- Your own data beside it: an UPDATE here changes the views below at once.
CREATE TABLE category (id BIGINT PRIMARY KEY, name TEXT NOT NULL);
INSERT INTO category VALUES (10, 'books'), (11, 'clocks'), (12, 'lamps'), (13, 'maps'), (14, 'radios');

-- Windows of ten seconds: how many bids from how many people.
CREATE MATERIALIZED VIEW bids_per_window AS
SELECT window_start, window_end, count(*) AS bids, count(DISTINCT bidder) AS bidders, max(price) AS highest
FROM TUMBLE(bid, date_time, INTERVAL '10 seconds')
GROUP BY window_start, window_end;

-- How each auction stands.
CREATE MATERIALIZED VIEW auction_bids AS
SELECT auction, count(*) AS bids, max(price) AS highest
FROM bid
GROUP BY auction;

-- A view on a view: the same with the auction's own columns and its seller's name.
CREATE MATERIALIZED VIEW standing AS
SELECT b.auction, a.item_name, a.category, p.name AS seller, b.bids, b.highest
FROM auction_bids b
JOIN auction a ON a.id = b.auction
JOIN person p ON p.id = a.seller;

-- And one on that, joined with the table.
CREATE MATERIALIZED VIEW category_sales AS
SELECT c.name, count(*) AS auctions, sum(s.bids) AS bids, max(s.highest) AS highest, avg(s.highest) AS average
FROM standing s
JOIN category c ON c.id = s.category
GROUP BY c.name;
