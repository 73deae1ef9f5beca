//! Queries that a view can maintain: one template for each shape, filled with random tables, columns and constants.

use rand::RngExt;
use rand::rngs::StdRng;

use super::choose;
use super::collections;
use super::data::Table;

/// A query of a random shape.
pub(super) fn random(rng: &mut StdRng, tables: &[Table]) -> String {
    let (a, b) = (choose(rng, tables).name.clone(), choose(rng, tables).name.clone());
    let filter = predicate(rng, "");
    match rng.random_range(0..76) {
        0 => format!("SELECT id, k + n AS x, upper(s) AS u, d * 2 AS d2, f FROM {a} WHERE {filter}"),
        1 => format!("SELECT CASE WHEN n > 2 THEN 'big' WHEN n IS NULL THEN s ELSE 'small' END AS size, coalesce(d, 0) AS d, b FROM {a}"),
        2 => format!("SELECT * FROM {a} WHERE {filter} AND {}", predicate(rng, "")),
        3 => group(rng, &a, &filter),
        4 => format!(
            "SELECT s, b, count(*) AS c, sum(d) AS total, avg(d) AS mean, min(s) AS least, max(ts) AS latest FROM {a} GROUP BY s, b"
        ),
        5 => format!("SELECT n, sum(f) AS total, avg(f) AS mean, min(f) AS least, max(f) AS most FROM {a} GROUP BY n"),
        6 => format!("SELECT k, bool_and(b) AS all_true, bool_or(b) AS any_true, count(b) AS c FROM {a} WHERE {filter} GROUP BY k"),
        7 => format!("SELECT DISTINCT k, s FROM {a}"),
        8 => format!("SELECT DISTINCT b, n % 3 AS third FROM {a} WHERE {filter}"),
        9 => format!(
            "SELECT s, count(DISTINCT n) AS ns, sum(DISTINCT n) AS total, count(DISTINCT k) AS ks, count(*) AS c FROM {a} GROUP BY s"
        ),
        10 => {
            format!(
                "SELECT k, count(*) FILTER (WHERE n > 0) AS positive, sum(d) FILTER (WHERE b) AS of_b, max(n) FILTER (WHERE {filter}) AS m FROM {a} GROUP BY k"
            )
        }
        11 => format!("SELECT k, count(*) AS c, min(d) AS least FROM {a} GROUP BY k HAVING count(*) > {}", rng.random_range(1..4)),
        12 => format!("SELECT s, sum(n) AS total FROM {a} GROUP BY s HAVING sum(n) IS NOT NULL AND max(n) > min(n)"),
        13 => format!("SELECT count(*) AS c, count(s) AS named, sum(n) AS total, min(d) AS least, max(s) AS last, avg(f) AS mean FROM {a}"),
        14 => format!("SELECT sum(d) AS total, bool_or(b) AS any_true FROM {a} WHERE {filter}"),
        15 => format!("SELECT x.id AS l, y.id AS r, x.s, y.d FROM {a} x JOIN {b} y ON x.k = y.k"),
        16 => format!(
            "SELECT x.id AS l, y.id AS r, x.n - y.n AS gap FROM {a} x JOIN {b} y ON x.k = y.k AND x.n < y.n WHERE {}",
            predicate(rng, "y.")
        ),
        17 => format!(
            "SELECT x.s, count(*) AS c, sum(y.d) AS total, max(x.ts) AS latest FROM {a} x JOIN {b} y ON x.k = y.k AND x.s = y.s GROUP BY x.s"
        ),
        18 => {
            let c = choose(rng, tables).name.clone();
            format!(
                "SELECT x.id AS i, y.id AS j, z.id AS l FROM {a} x JOIN {b} y ON x.id = y.id JOIN {c} z ON y.k = z.k AND z.n > 4 WHERE {}",
                predicate(rng, "x.")
            )
        }
        19 => format!("SELECT k, s, n FROM {a} UNION ALL SELECT k, s, n FROM {b} WHERE {filter}"),
        20 => format!("SELECT k, s FROM {a} UNION SELECT k, s FROM {b}"),
        21 => windows_of_time(rng, &a, &filter),
        22 => format!(
            "SELECT window_start, window_end, k, count(*) AS c, max(d) AS most FROM HOP({a}, ts, INTERVAL '10 seconds', INTERVAL '{} seconds') GROUP BY window_start, window_end, k",
            choose(rng, &[10, 15, 20, 25, 60])
        ),
        23 => format!(
            "SELECT size, count(*) AS groups, sum(total) AS total FROM (SELECT k, count(*) AS size, sum(n) AS total FROM {a} GROUP BY k) g GROUP BY size"
        ),
        24 => format!(
            "SELECT length(s) AS length, date_trunc('minute', ts) AS minute, count(*) AS c, sum(n) AS total FROM {a} GROUP BY length(s), date_trunc('minute', ts)"
        ),
        25 => format!(
            "WITH g AS (SELECT k, sum(d) AS total FROM {a} GROUP BY k) SELECT y.id, y.s, g.total FROM {b} y JOIN g ON y.k = g.k WHERE g.total > {}",
            rng.random_range(-50..150)
        ),
        26..=30 => first_rows(rng, &a, &filter),
        31..=36 => windows(rng, &a, &filter),
        37..48 => join(rng, &a, &b),
        48..51 => correlated(rng, &a, &b),
        51..61 => aggregates(rng, &a, &filter),
        61..66 => recursion(rng, &a, &b),
        _ => collections::random(rng, &a, &b, &filter),
    }
}

/// Subqueries that read columns from outside in ways that take more than a join on them.
fn correlated(rng: &mut StdRng, a: &str, b: &str) -> String {
    let (x, y) = (predicate(rng, "x."), predicate(rng, "y."));
    let not = *choose(rng, &["", "NOT "]);
    let (kind, on) = *choose(rng, &[("CROSS", ""), ("LEFT", "ON true"), ("LEFT", "ON x.id > l.id")]);
    match rng.random_range(0..7) {
        0 => format!(
            "SELECT x.id AS i, l.id AS j, l.n FROM {a} x {kind} JOIN LATERAL (SELECT id, n FROM {b} y WHERE y.k = x.k AND {y} ORDER BY n DESC, id LIMIT 2) l {on}"
        ),
        1 => format!(
            "SELECT x.id AS i, l.id AS j FROM {a} x {kind} JOIN LATERAL (SELECT id FROM {b} y WHERE y.n > x.n ORDER BY n, id LIMIT 1 OFFSET 1) l {on}"
        ),
        2 => format!(
            "SELECT id, (SELECT count(*) FROM {b} y WHERE y.n > x.n) AS c, (SELECT y.s FROM {b} y WHERE y.k = x.k ORDER BY y.n, y.id LIMIT 1) AS s FROM {a} x WHERE {x}"
        ),
        3 => format!(
            "SELECT id FROM {a} x WHERE EXISTS (SELECT 1 FROM {b} y WHERE y.k = x.k AND {not}EXISTS (SELECT 1 FROM {a} z WHERE z.n = y.n AND z.k = x.k AND z.id <> x.id))"
        ),
        4 => format!("SELECT id, n {not}IN (SELECT y.n FROM {b} y WHERE y.k = x.k ORDER BY y.n LIMIT 3) AS listed FROM {a} x"),
        5 => format!(
            "SELECT x.id AS i, w.n, w.c FROM {a} x, LATERAL (SELECT n, count(*) OVER (PARTITION BY n) AS c FROM {b} y WHERE y.k = x.k) w WHERE {x}"
        ),
        _ => format!(
            "SELECT x.id AS i, c.c, c.total FROM {a} x LEFT JOIN LATERAL (SELECT count(*) AS c, sum(y.n) + x.n AS total FROM {b} y WHERE y.d < x.d) c ON c.c > 1"
        ),
    }
}

/// Recursions over a graph whose edges are `k → n`, cycles included: UNION ends by itself, UNION ALL by its depth.
fn recursion(rng: &mut StdRng, a: &str, b: &str) -> String {
    let (x, y) = (predicate(rng, ""), predicate(rng, "y."));
    let not = *choose(rng, &["", "NOT "]);
    let walk = "r JOIN";
    match rng.random_range(0..10) {
        0 | 1 => format!(
            "WITH RECURSIVE r(node) AS (SELECT k::bigint FROM {a} WHERE {x} UNION SELECT y.n::bigint FROM {walk} {b} y ON y.k = r.node AND {y}) SELECT node FROM r"
        ),
        2 | 3 => format!(
            "WITH RECURSIVE r(start, node) AS (SELECT k::bigint, n::bigint FROM {a} UNION SELECT r.start, y.n::bigint FROM {walk} {b} y ON y.k = r.node) SELECT start, count(*) AS c, max(node) AS last FROM r GROUP BY start"
        ),
        4 => format!(
            "WITH RECURSIVE r(node, depth) AS (SELECT k::bigint, 0 FROM {a} WHERE {x} UNION ALL SELECT y.n::bigint, depth + 1 FROM {walk} {b} y ON y.k = r.node WHERE depth < 2) SELECT depth, node, count(*) AS ways FROM r GROUP BY depth, node"
        ),
        5 => format!(
            "WITH RECURSIVE r(node) AS (SELECT k::bigint FROM {a} UNION SELECT y.n::bigint FROM {walk} {b} y ON y.k = r.node WHERE {not}EXISTS (SELECT 1 FROM {a} z WHERE z.k = y.n AND z.b)) SELECT node FROM r"
        ),
        6 => format!(
            "WITH RECURSIVE r(node, s) AS (SELECT k::bigint, s FROM {a} UNION SELECT y.n::bigint, z.s FROM {walk} {b} y ON y.k = r.node LEFT JOIN {a} z ON z.k = y.n AND z.n > 2) SELECT node, count(*) AS c, count(s) AS cs, max(s) AS most FROM r GROUP BY node"
        ),
        7 => format!(
            "WITH RECURSIVE r(node, c, depth) AS (SELECT k::bigint, 1::bigint, 0 FROM {a} WHERE {x} UNION SELECT y.n::bigint, count(*) OVER (PARTITION BY y.n), depth + 1 FROM {walk} {b} y ON y.k = r.node WHERE depth < 3) SELECT node, c, depth FROM r"
        ),
        8 => format!(
            "WITH RECURSIVE r(node, path, depth) AS (SELECT k::bigint, s, 0 FROM {a} WHERE {x} UNION ALL SELECT DISTINCT y.n::bigint, path || '/' || y.s, depth + 1 FROM {walk} {b} y ON y.k = r.node WHERE depth < 3) SELECT node, path, depth, count(*) AS c FROM r GROUP BY node, path, depth"
        ),
        _ => format!(
            "WITH RECURSIVE r(node, high) AS (SELECT n::bigint, n::bigint + 3 FROM {a} WHERE {x} UNION SELECT node + 1, high FROM r WHERE node < high) SELECT x.id, count(r.high) AS c FROM {a} x LEFT JOIN r ON r.node = x.n GROUP BY x.id"
        ),
    }
}

/// Joins of every kind, with and without keys, and the subqueries that become joins.
fn join(rng: &mut StdRng, a: &str, b: &str) -> String {
    let (x, y) = (predicate(rng, "x."), predicate(rng, "y."));
    let kind = *choose(rng, &["LEFT", "RIGHT", "FULL"]);
    let not = *choose(rng, &["", "NOT "]);
    match rng.random_range(0..23) {
        0 => format!("SELECT x.id AS l, y.id AS r, x.s, y.d, x.k AS xk, y.k AS yk FROM {a} x {kind} JOIN {b} y ON x.k = y.k"),
        1 => format!("SELECT x.id AS l, y.id AS r, x.n AS xn, y.n AS yn FROM {a} x {kind} JOIN {b} y ON x.k = y.k AND x.s = y.s"),
        2 => format!("SELECT x.id AS l, y.id AS r FROM {a} x LEFT JOIN {b} y ON x.k = y.k AND x.n < y.n AND {y}"),
        3 => format!("SELECT x.id AS l, y.id AS r FROM {a} x {kind} JOIN {b} y ON x.n IS NOT DISTINCT FROM y.n WHERE x.id IS NULL OR {x}"),
        4 => format!(
            "SELECT y.k, count(*) AS c, count(y.id) AS cy, sum(x.n) AS total FROM {a} x {kind} JOIN {b} y ON x.k = y.k GROUP BY y.k"
        ),
        5 => format!("SELECT x.id AS l, y.id AS r FROM {a} x {kind} JOIN {b} y ON x.f = y.f"),
        6 => format!("SELECT id, s FROM {a} x WHERE {not}EXISTS (SELECT 1 FROM {b} y WHERE x.k = y.k AND {y})"),
        7 => format!("SELECT id, s FROM {a} x WHERE {not}EXISTS (SELECT 1 FROM {b} y WHERE x.k = y.k AND x.n < y.n) AND {x}"),
        8 => format!("SELECT id, n FROM {a} x WHERE n {not}IN (SELECT n FROM {b} y WHERE {y})"),
        9 => format!("SELECT id, n FROM {a} x WHERE {x} OR n {not}IN (SELECT y.k FROM {b} y WHERE {y})"),
        10 => format!("SELECT id, n FROM {a} x WHERE n {not}IN (SELECT y.n FROM {b} y WHERE y.k = x.k)"),
        11 => format!("SELECT k, n FROM {a} {} SELECT k, n FROM {b}", choose(rng, &["INTERSECT", "EXCEPT", "INTERSECT ALL", "EXCEPT ALL"])),
        12 => format!("SELECT x.id AS l, y.id AS r FROM {a} x {kind} JOIN {b} y ON x.n > y.n + 3"),
        13 => format!("SELECT x.id AS l, y.id AS r FROM {a} x CROSS JOIN {b} y WHERE x.d < y.d AND {x}"),
        14 => format!("SELECT id, d FROM {a} x WHERE d > (SELECT avg(d) FROM {b} y WHERE {y})"),
        15 => format!(
            "SELECT id, (SELECT max(y.n) FROM {b} y WHERE y.k = x.k) AS most, (SELECT count(*) FROM {b} y WHERE y.s = x.s) AS c FROM {a} x"
        ),
        16 => format!(
            "SELECT id FROM {a} x WHERE n {} (SELECT y.n FROM {b} y WHERE {y})",
            choose(rng, &["< ANY", ">= ALL", "= ANY", "<> ALL"])
        ),
        17 => format!("SELECT k, count(*) AS c FROM {a} x GROUP BY k HAVING count(*) > (SELECT count(*) / 4 FROM {b} y)"),
        19 => format!(
            "SELECT id, n {not}IN (SELECT y.n FROM {b} y WHERE {y}) AS listed, EXISTS (SELECT 1 FROM {b} y WHERE y.s = x.s) AS found FROM {a} x"
        ),
        20 => format!("SELECT x.id AS l, y.id AS r FROM {a} x JOIN {b} y ON x.k = y.k AND x.n {not}IN (SELECT n FROM {b})"),
        21 => format!(
            "SELECT id, (SELECT y.n FROM {b} y WHERE y.id = x.id AND y.id < 0) AS n FROM {a} x WHERE NOT (n IN (SELECT n FROM {b}) OR x.n > 4)"
        ),
        18 => {
            format!("SELECT x.id AS i, y.id AS j, z.id AS l FROM {a} x LEFT JOIN {b} y ON x.k = y.k LEFT JOIN {a} z ON y.n = z.n WHERE {x}")
        }
        _ => format!(
            "SELECT x.id, y.c FROM {a} x {kind} JOIN (SELECT k, count(*) AS c FROM {b} GROUP BY k) y ON x.k = y.k WHERE y.c IS NULL OR y.c > 1"
        ),
    }
}

fn group(rng: &mut StdRng, table: &str, filter: &str) -> String {
    let key = choose(rng, &["k", "n", "s", "b", "id"]);
    format!(
        "SELECT {key}, count(*) AS c, count(n) AS cn, sum(n) AS total, sum(k) AS ks, avg(n) AS mean, min(n) AS least, max(n) AS most FROM {table} WHERE {filter} GROUP BY {key}"
    )
}

/// All aggregate functions but the plainest. Where a result depends on the order of rows, the call says which.
fn aggregates(rng: &mut StdRng, table: &str, filter: &str) -> String {
    let key = choose(rng, &["k", "s", "b", "n % 3"]);
    let calls = match rng.random_range(0..9) {
        0 => "var_samp(n) AS v, var_pop(f) AS vf, stddev(f) AS dev, stddev_pop(d) AS sd, var_pop(DISTINCT n) AS vd, count(*) AS c",
        1 => {
            "covar_samp(n, id) AS cs, covar_pop(f, n) AS cp, corr(n, id) AS c, regr_slope(n, id) AS sl, regr_intercept(n, id) AS i, regr_r2(n, id) AS r"
        }
        2 => {
            "regr_count(f, n) AS rc, regr_avgx(f, n) AS ax, regr_avgy(f, n) AS ay, regr_sxx(f, n) AS xx, regr_syy(f, n) AS yy, regr_sxy(f, n) AS xy"
        }
        3 => {
            "array_agg(s ORDER BY s DESC NULLS LAST) AS l, array_agg(DISTINCT n ORDER BY n) AS ns, string_agg(s, ',' ORDER BY id, s) AS joined"
        }
        4 => {
            "first_value(s ORDER BY n, s) AS f, last_value(n ORDER BY ts DESC, n) AS l, nth_value(n, 2 ORDER BY n) AS second, arg_min(s, n) AS least, arg_max(n, ts) AS most"
        }
        5 => {
            "median(n) AS m, median(d) AS md, percentile_cont(0.25) WITHIN GROUP (ORDER BY f) AS p, percentile_disc(0.7) WITHIN GROUP (ORDER BY s) AS pd, mode() WITHIN GROUP (ORDER BY n DESC) AS mode"
        }
        6 => "bit_and(n) AS a, bit_or(n) AS o, bit_xor(n) AS x, every(b) AS e, approx_distinct(s) AS d, sum(n) FILTER (WHERE b) AS t",
        7 => {
            "jsonb_agg(n ORDER BY n) AS j, jsonb_object_agg(coalesce(s, '-'), length(s)) AS o, json_agg(DISTINCT s) AS js, count(DISTINCT n) AS c"
        }
        _ => {
            "count(*) AS c, sum(d) AS total, median(n) FILTER (WHERE n > 0) AS m, max(s) AS most, var_pop(n) AS v, first_value(id ORDER BY id) AS i"
        }
    };
    match rng.random_range(0..6) {
        0 => format!("SELECT {calls} FROM {table} WHERE {filter}"),
        1 => format!("SELECT {key} AS key, id % 2 AS odd, grouping({key}) AS g, {calls} FROM {table} GROUP BY ROLLUP ({key}, id % 2)"),
        2 => format!("SELECT k, s, grouping(s, k) AS g, {calls} FROM {table} WHERE {filter} GROUP BY CUBE (k, s)"),
        3 => format!("SELECT k, b, {calls} FROM {table} GROUP BY GROUPING SETS ((k), (), (b, k), ()) HAVING count(*) <> 2"),
        _ => format!("SELECT {key} AS key, {calls} FROM {table} WHERE {filter} GROUP BY {key}"),
    }
}

fn windows_of_time(rng: &mut StdRng, table: &str, filter: &str) -> String {
    let size = choose(rng, &["10 seconds", "1 minute", "90 seconds"]);
    let gap = choose(rng, &["1 second", "5 seconds", "1 minute"]);
    match rng.random_range(0..8) {
        2 => format!(
            "SELECT window_time, k, count(*) AS c, sum(n) AS total, max(f) AS most FROM TUMBLE({table}, ts, INTERVAL '{size}', INTERVAL '-7 seconds') GROUP BY window_time, k"
        ),
        3 => format!(
            "SELECT window_start, window_end, s, count(*) AS c, bool_or(b) AS any_true FROM CUMULATE({table}, ts, INTERVAL '15 seconds', INTERVAL '1 minute') WHERE {filter} GROUP BY window_start, window_end, s"
        ),
        4 => format!(
            "SELECT id, window_start, window_end, window_time FROM TABLE(CUMULATE(TABLE {table}, DESCRIPTOR(ts), INTERVAL '20' SECOND, INTERVAL '1' MINUTE, INTERVAL '5' SECOND))"
        ),
        5 => format!("SELECT id, s, window_start, window_end FROM SESSION({table} PARTITION BY k, ts, INTERVAL '{gap}') WHERE {filter}"),
        6 => format!(
            "SELECT k, window_start, window_end, count(*) AS c, sum(d) AS total, count(DISTINCT s) AS texts, min(n) AS least FROM SESSION({table} PARTITION BY k, ts, INTERVAL '{gap}') GROUP BY k, window_start, window_end HAVING count(*) <> 3"
        ),
        7 => format!(
            "SELECT window_end, b, count(*) AS c FROM SESSION((SELECT * FROM {table} WHERE {filter}), ts, INTERVAL '{gap}') GROUP BY window_start, window_end, b"
        ),
        0 => format!(
            "SELECT window_start, window_end, count(*) AS c, sum(n) AS total FROM TUMBLE({table}, ts, INTERVAL '{size}') WHERE {filter} GROUP BY window_start, window_end"
        ),
        _ => format!(
            "SELECT window_start, s, min(d) AS least, count(DISTINCT k) AS ks FROM TUMBLE({table}, ts, INTERVAL '{size}') GROUP BY window_start, s"
        ),
    }
}

/// The first rows of an order, of all rows or of each group. What comes out is in the order, so that any choice among equals is the same.
fn first_rows(rng: &mut StdRng, table: &str, filter: &str) -> String {
    let (n, skip) = (rng.random_range(1..6), rng.random_range(0..4));
    let direction = choose(rng, &["", " DESC", " NULLS FIRST", " DESC NULLS LAST"]);
    let place = choose(rng, &["row_number", "rank", "dense_rank"]);
    let condition = choose(rng, &["r <= 3", "r < 3", "r = 1", "r = 2", "r BETWEEN 2 AND 4"]);
    match rng.random_range(0..6) {
        0 => format!("SELECT d, id FROM {table} WHERE {filter} ORDER BY d{direction}, id LIMIT {n}"),
        1 => format!("SELECT s, n, id FROM {table} ORDER BY s{direction}, n{direction}, id LIMIT {n} OFFSET {skip}"),
        2 => format!("SELECT n, id FROM {table} ORDER BY n{direction}, id OFFSET {skip}"),
        3 => format!(
            "SELECT k, d, r FROM (SELECT k, d, {place}() OVER (PARTITION BY k ORDER BY d{direction}) AS r FROM {table}) x WHERE {condition}"
        ),
        4 => format!("SELECT DISTINCT ON (s) s, ts, id FROM {table} WHERE {filter} ORDER BY s, ts{direction}, id"),
        _ => format!(
            "SELECT k, count(*) AS c, sum(n) AS total FROM (SELECT k, n FROM {table} ORDER BY k, n{direction} LIMIT {n}) x GROUP BY k"
        ),
    }
}

/// Window functions. The order ends with a unique column, or the function gives equal rows the same.
fn windows(rng: &mut StdRng, table: &str, filter: &str) -> String {
    let direction = choose(rng, &["", " DESC", " NULLS FIRST", " DESC NULLS LAST"]);
    let partition = choose(rng, &["PARTITION BY k ", "PARTITION BY s ", "PARTITION BY b, n % 2 ", ""]);
    let unique = format!("{partition}ORDER BY n{direction}, id, d, ts, f");
    let peers = format!("{partition}ORDER BY n{direction}");
    let frame = choose(
        rng,
        &[
            "ROWS BETWEEN 2 PRECEDING AND CURRENT ROW",
            "ROWS BETWEEN 1 PRECEDING AND 3 FOLLOWING",
            "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW",
            "ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING",
            "ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING",
            "GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING",
        ],
    );
    match rng.random_range(0..8) {
        0 => format!(
            "SELECT id, n, rank() OVER ({peers}) AS r, dense_rank() OVER ({peers}) AS dr, cume_dist() OVER ({peers}) AS c FROM {table}"
        ),
        1 => format!(
            "SELECT id, n, d, lag(d) OVER ({unique}) AS before, lead(d, 2, 0) OVER ({unique}) AS behind FROM {table} WHERE {filter}"
        ),
        2 => format!("SELECT id, sum(d) OVER ({unique} {frame}) AS total, count(*) OVER ({unique} {frame}) AS c FROM {table}"),
        3 => format!(
            "SELECT id, n, sum(n) OVER ({peers}) AS running, max(d) OVER ({peers}) AS most, avg(n) OVER ({peers}) AS mean FROM {table}"
        ),
        4 => format!("SELECT id, d - avg(d) OVER ({partition}) AS off, count(*) FILTER (WHERE b) OVER ({partition}) AS c FROM {table}"),
        5 => format!(
            "SELECT k, sum(run) AS total FROM (SELECT k, sum(n) OVER (PARTITION BY k ORDER BY ts{direction}, n, id) AS run FROM {table}) x GROUP BY k"
        ),
        6 => format!(
            "SELECT id, sum(f) OVER ({unique} {frame}) AS total, avg(f) OVER ({unique} {frame}) AS mean, var_samp(f) OVER ({peers}) AS spread, regr_slope(f, n::DOUBLE PRECISION) OVER ({unique} {frame}) AS slope FROM {table}"
        ),
        _ => format!(
            "SELECT id, count(*) OVER ({partition}ORDER BY n RANGE BETWEEN 2 PRECEDING AND 1 FOLLOWING) AS c, first_value(id) OVER ({unique} {frame}) AS f, ntile(3) OVER ({unique}) AS t FROM {table} WHERE id IS NOT NULL"
        ),
    }
}

/// A condition over one table's columns, each written with `prefix`.
fn predicate(rng: &mut StdRng, prefix: &str) -> String {
    let p = prefix;
    match rng.random_range(0..9) {
        0 => format!("{p}n > {}", rng.random_range(-3..6)),
        1 => format!("{p}k IN ({}, {}, 7)", rng.random_range(0..4), rng.random_range(2..8)),
        2 => format!("{p}s LIKE 'a%'"),
        3 => format!("({p}b OR {p}n IS NULL)"),
        4 => format!("{p}d BETWEEN -10 AND {}", rng.random_range(0..150)),
        5 => format!("{p}ts >= TIMESTAMP '2024-03-01 10:0{}:00'", rng.random_range(0..4)),
        6 => format!("NOT ({p}s = 'a' AND {p}n < 3)"),
        7 => format!("{p}f <> 0 AND {p}f IS NOT NULL"),
        _ => "TRUE".to_owned(),
    }
}
