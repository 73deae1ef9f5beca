//! Which settings there are: what each defaults to, which values it takes, and what happens with them.

use super::values::{Unit, Values};

/// What happens with a setting's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// It has an effect, or clients read it back.
    Kept,
    /// Accepted so that clients and scripts of PostgreSQL and its kin run; without effect.
    Ignored,
    /// Only shown.
    ReadOnly,
}

/// One setting.
pub(super) struct Definition {
    pub(super) name: &'static str,
    pub(super) values: Values,
    pub(super) default: &'static str,
    pub(super) usage: Use,
    /// The client is told when it changes (`GUC_REPORT` in PostgreSQL).
    pub(super) reported: bool,
    /// For SHOW ALL and `pg_settings`.
    pub(super) about: &'static str,
}

impl Definition {
    /// The connection is told when it changes: to tell the client, or to print values otherwise.
    pub(super) fn is_followed(&self) -> bool {
        self.reported || self.name == "extra_float_digits"
    }

    /// RESET ALL leaves it: it says who the user is, or belongs to the transaction.
    pub(super) fn outlives_reset(&self) -> bool {
        ["role", "session_authorization", "transaction_isolation", "transaction_read_only"].contains(&self.name)
    }
}

const fn kept(name: &'static str, values: Values, default: &'static str, about: &'static str) -> Definition {
    Definition { name, values, default, usage: Use::Kept, reported: false, about }
}

const fn told(name: &'static str, values: Values, default: &'static str, about: &'static str) -> Definition {
    Definition { name, values, default, usage: Use::Kept, reported: true, about }
}

const fn ignored(name: &'static str, values: Values, default: &'static str) -> Definition {
    let about = "Accepted for compatibility, without effect.";
    Definition { name, values, default, usage: Use::Ignored, reported: false, about }
}

const fn fixed(name: &'static str, default: &'static str, reported: bool, about: &'static str) -> Definition {
    Definition { name, values: Values::Any, default, usage: Use::ReadOnly, reported, about }
}

/// Milliseconds, as PostgreSQL counts them in 32 bits.
const DURATION: Values = Values::Whole { least: 0, most: i32::MAX as i64, unit: Unit::Milliseconds };

/// Whole numbers from 0.
const COUNT: Values = Values::Whole { least: 0, most: i32::MAX as i64, unit: Unit::None };

/// Kilobytes, of which PostgreSQL wants so many at least.
const fn memory(least: i64, unit: Unit) -> Values {
    Values::Whole { least, most: i32::MAX as i64, unit }
}

/// The version of PostgreSQL whose behaviour clients may expect.
pub const SERVER_VERSION: &str = "15.18";

/// All settings, by name.
pub(super) const DEFINITIONS: &[Definition] = &[
    told("application_name", Values::Any, "", "The name that the client gave itself."),
    kept("bytea_output", Values::Own, "hex", "How bytea is printed; only hex."),
    ignored("backfill_rate_limit", Values::Any, "default"),
    ignored("background_ddl", Values::Any, "off"),
    ignored("batch_enable_distributed_dml", Values::Any, "off"),
    ignored("batch_parallelism", Values::Any, "default"),
    ignored("check_function_bodies", Values::Switch, "on"),
    told("client_encoding", Values::Own, "UTF8", "The client's character set; only UTF8."),
    kept(
        "client_min_messages",
        Values::One {
            listed: &["debug5", "debug4", "debug3", "debug2", "debug1", "log", "notice", "warning", "error"],
            also: &[("debug", "debug2"), ("info", "info")],
        },
        "notice",
        "The least severity of messages sent to the client.",
    ),
    told("datestyle", Values::Own, "ISO, MDY", "How dates are printed, and 1/2/2024 is read; only ISO, MDY."),
    ignored("default_table_access_method", Values::Any, "heap"),
    ignored("default_tablespace", Values::Own, ""),
    ignored("default_transaction_deferrable", Values::Switch, "off"),
    ignored("default_transaction_isolation", Values::Own, "repeatable read"),
    told("default_transaction_read_only", Values::Switch, "off", "Whether transactions refuse to write unless they say READ WRITE."),
    ignored("dml_rate_limit", Values::Any, "default"),
    ignored("effective_cache_size", memory(1, Unit::Pages), "4GB"),
    ignored("enable_bitmapscan", Values::Switch, "on"),
    ignored("enable_hashagg", Values::Switch, "on"),
    ignored("enable_hashjoin", Values::Switch, "on"),
    ignored("enable_indexonlyscan", Values::Switch, "on"),
    ignored("enable_indexscan", Values::Switch, "on"),
    ignored("enable_material", Values::Switch, "on"),
    ignored("enable_memoize", Values::Switch, "on"),
    ignored("enable_mergejoin", Values::Switch, "on"),
    ignored("enable_nestloop", Values::Switch, "on"),
    ignored("enable_seqscan", Values::Switch, "on"),
    ignored("enable_sort", Values::Switch, "on"),
    ignored("escape_string_warning", Values::Switch, "on"),
    kept(
        "extra_float_digits",
        Values::Whole { least: -15, most: 3, unit: Unit::None },
        "1",
        "Digits of floating-point numbers; above 0 they are exact.",
    ),
    ignored("from_collapse_limit", COUNT, "8"),
    ignored("geqo", Values::Switch, "on"),
    kept(
        "idle_in_transaction_session_timeout",
        DURATION,
        // Writers of one table take turns: a client that is forgotten in its transaction would stop all others for good.
        "5min",
        "How long a client may leave a transaction open without a word before it is cut off; 0 is for ever.",
    ),
    ignored("idle_session_timeout", DURATION, "0"),
    fixed("in_hot_standby", "off", true, "Always off."),
    fixed("integer_datetimes", "on", true, "Times are integers."),
    told(
        "intervalstyle",
        Values::One { listed: &["postgres", "postgres_verbose", "sql_standard", "iso_8601"], also: &[] },
        "postgres",
        "How intervals are printed to the client.",
    ),
    fixed("is_superuser", "on", true, "Whether the user may do everything."),
    ignored("jit", Values::Switch, "off"),
    ignored("join_collapse_limit", COUNT, "8"),
    ignored("lc_collate", Values::Any, "C"),
    ignored("lc_ctype", Values::Any, "C"),
    ignored("lc_messages", Values::Any, "C"),
    ignored("lc_monetary", Values::Any, "C"),
    ignored("lc_numeric", Values::Any, "C"),
    ignored("lc_time", Values::Any, "C"),
    kept("lock_timeout", DURATION, "10s", "How long a statement waits for another transaction's table lock; 0 is for ever."),
    fixed("max_connections", "1000", false, "How many clients may be connected at once."),
    fixed("max_identifier_length", "63", false, "Shown for compatibility."),
    fixed("max_index_keys", "32", false, "Shown for compatibility."),
    ignored("maintenance_work_mem", memory(1_024, Unit::Kilobytes), "64MB"),
    ignored("max_parallel_workers_per_gather", COUNT, "2"),
    ignored("plan_cache_mode", Values::One { listed: &["auto", "force_generic_plan", "force_custom_plan"], also: &[] }, "auto"),
    ignored("query_mode", Values::Any, "auto"),
    ignored("quote_all_identifiers", Values::Switch, "off"),
    ignored("random_page_cost", Values::Real, "4"),
    kept("role", Values::Own, "none", "The role that was set; none but one's own."),
    ignored("row_security", Values::Switch, "on"),
    ignored("rw_batch_enable_lookup_join", Values::Any, "on"),
    ignored("rw_batch_enable_sort_agg", Values::Any, "on"),
    ignored("rw_enable_join_ordering", Values::Any, "on"),
    ignored("rw_enable_share_plan", Values::Any, "on"),
    ignored("rw_enable_two_phase_agg", Values::Any, "on"),
    ignored("rw_force_two_phase_agg", Values::Any, "off"),
    ignored("rw_implicit_flush", Values::Any, "on"),
    ignored("rw_streaming_allow_jsonb_in_stream_key", Values::Any, "off"),
    ignored("rw_streaming_enable_bushy_join", Values::Any, "on"),
    ignored("rw_streaming_enable_delta_join", Values::Any, "off"),
    kept("search_path", Values::Own, "\"$user\", public", "The schemas in which unqualified names are looked up."),
    fixed("server_encoding", "UTF8", true, "The server's character set."),
    fixed("server_version", SERVER_VERSION, true, "The PostgreSQL version that Tidemill answers like."),
    fixed("server_version_num", "150018", false, "The same as a number."),
    told("session_authorization", Values::Own, "", "The user."),
    ignored("session_replication_role", Values::One { listed: &["origin", "replica", "local"], also: &[] }, "origin"),
    told("standard_conforming_strings", Values::Own, "on", "Backslashes in strings are plain characters; always on."),
    ignored("sink_decouple", Values::Any, "default"),
    ignored("source_rate_limit", Values::Any, "default"),
    kept("statement_timeout", DURATION, "0", "After how many milliseconds a statement is cancelled; 0 is never."),
    ignored("streaming_enable_arrangement_backfill", Values::Any, "on"),
    ignored("streaming_max_parallelism", Values::Any, "default"),
    ignored("streaming_parallelism", Values::Any, "default"),
    ignored("streaming_rate_limit", Values::Any, "default"),
    ignored("streaming_use_arrangement_backfill", Values::Any, "on"),
    ignored("streaming_use_snapshot_backfill", Values::Any, "off"),
    ignored("synchronize_seqscans", Values::Switch, "on"),
    ignored(
        "synchronous_commit",
        Values::One {
            listed: &["local", "remote_write", "remote_apply", "on", "off"],
            also: &[("true", "on"), ("yes", "on"), ("1", "on"), ("false", "off"), ("no", "off"), ("0", "off")],
        },
        "on",
    ),
    ignored("tcp_keepalives_count", COUNT, "9"),
    ignored("tcp_keepalives_idle", COUNT, "7200"),
    ignored("tcp_keepalives_interval", COUNT, "75"),
    ignored("tcp_user_timeout", COUNT, "0"),
    ignored("temp_buffers", memory(800, Unit::Pages), "8MB"),
    told("timezone", Values::Own, "UTC", "The time zone in which timestamptz is printed and read."),
    kept("transaction_isolation", Values::Own, "repeatable read", "Every transaction reads one epoch, whatever level it asks for."),
    kept("transaction_read_only", Values::Switch, "off", "Whether this transaction refuses to write."),
    ignored("visibility_mode", Values::Any, "default"),
    ignored("wal_level", Values::Any, "logical"),
    ignored("work_mem", memory(64, Unit::Kilobytes), "4MB"),
    ignored("xmloption", Values::One { listed: &["content", "document"], also: &[] }, "content"),
];

/// Some settings are written with capitals, as PostgreSQL does.
pub(super) fn shown_name(name: &str) -> String {
    match name {
        "datestyle" => "DateStyle".to_owned(),
        "intervalstyle" => "IntervalStyle".to_owned(),
        "timezone" => "TimeZone".to_owned(),
        other => other.to_owned(),
    }
}
