//! Every setting of the server with its default and why: from the command line, else the environment, else a TOML file.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args};
use serde::Deserialize;

use crate::error::{Error, Kind, Result};

/// What `tidemill serve` can be told. The TOML file has the same names with underscores.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServeOptions {
    /// Where everything is kept that must survive a restart [default: ./tidemill-data].
    #[arg(long, env = "TIDEMILL_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Keep nothing on disk: a restart begins anew. Of this and --data-dir counts what was said nearest: on the command line, in the environment, in
    /// the file.
    #[arg(long, env = "TIDEMILL_IN_MEMORY", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub in_memory: Option<bool>,
    /// Where to listen for PostgreSQL clients [default: 127.0.0.1:7654].
    #[arg(long, env = "TIDEMILL_LISTEN", value_parser = address)]
    #[serde(deserialize_with = "address_in_file")]
    pub listen: Option<SocketAddr>,
    /// Where to listen for HTTP: /healthz and /metrics [default: 127.0.0.1:7655].
    #[arg(long, env = "TIDEMILL_HTTP", value_parser = address)]
    #[serde(deserialize_with = "address_in_file")]
    pub http: Option<SocketAddr>,
    /// Threads that maintain views [default: the number of cores].
    #[arg(long, env = "TIDEMILL_WORKERS")]
    pub workers: Option<usize>,
    /// Milliseconds between checkpoints [default: 10000].
    #[arg(long, env = "TIDEMILL_CHECKPOINT_INTERVAL_MS")]
    pub checkpoint_interval_ms: Option<u64>,
    /// Mebibytes that queries may use together for sorting, joining and grouping [default: a quarter of the machine's memory].
    #[arg(long, env = "TIDEMILL_QUERY_MEMORY_MB")]
    pub query_memory_mb: Option<usize>,
    /// Clients that may be connected at once [default: 1000].
    #[arg(long, env = "TIDEMILL_MAX_CONNECTIONS")]
    pub max_connections: Option<usize>,
    /// Write logs as JSON, one object a line.
    #[arg(long, env = "TIDEMILL_LOG_JSON", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub log_json: Option<bool>,
    /// A TOML file with any of these settings.
    #[arg(long, env = "TIDEMILL_CONFIG")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Of --data-dir and --in-memory, which the environment gave and not the command line.
    #[arg(skip)]
    #[serde(skip)]
    pub(crate) environment: FromEnvironment,
}

/// What the environment gave.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FromEnvironment {
    data_dir: bool,
    in_memory: bool,
}

/// The settings as they are in force.
#[derive(Clone, Debug)]
pub struct Config {
    /// `None`: nothing is kept.
    pub data_dir: Option<PathBuf>,
    /// For PostgreSQL clients.
    pub listen: SocketAddr,
    /// For HTTP.
    pub http: SocketAddr,
    /// Threads that maintain views, 1 to 256.
    pub workers: usize,
    /// Between checkpoints. Ten seconds keep recovery short and the disk mostly idle.
    pub checkpoint_interval: Duration,
    /// Bytes that all queries together may use; beyond, they spill where they can, or end with `53200`.
    pub query_memory_bytes: usize,
    /// Clients at once; each costs a task and its buffers.
    pub max_connections: usize,
    /// Logs as JSON.
    pub log_json: bool,
}

impl ServeOptions {
    /// Notes what came from where. `matches`: what these options were made of.
    #[must_use]
    pub fn told_by(mut self, matches: &ArgMatches) -> Self {
        let by_environment = |name| matches.value_source(name) == Some(ValueSource::EnvVariable);
        self.environment = FromEnvironment { data_dir: by_environment("data_dir"), in_memory: by_environment("in_memory") };
        self
    }

    /// Where rows are kept, `None` for nowhere: as the first says that says anything about it, of command line, environment and file.
    fn kept_in(&self, file: &ServeOptions) -> Option<PathBuf> {
        let FromEnvironment { data_dir, in_memory } = self.environment;
        let said = |options: &ServeOptions, of_dir: bool, of_memory: bool| {
            let in_memory = options.in_memory.filter(|_| of_memory);
            in_memory.or(options.data_dir.as_ref().filter(|_| of_dir).map(|_| false))
        };
        let in_memory = said(self, !data_dir, !in_memory)
            .or_else(|| said(self, data_dir, in_memory))
            .or_else(|| said(file, true, true))
            .unwrap_or(false);
        let data_dir = self.data_dir.as_ref().or(file.data_dir.as_ref()).cloned();
        (!in_memory).then(|| data_dir.unwrap_or_else(|| PathBuf::from("tidemill-data")))
    }

    /// Fills what the command line and the environment left open from the file, then from the defaults.
    pub fn resolve(self) -> Result<Config> {
        let file = match &self.config {
            Some(path) => read_file(path)?,
            None => ServeOptions::default(),
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = self.workers.or(file.workers).unwrap_or(cores);
        if !(1..=crate::types::BUCKETS).contains(&workers) {
            return Err(Error::new(
                Kind::InvalidParameter,
                format!("workers must be between 1 and {}, not {workers}", crate::types::BUCKETS),
            ));
        }
        Ok(Config {
            data_dir: self.kept_in(&file),
            listen: self.listen.or(file.listen).unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 7654))),
            http: self.http.or(file.http).unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 7655))),
            workers,
            checkpoint_interval: Duration::from_millis(
                self.checkpoint_interval_ms.or(file.checkpoint_interval_ms).unwrap_or(10_000).max(10),
            ),
            query_memory_bytes: self.query_memory_mb.or(file.query_memory_mb).map_or_else(default_query_memory, |mb| mb.max(1) << 20),
            max_connections: self.max_connections.or(file.max_connections).unwrap_or(1_000),
            log_json: self.log_json.or(file.log_json).unwrap_or(false),
        })
    }
}

/// An address and a port, or a name that stands for an address; of several the first that is IPv4, as in what clients are told.
fn address(text: &str) -> std::result::Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let found: Vec<SocketAddr> = text.to_socket_addrs().map_err(|cause| format!("{cause}; expected host:port"))?.collect();
    let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
    first.copied().ok_or_else(|| "the name has no address".to_owned())
}

fn address_in_file<'a, D: serde::Deserializer<'a>>(deserializer: D) -> std::result::Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    address(&text).map(Some).map_err(serde::de::Error::custom)
}

/// A quarter of the machine's memory, or of what its container may use: the rows of tables and views and what operators hold need the rest.
fn default_query_memory() -> usize {
    /// Where the system does not say how much memory there is.
    const UNKNOWN: usize = 4 << 30;
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let kibibytes = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        kibibytes.split_whitespace().next()?.parse::<usize>().ok().map(|number| number << 10)
    });
    let container = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse::<usize>().ok());
    machine.into_iter().chain(container).min().unwrap_or(UNKNOWN) / 4
}

fn read_file(path: &Path) -> Result<ServeOptions> {
    let text = std::fs::read_to_string(path).map_err(|cause| Error::external(&format!("cannot read \"{}\"", path.display()), cause))?;
    toml::from_str(&text).map_err(|cause| Error::new(Kind::InvalidParameter, format!("\"{}\" is not valid: {cause}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::{FromEnvironment, ServeOptions};

    #[test]
    fn the_command_line_wins_over_the_defaults() {
        let config = ServeOptions { workers: Some(3), in_memory: Some(true), ..ServeOptions::default() }.resolve().expect("valid");
        assert_eq!(config.workers, 3);
        assert_eq!(config.data_dir, None);
        assert!(ServeOptions { workers: Some(0), ..ServeOptions::default() }.resolve().is_err());
    }

    #[test]
    fn a_file_kept_in_memory_what_the_command_line_had_given_a_directory() {
        let dir = || Some(std::path::PathBuf::from("d"));
        let given = |data_dir, in_memory| ServeOptions { data_dir, in_memory, ..ServeOptions::default() };
        let memory = given(None, Some(true));
        assert_eq!(given(dir(), None).kept_in(&memory), dir());
        assert_eq!(given(None, None).kept_in(&memory), None);
        assert_eq!(given(None, Some(true)).kept_in(&given(dir(), None)), None);
        // It can be switched off, and then the directory may come from anywhere.
        assert_eq!(given(None, Some(false)).kept_in(&given(dir(), Some(true))), dir());
        assert_eq!(given(dir(), Some(true)).kept_in(&ServeOptions::default()), None);
        // The environment stands between the two.
        let environment = |data_dir, in_memory, environment| ServeOptions { environment, ..given(data_dir, in_memory) };
        let memory_there = FromEnvironment { in_memory: true, ..FromEnvironment::default() };
        assert_eq!(environment(dir(), Some(true), memory_there).kept_in(&memory), dir());
        assert_eq!(environment(None, Some(true), memory_there).kept_in(&given(dir(), None)), None);
        let dir_there = FromEnvironment { data_dir: true, ..FromEnvironment::default() };
        assert_eq!(environment(dir(), None, dir_there).kept_in(&memory), dir());
        assert_eq!(environment(dir(), Some(true), dir_there).kept_in(&memory), None);
    }

    #[test]
    fn switches_are_on_by_their_name_alone() {
        #[derive(clap::Parser)]
        struct Program {
            #[command(flatten)]
            options: ServeOptions,
        }
        let parsed = |arguments: &[&str]| {
            let arguments = ["tidemill"].iter().chain(arguments).copied();
            <Program as clap::Parser>::try_parse_from(arguments).map(|program| (program.options.in_memory, program.options.log_json))
        };
        assert_eq!(parsed(&["--in-memory", "--log-json=off"]).expect("valid"), (Some(true), Some(false)));
        assert_eq!(parsed(&[]).expect("valid"), (None, None));
        assert!(parsed(&["--in-memory=perhaps"]).is_err());
        let file = toml::from_str::<ServeOptions>("in_memory = true\nlog_json = true").expect("valid");
        assert_eq!((file.in_memory, file.log_json), (Some(true), Some(true)));
    }

    #[test]
    fn a_name_stands_for_its_address() {
        let options = toml::from_str::<ServeOptions>("listen = \"localhost:7654\"\nhttp = \"127.0.0.1:0\"").expect("valid");
        assert_eq!(options.listen.map(|address| (address.ip().is_loopback(), address.port())), Some((true, 7654)));
        assert!(toml::from_str::<ServeOptions>("listen = \"localhost\"").is_err());
    }

    #[test]
    fn the_file_has_no_unknown_names() {
        assert!(toml::from_str::<ServeOptions>("worker = 3").is_err());
        assert_eq!(toml::from_str::<ServeOptions>("workers = 3").expect("valid").workers, Some(3));
    }
}
