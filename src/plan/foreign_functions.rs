//! Functions of other streaming databases that are not here: what to write instead.

const WINDOWS: &str = "Windows are made in FROM: FROM TUMBLE(t, ts, INTERVAL '1 hour') … GROUP BY window_start, window_end. HOP, CUMULATE and \
                       SESSION stand there, too.";

const WINDOW_BOUNDS: &str = "FROM TUMBLE(t, ts, INTERVAL '1 hour'), HOP(…), CUMULATE(…) or SESSION(…) has the columns window_start, window_end and \
                             window_time: select them, and GROUP BY them.";

const CLOCK: &str = "Write now(): in the WHERE of a view, ts > now() - INTERVAL '1 hour', rows come and go with it.";

const GAPS: &str = "Gaps are not filled: LEFT JOIN the buckets to generate_series(first, last, INTERVAL '1 hour') AS s(bucket) ON t.bucket = s.bucket, \
                    and use coalesce(), or last_value(…) IGNORE NULLS.";

/// What to do without a function of this name.
pub(super) fn hint(name: &str) -> Option<&'static str> {
    Some(match name.to_ascii_lowercase().as_str() {
        "tumble" | "hop" | "cumulate" | "session" | "window" => WINDOWS,
        "tumble_end" | "tumble_rowtime" | "tumble_proctime" | "hop_start" | "hop_end" | "hop_rowtime" | "hop_proctime"
        | "session_start" | "session_end" | "session_rowtime" | "session_proctime" => WINDOW_BOUNDS,
        "mz_now" | "mz_logical_timestamp" => CLOCK,
        "time_bucket_gapfill" | "locf" | "interpolate" => GAPS,
        _ => return None,
    })
}
