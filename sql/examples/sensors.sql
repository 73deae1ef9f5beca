-- Sensors: what they measure, how long they were on, and which of them have fallen silent.
--
--   tidemill serve --in-memory
--   psql "postgresql://127.0.0.1:7654/tidemill?user=tidemill" -f sql/examples/sensors.sql
--   psql "postgresql://127.0.0.1:7654/tidemill?user=tidemill" -c "SELECT * FROM silent ORDER BY last_seen DESC LIMIT 10"
--
--   reading ─┬─ latest        one row for each sensor, always the newest
--            ├─ active        sessions: from the first reading after a silence to the last before the next
--            ├─ silent        missing heartbeats: a reading that none has followed for ten minutes ── silent_in_room
--            ├─ per_minute    the mean of each minute, once it is over ── too_hot
--            └─ room_now      the means of rooms, live
--
-- The generator makes a reading of one of a hundred sensors for each second of event time, and a thousand such seconds in one of yours. A
-- sensor that is not drawn for a while counts as one that has failed.

-- Radio takes its time: a reading may be half a minute behind. If the whole field is silent for 20 seconds of the clock, event time goes on
-- with it, so that the last windows close, too.
CREATE SOURCE reading (
    sensor INT, celsius DOUBLE PRECISION, at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '30 seconds'
) WITH (
    connector = 'datagen', datagen.rows.per.second = '1000', watermark_idle_timeout = '20 seconds',
    fields.sensor.min = '1', fields.sensor.max = '100', fields.celsius.min = '15', fields.celsius.max = '90', fields.at.step = '1 second'
);

-- What is known about them: yours to change.
CREATE TABLE sensor (id INT PRIMARY KEY, room TEXT NOT NULL, celsius_max DOUBLE PRECISION NOT NULL);
INSERT INTO sensor SELECT n, (ARRAY['boiler', 'hall', 'roof', 'store'])[n % 4 + 1], CASE WHEN n % 4 = 0 THEN 85 ELSE 70 END
FROM generate_series(1, 100) AS s(n);

-- The newest reading of each: what a display shows. Kept in any order of arrival: a late reading does not push out a newer one.
CREATE MATERIALIZED VIEW latest AS
SELECT DISTINCT ON (sensor) sensor, celsius, at FROM reading ORDER BY sensor, at DESC;

-- A sensor was on as long as there were never five minutes between two readings. Each such time comes out once, when it is over.
CREATE MATERIALIZED VIEW active AS
SELECT sensor, window_start AS first_seen, window_end - INTERVAL '5 minutes' AS last_seen, count(*) AS readings,
       min(celsius) AS coldest, max(celsius) AS hottest
FROM SESSION(reading PARTITION BY sensor, at, INTERVAL '5 minutes')
GROUP BY sensor, window_start, window_end
EMIT ON WINDOW CLOSE;

-- Missing heartbeats: a reading that no other of its sensor follows within ten minutes. That nothing has come can be known only when event
-- time has passed the ten minutes; then the row comes out, once.
CREATE MATERIALIZED VIEW silent AS
SELECT r.sensor, r.at AS last_seen, r.celsius AS last_celsius
FROM reading r
WHERE NOT EXISTS (SELECT 1 FROM reading n WHERE n.sensor = r.sensor AND n.at > r.at AND n.at <= r.at + INTERVAL '10 minutes')
EMIT ON WINDOW CLOSE;

-- How often, by room. A room that is renamed in the table is renamed here.
CREATE MATERIALIZED VIEW silent_in_room AS
SELECT s.room, count(*) AS failures, max(f.last_seen) AS last_failure
FROM silent f JOIN sensor s ON s.id = f.sensor
GROUP BY s.room;

-- The mean of each minute, once no reading can change it any more.
CREATE MATERIALIZED VIEW per_minute AS
SELECT sensor, window_start AS minute, count(*) AS readings, avg(celsius) AS celsius
FROM TUMBLE(reading, at, INTERVAL '1 minute')
GROUP BY sensor, window_start
EMIT ON WINDOW CLOSE;

-- Minutes in which a sensor was too hot, by the limit that holds now.
CREATE MATERIALIZED VIEW too_hot AS
SELECT m.sensor, s.room, m.minute, round(m.celsius::numeric, 1) AS celsius, s.celsius_max
FROM per_minute m JOIN sensor s ON s.id = m.sensor
WHERE m.celsius > s.celsius_max;

-- Rooms as they are: a view on a view and a table.
CREATE MATERIALIZED VIEW room_now AS
SELECT s.room, count(*) AS sensors, round(avg(l.celsius)::numeric, 1) AS celsius, max(l.at) AS newest
FROM latest l JOIN sensor s ON s.id = l.sensor
GROUP BY s.room;
