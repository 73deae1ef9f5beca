-- When bids arrive nobody knows; the windows of each bidder hold all of them together.
SELECT bidder, count(*) FROM bid GROUP BY bidder
