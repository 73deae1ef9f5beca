SELECT auction, count(*), max(price) FROM bid GROUP BY auction
