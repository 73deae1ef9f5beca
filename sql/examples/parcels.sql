-- Parcels: where they are, which are overdue, and how punctual each depot is.
--
--   tidemill serve --in-memory
--   psql "postgresql://127.0.0.1:7654/tidemill?user=tidemill" -f sql/examples/parcels.sql
--   psql "postgresql://127.0.0.1:7654/tidemill?user=tidemill" -c "SELECT * FROM overdue ORDER BY due DESC LIMIT 10"
--
--   shipped ───┬─ delivery    every parcel, with its arrival as soon as it is known ── punctuality by depot
--   delivered ─┴─ overdue     not there after an hour: one row each, when that is certain
--   delivered ─┬─ proof       where the van was at the time (an ASOF join)
--   ping ──────┴─ van         the newest position of each
--   delivered ─── progress    deliveries of the hour so far, every ten minutes
--
-- In the generator a parcel leaves every five seconds of event time, of which a thousand pass in one of yours. It arrives after up to an
-- hour and a half; one in forty never does.

CREATE SOURCE shipped (
    parcel BIGINT, depot INT, at TIMESTAMP, WATERMARK FOR at AS at - INTERVAL '1 minute'
) WITH (
    connector = 'datagen', datagen.rows.per.second = '200', fields.parcel.kind = 'sequence', fields.parcel.start = '1',
    fields.depot.min = '1', fields.depot.max = '4', fields.at.step = '5 seconds'
);

-- Drivers' telephones tell of deliveries when they find a network, so the order is lost: a watermark says by how much. The generator's
-- sequences know no disorder; here the time of arrival is one of them and something random.
CREATE SOURCE delivered (
    parcel BIGINT, van INT, minutes INT, shipped_at TIMESTAMP,
    at TIMESTAMP GENERATED ALWAYS AS (shipped_at + minutes * INTERVAL '1 minute') STORED,
    WATERMARK FOR at AS at - INTERVAL '90 minutes'
) WITH (
    connector = 'datagen', datagen.rows.per.second = '200', fields.parcel.kind = 'sequence', fields.parcel.start = '1',
    fields.van.min = '1', fields.van.max = '20', fields.minutes.min = '5', fields.minutes.max = '90', fields.shipped_at.step = '5 seconds'
);

CREATE SOURCE ping (
    van INT, latitude DOUBLE PRECISION, longitude DOUBLE PRECISION, at TIMESTAMP, WATERMARK FOR at AS at - INTERVAL '1 minute'
) WITH (
    connector = 'datagen', datagen.rows.per.second = '500', fields.van.min = '1', fields.van.max = '20',
    fields.latitude.min = '52.3', fields.latitude.max = '52.7', fields.longitude.min = '13.1', fields.longitude.max = '13.7', fields.at.step = '2 seconds'
);

-- Some are lost.
CREATE VIEW arrival AS SELECT parcel, van, at FROM delivered WHERE parcel % 40 <> 0;

-- Every parcel with its arrival within two hours; those that are on their way have NULLs, until the arrival comes. When event time has passed
-- the two hours a parcel has met all that it ever will, and leaves the state.
CREATE MATERIALIZED VIEW delivery AS
SELECT s.parcel, s.depot, s.at AS shipped_at, d.at AS delivered_at, d.van
FROM shipped s LEFT JOIN arrival d ON d.parcel = s.parcel AND d.at BETWEEN s.at AND s.at + INTERVAL '2 hours';

-- The same by depot: what is on its way counts as neither. Changes as arrivals come.
CREATE MATERIALIZED VIEW punctuality AS
SELECT depot, count(*) AS parcels, count(delivered_at) AS delivered,
       count(*) FILTER (WHERE delivered_at <= shipped_at + INTERVAL '1 hour') AS within_the_hour,
       max(delivered_at - shipped_at) AS slowest
FROM delivery GROUP BY depot;

-- Promised within an hour, and not there: one row for each, when it is certain that no arrival within the hour can come any more.
CREATE MATERIALIZED VIEW overdue AS
SELECT s.parcel, s.depot, s.at AS shipped_at, s.at + INTERVAL '1 hour' AS due
FROM shipped s
WHERE NOT EXISTS (SELECT 1 FROM arrival d WHERE d.parcel = s.parcel AND d.at BETWEEN s.at AND s.at + INTERVAL '1 hour')
EMIT ON WINDOW CLOSE;

-- Where the vans are.
CREATE MATERIALIZED VIEW van AS
SELECT DISTINCT ON (van) van, latitude, longitude, at FROM ping ORDER BY van, at DESC;

-- Where the van was when the parcel was handed over: its last ping that is not later. With watermarks on both sides the join forgets all
-- pings but the last of each van before the watermark.
CREATE MATERIALIZED VIEW proof AS
SELECT d.parcel, d.van, d.at AS delivered_at, p.at AS seen_at, round(p.latitude::numeric, 4) AS latitude, round(p.longitude::numeric, 4) AS longitude
FROM arrival d ASOF JOIN ping p ON d.van = p.van AND d.at >= p.at
EMIT ON WINDOW CLOSE;

-- Deliveries of each hour so far, every ten minutes: windows with one start and many ends, each final when it is over.
CREATE MATERIALIZED VIEW progress AS
SELECT window_start AS hour, window_end AS until, count(*) AS deliveries, count(DISTINCT van) AS vans
FROM CUMULATE(arrival, at, INTERVAL '10 minutes', INTERVAL '1 hour')
GROUP BY window_start, window_end
EMIT ON WINDOW CLOSE;
