-- Card fraud: alerts that are raised once, while the money can still be stopped.
--
--   tidemill serve --in-memory
--   psql "postgresql://127.0.0.1:7654/tidemill?user=tidemill" -f sql/examples/card_fraud.sql
--   psql "postgresql://127.0.0.1:7654/tidemill?user=tidemill" -c "SELECT * FROM alert ORDER BY at DESC LIMIT 10"
--
--   payment ─┬─ burst        sessions: payments of one card close upon each other      ─┬─ alert
--            ├─ elsewhere    an interval join of the stream with itself ── far_apart   ─┘
--            └─ over_limit   a window that grows, joined with a table that you may change
--
-- The generator makes five payments for each second of event time, and two hundred such seconds in one of yours. In its place could stand
-- WITH (connector = 'kafka', topic = 'payments', properties.bootstrap.server = '…') FORMAT PLAIN ENCODE JSON.

-- A payment may arrive five seconds behind one that was made after it. Not more: what comes later is counted in tidemill.late_rows.
CREATE SOURCE payment (
    id BIGINT, card INT, luck INT, abroad INT, cents INT, at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '5 seconds'
) WITH (
    connector = 'datagen', datagen.rows.per.second = '1000',
    fields.id.kind = 'sequence', fields.card.min = '1', fields.card.max = '5000',
    fields.luck.min = '1', fields.luck.max = '1000', fields.abroad.min = '1', fields.abroad.max = '6',
    fields.cents.min = '100', fields.cents.max = '20000', fields.at.step = '200 milliseconds'
);

-- Where a payment was made: in the card's own city, but for five in a thousand.
CREATE VIEW swipe AS
SELECT id, card, CASE WHEN luck <= 5 THEN abroad ELSE card % 6 + 1 END AS city, cents, at FROM payment;

CREATE TABLE city (id INT PRIMARY KEY, name TEXT NOT NULL, latitude DOUBLE PRECISION NOT NULL, longitude DOUBLE PRECISION NOT NULL);
INSERT INTO city VALUES
    (1, 'Lisbon', 38.72, -9.14), (2, 'Berlin', 52.52, 13.40), (3, 'Athens', 37.98, 23.73),
    (4, 'Oslo', 59.91, 10.75), (5, 'Toronto', 43.65, -79.38), (6, 'Sydney', -33.87, 151.21);

-- Three payments or more with less than thirty seconds from one to the next. A burst comes out once, when thirty seconds have passed without
-- another payment of the card; then its rows leave the state.
CREATE MATERIALIZED VIEW burst AS
SELECT card, window_start AS first_at, window_end - INTERVAL '30 seconds' AS last_at, count(*) AS payments, sum(cents) AS cents
FROM SESSION(swipe PARTITION BY card, at, INTERVAL '30 seconds')
GROUP BY card, window_start, window_end
HAVING count(*) >= 3
EMIT ON WINDOW CLOSE;

-- A card in two cities within twenty minutes, each pair once. The join keeps the last twenty minutes, not all that ever was.
CREATE MATERIALIZED VIEW elsewhere AS
SELECT a.card, a.city AS first_city, a.at AS first_at, b.city AS second_city, b.at AS second_at
FROM swipe a JOIN swipe b
ON a.card = b.card AND a.city <> b.city AND b.at BETWEEN a.at AND a.at + INTERVAL '20 minutes'
EMIT ON WINDOW CLOSE;

-- The great circle between two places in kilometres (the haversine formula).
CREATE FUNCTION km(lat1 DOUBLE PRECISION, lon1 DOUBLE PRECISION, lat2 DOUBLE PRECISION, lon2 DOUBLE PRECISION)
RETURNS DOUBLE PRECISION LANGUAGE SQL AS $$
    SELECT 12742 * asin(sqrt(power(sin(radians(lat2 - lat1) / 2), 2)
        + cos(radians(lat1)) * cos(radians(lat2)) * power(sin(radians(lon2 - lon1) / 2), 2)))
$$;

-- Of those the ones for which no plane is fast enough (900 km/h). Cities are looked up behind the interval join: a city may be corrected,
-- so that times of rows that were joined with it are never complete.
CREATE MATERIALIZED VIEW far_apart AS
SELECT e.card, e.first_at, e.second_at, a.name AS first_city, b.name AS second_city,
       round(km(a.latitude, a.longitude, b.latitude, b.longitude)) AS km
FROM elsewhere e JOIN city a ON a.id = e.first_city JOIN city b ON b.id = e.second_city
WHERE km(a.latitude, a.longitude, b.latitude, b.longitude) > 900 * extract(epoch FROM e.second_at - e.first_at) / 3600;

-- What cards have spent in an hour, where that is more than they may. These rows are not final: they show the hour as it grows, and
-- UPDATE card_limit changes them at once.
CREATE TABLE card_limit (card INT PRIMARY KEY, cents_per_hour BIGINT NOT NULL);
INSERT INTO card_limit SELECT n, 90000 FROM generate_series(1, 5000) AS s(n);

CREATE MATERIALIZED VIEW over_limit AS
SELECT s.card, s.hour, s.cents, l.cents_per_hour
FROM (SELECT card, window_start AS hour, sum(cents) AS cents FROM TUMBLE(swipe, at, INTERVAL '1 hour') GROUP BY card, window_start) s
JOIN card_limit l ON l.card = s.card
WHERE s.cents > l.cents_per_hour;

-- What somebody should look at.
CREATE MATERIALIZED VIEW alert AS
SELECT 'burst' AS kind, card, last_at AS at, payments || ' payments, ' || cents || ' cents' AS what FROM burst
UNION ALL
SELECT 'far apart', card, second_at, first_city || ', then ' || second_city || ', ' || km || ' km away' FROM far_apart;
