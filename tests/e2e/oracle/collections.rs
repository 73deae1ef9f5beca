//! Queries over arrays and JSON: functions that give rows, subscripts, containment, and arrays as keys.

use rand::RngExt;
use rand::rngs::StdRng;

use super::choose;

/// A query over tables `a` and `b`; `filter` is a condition over the columns of one table.
pub(super) fn random(rng: &mut StdRng, a: &str, b: &str, filter: &str) -> String {
    let number = rng.random_range(-2..6);
    let not = *choose(rng, &["", "NOT "]);
    match rng.random_range(0..20) {
        0 => format!("SELECT id, x, o FROM {a}, unnest(a) WITH ORDINALITY AS u (x, o) WHERE {filter}"),
        1 => format!("SELECT t.id, u FROM {a} t LEFT JOIN unnest(t.a) u ON true"),
        2 => format!("SELECT t.id, u FROM {a} t LEFT JOIN unnest(t.a) u ON u > t.n"),
        3 => format!("SELECT id, unnest(a) AS x, generate_series(1, n) AS g FROM {a} WHERE {filter}"),
        4 => format!("SELECT u AS x, count(*) AS c, sum(n) AS total FROM {a}, unnest(a) u GROUP BY u"),
        5 => format!(
            "SELECT id, (SELECT sum(x) FROM unnest(a) AS x) AS total, (SELECT count(*) FROM unnest(t.a) AS x WHERE x > {number}) AS c FROM {a} t"
        ),
        6 => format!("SELECT id FROM {a} t WHERE {not}EXISTS (SELECT 1 FROM unnest(t.a) AS x WHERE x = {number})"),
        7 => format!("SELECT a, count(*) AS c, min(id) AS least, max(a) AS most FROM {a} WHERE {filter} GROUP BY a"),
        8 => format!("SELECT x.id AS l, y.id AS r FROM {a} x {}JOIN {b} y ON x.a = y.a", choose(rng, &["", "LEFT ", "FULL "])),
        9 => format!(
            "SELECT id, a[1] AS f, a[2:] AS rest, n = ANY (a) AS found, n > ALL (a) AS above, a @> ARRAY[{number}] AS one, a && ARRAY[2, {number}] AS some FROM {a}"
        ),
        10 => format!("SELECT t.id, e, o FROM {a} t, jsonb_array_elements(j) WITH ORDINALITY AS x (e, o)"),
        11 => format!("SELECT t.id, r.p, r.q FROM {a} t LEFT JOIN LATERAL jsonb_to_recordset(t.j) AS r (p INT, q TEXT) ON true"),
        12 => format!(
            "SELECT m.key, count(*) AS c, max(m.value) AS most FROM {a} t, jsonb_array_elements(j) e, jsonb_each_text(e) m GROUP BY m.key"
        ),
        13 => format!("SELECT g, count(t.id) AS c FROM generate_series(0, 8) g LEFT JOIN {a} t ON t.k = g GROUP BY g"),
        14 => format!("SELECT t.id, v.x FROM {a} t CROSS JOIN LATERAL (VALUES (t.n), (t.n + 1), (0)) v (x) WHERE {filter}"),
        15 => format!("SELECT t.id, v.name FROM {a} t LEFT JOIN (VALUES (1, 'one'), (2, NULL), (1, 'uno')) v (k, name) ON v.k = t.k"),
        16 => format!("SELECT DISTINCT a, j FROM {a}"),
        17 => format!("SELECT k, array_agg(x ORDER BY x) AS l FROM {a}, unnest(a) AS x WHERE {filter} GROUP BY k"),
        18 => format!("SELECT t.id, x, y FROM {a} t, unnest(a) x, LATERAL (SELECT x + z AS y FROM unnest(t.a) z WHERE z < {number}) l"),
        _ => format!("SELECT x.id, m.most FROM {a} x, LATERAL (SELECT max(e) AS most, count(*) AS c FROM unnest(x.a) e) m"),
    }
}
