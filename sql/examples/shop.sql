-- A shop: what somebody may want to buy next, and whether it is still there.
--
--   tidemill serve --in-memory
--   psql "postgresql://127.0.0.1:7654/tidemill?user=tidemill" -f sql/examples/shop.sql
--   psql "postgresql://127.0.0.1:7654/tidemill?user=tidemill" -c "SELECT * FROM suggestion WHERE visitor = 7 ORDER BY place"
--
--   look ─────────── recently    the last five products of each visitor ────────────────────────┬─ suggestion
--   sale ─────────── together    how often two products were bought by one visitor ── often_with ─┘
--   delivery, sale ─ stock       what came in less what went out, at every moment ── reorder
--   look ─────────── trend       the three most looked at of every ten minutes, final
--   look ─────────── interest    looked at more than once in one visit ── reminder: and not bought, one letter each
--
-- Sales are a table, which the generator fills and you may change as well: a sale that is cancelled (DELETE FROM sale WHERE id = 3) comes
-- back into the stock, and out of what was bought together, at once.

-- Half an hour of event time happens in three seconds of yours.
CREATE SOURCE look (
    visitor INT, product INT, at TIMESTAMP, WATERMARK FOR at AS at - INTERVAL '10 seconds'
) WITH (
    connector = 'datagen', datagen.rows.per.second = '600', fields.visitor.min = '1', fields.visitor.max = '200', fields.visitor.seed = '1',
    fields.product.min = '1', fields.product.max = '40', fields.product.seed = '1', fields.at.step = '1 second'
);

CREATE TABLE sale (
    id BIGINT PRIMARY KEY, visitor INT, product INT, pieces INT, at TIMESTAMP, WATERMARK FOR at AS at - INTERVAL '10 seconds'
) WITH (
    connector = 'datagen', datagen.rows.per.second = '60', fields.id.kind = 'sequence', fields.visitor.min = '1', fields.visitor.max = '200',
    fields.visitor.seed = '2', fields.product.min = '1', fields.product.max = '40', fields.product.seed = '2',
    fields.pieces.min = '1', fields.pieces.max = '3', fields.at.step = '10 seconds'
);

CREATE TABLE delivery (
    product INT, pieces INT, at TIMESTAMP
) APPEND ONLY WITH (
    connector = 'datagen', datagen.rows.per.second = '12', fields.product.min = '1', fields.product.max = '40', fields.product.seed = '3',
    fields.pieces.min = '5', fields.pieces.max = '20', fields.at.step = '50 seconds'
);

CREATE TABLE product (id INT PRIMARY KEY, name TEXT NOT NULL, pieces_min INT NOT NULL);
INSERT INTO product SELECT n, 'product ' || n, 20 FROM generate_series(1, 40) AS s(n);

-- What there is of each product: one number that goes up and down. A sum over both streams, each row with its sign.
CREATE MATERIALIZED VIEW stock AS
SELECT product, sum(pieces) AS pieces
FROM (SELECT product, pieces FROM delivery UNION ALL SELECT product, -pieces FROM sale) AS moved
GROUP BY product;

CREATE MATERIALIZED VIEW reorder AS
SELECT p.id AS product, p.name, coalesce(s.pieces, 0) AS pieces, p.pieces_min
FROM product p LEFT JOIN stock s ON s.product = p.id
WHERE coalesce(s.pieces, 0) < p.pieces_min;

-- The last five products that a visitor looked at, each once.
CREATE MATERIALIZED VIEW recently AS
SELECT visitor, product, at FROM (
    SELECT visitor, product, at, row_number() OVER (PARTITION BY visitor ORDER BY at DESC, product) AS place
    FROM (SELECT visitor, product, max(at) AS at FROM look GROUP BY visitor, product) AS newest
) AS placed
WHERE place <= 5;

-- How often two products were bought by one visitor. Sales are kept here for ever, so that each can be cancelled at any time. With
-- AND b.at BETWEEN a.at - INTERVAL '7 days' AND a.at + INTERVAL '7 days' they would be forgotten after a week; then it would be too late.
CREATE MATERIALIZED VIEW together AS
SELECT a.product, b.product AS other, count(*) AS times
FROM sale a JOIN sale b ON a.visitor = b.visitor AND a.product <> b.product
GROUP BY a.product, b.product;

-- Of those the three most frequent for each product.
CREATE MATERIALIZED VIEW often_with AS
SELECT product, other, times FROM (
    SELECT product, other, times, row_number() OVER (PARTITION BY product ORDER BY times DESC, other) AS place FROM together
) AS placed
WHERE place <= 3;

-- The suggestions of a visitor: what is often bought with what they looked at, is in stock, and what they have not bought already.
CREATE MATERIALIZED VIEW suggestion AS
SELECT visitor, product, name, times, place FROM (
    SELECT r.visitor, o.other AS product, p.name, sum(o.times) AS times,
           row_number() OVER (PARTITION BY r.visitor ORDER BY sum(o.times) DESC, o.other) AS place
    FROM recently r
    JOIN often_with o ON o.product = r.product
    JOIN product p ON p.id = o.other
    JOIN stock s ON s.product = o.other
    WHERE s.pieces > 0 AND NOT EXISTS (SELECT 1 FROM sale b WHERE b.visitor = r.visitor AND b.product = o.other)
    GROUP BY r.visitor, o.other, p.name
) AS placed
WHERE place <= 3;

-- The three most looked at products of every ten minutes, when they are over.
CREATE MATERIALIZED VIEW trend AS
SELECT window_start, place, product, looks FROM (
    SELECT window_start, product, count(*) AS looks, row_number() OVER (PARTITION BY window_start ORDER BY count(*) DESC, product) AS place
    FROM TUMBLE(look, at, INTERVAL '10 minutes') GROUP BY window_start, product
) AS placed
WHERE place <= 3
EMIT ON WINDOW CLOSE;

-- Who looked at a product twice or more in one visit, and bought it neither then nor half an hour later, gets one letter. A visit ends
-- when nothing has happened for ten minutes.
CREATE MATERIALIZED VIEW interest AS
SELECT visitor, product, window_end AS visit_end, count(*) AS looks
FROM SESSION(look PARTITION BY visitor, product, at, INTERVAL '10 minutes')
GROUP BY visitor, product, window_start, window_end
HAVING count(*) >= 2
EMIT ON WINDOW CLOSE;

CREATE MATERIALIZED VIEW reminder AS
SELECT i.visitor, i.product, i.visit_end, i.looks
FROM interest i
WHERE NOT EXISTS (
    SELECT 1 FROM sale s
    WHERE s.visitor = i.visitor AND s.product = i.product AND s.at BETWEEN i.visit_end - INTERVAL '1 hour' AND i.visit_end + INTERVAL '30 minutes'
)
EMIT ON WINDOW CLOSE;
