-- Logs: error rates by service, alerts when they rise, and which deployment was to blame.
--
--   tidemill serve --in-memory
--   psql "postgresql://127.0.0.1:7654/tidemill?user=tidemill" -f sql/examples/logs.sql
--   psql "postgresql://127.0.0.1:7654/tidemill?user=tidemill" -c "SELECT * FROM incident ORDER BY minute DESC LIMIT 10"
--
--   request ─┬─ traffic     every minute as it grows: what a dashboard shows
--            ├─ health      every minute when it is over ── incident ── suspect
--            ├─ slow        the five slowest requests of each minute
--            └─ burning     error rates over the last five minutes, every minute
--
-- The generator makes ten requests for each second of event time, and a hundred such seconds in one of yours. The services' names and what
-- they answer are made of random numbers here; of a real log they are columns.

CREATE SOURCE line (
    id BIGINT, which INT, luck INT, ms INT, at TIMESTAMP, WATERMARK FOR at AS at - INTERVAL '10 seconds'
) WITH (
    connector = 'datagen', datagen.rows.per.second = '1000', fields.id.kind = 'sequence', fields.which.min = '1', fields.which.max = '4',
    fields.luck.min = '1', fields.luck.max = '1000', fields.ms.min = '1', fields.ms.max = '900', fields.at.step = '100 milliseconds'
);

-- A plain view keeps nothing: its query becomes part of those that read it, and the watermark passes through. The fourth service has bad
-- minutes.
CREATE VIEW request AS
SELECT id, (ARRAY['cart', 'login', 'search', 'payment'])[which] AS service, ms, at,
       CASE WHEN luck <= 10 THEN 503 WHEN which = 4 AND luck <= 120 AND extract(minute FROM at)::int % 5 = 3 THEN 500 WHEN luck <= 200 THEN 404 ELSE 200 END AS status
FROM line;

-- Each minute as it grows. A request that comes late, but within an hour, still counts: these rows may change for so long.
CREATE MATERIALIZED VIEW traffic WITH (allowed_lateness = '1 hour') AS
SELECT service, window_start AS minute, count(*) AS requests, count(*) FILTER (WHERE status >= 500) AS errors, max(ms) AS slowest_ms
FROM TUMBLE(request, at, INTERVAL '1 minute')
GROUP BY service, window_start;

-- Each minute when it is over, once.
CREATE MATERIALIZED VIEW health AS
SELECT service, window_start AS minute, count(*) AS requests,
       round(100.0 * count(*) FILTER (WHERE status >= 500) / count(*), 1) AS error_percent,
       percentile_disc(0.95) WITHIN GROUP (ORDER BY ms) AS p95_ms
FROM TUMBLE(request, at, INTERVAL '1 minute')
GROUP BY service, window_start
EMIT ON WINDOW CLOSE;

-- An incident begins with a minute of more than five percent errors (of twenty requests or more, so that one of two does not wake anybody)
-- after one that was not so: the pager rings once for each, not every minute.
CREATE MATERIALIZED VIEW incident AS
SELECT service, minute, error_percent, p95_ms FROM (
    SELECT service, minute, error_percent, p95_ms, bad, lag(bad, 1, false) OVER (PARTITION BY service ORDER BY minute) AS was_bad
    FROM (SELECT service, minute, error_percent, p95_ms, error_percent > 5 AND requests >= 20 AS bad FROM health) AS judged
) AS compared
WHERE bad AND NOT was_bad;

-- What was deployed last before it: of versions with their times the one that was valid then. Another row in this table, also one that was
-- forgotten, corrects the suspects.
CREATE TABLE deployment (service TEXT, version TEXT, at TIMESTAMP, PRIMARY KEY (service, at));
INSERT INTO deployment VALUES
    ('payment', '1.4.0', '2023-12-31 12:00:00'), ('payment', '1.5.0', '2024-01-01 00:02:10'), ('search', '7.1', '2023-11-11 11:11:11');

CREATE MATERIALIZED VIEW suspect AS
SELECT i.service, i.minute, i.error_percent, d.version, i.minute - d.at AS deployed_before
FROM incident i ASOF LEFT JOIN deployment d ON i.service = d.service AND i.minute >= d.at;

-- The five slowest requests of each minute, to look into.
CREATE MATERIALIZED VIEW slow AS
SELECT minute, place, id, service, ms FROM (
    SELECT window_start AS minute, id, service, ms, row_number() OVER (PARTITION BY window_start ORDER BY ms DESC, id) AS place
    FROM TUMBLE(request, at, INTERVAL '1 minute')
) AS placed
WHERE place <= 5
EMIT ON WINDOW CLOSE;

-- Five minutes, every minute: a sliding window smooths what a single minute exaggerates. Each row updates one slice of a minute; windows put
-- slices together.
CREATE MATERIALIZED VIEW burning AS
SELECT service, window_end AS until, count(*) AS requests, round(100.0 * count(*) FILTER (WHERE status >= 500) / count(*), 1) AS error_percent
FROM HOP(request, at, INTERVAL '1 minute', INTERVAL '5 minutes')
GROUP BY service, window_end
HAVING count(*) FILTER (WHERE status >= 500) * 100 > count(*) * 2
EMIT ON WINDOW CLOSE;
