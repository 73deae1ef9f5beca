//! Figures: gathered in rows, printed as a table, written as JSON; and the small measurements that several benchmarks share.

use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::cli::run::table;
use crate::error::{Error, Result};

/// One benchmark's figures.
pub(super) struct Report {
    benchmark: &'static str,
    workers: usize,
    columns: Vec<&'static str>,
    rows: Vec<Vec<Value>>,
}

impl Report {
    pub(super) fn new(benchmark: &'static str, workers: usize, columns: &[&'static str]) -> Self {
        Report { benchmark, workers, columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row, and prints it at once to standard error: long benchmarks should be seen to move.
    pub(super) fn add(&mut self, row: Vec<Value>) {
        assert_eq!(row.len(), self.columns.len(), "a figure for every column");
        let pairs: Vec<String> = self.columns.iter().zip(&row).map(|(name, value)| format!("{name} {}", text(value))).collect();
        eprintln!("{}: {}", self.benchmark, pairs.join(", "));
        self.rows.push(row);
    }

    /// For people.
    pub(super) fn table(&self) -> String {
        let header: Vec<String> = self.columns.iter().map(|name| (*name).to_owned()).collect();
        let rows: Vec<Vec<String>> = self.rows.iter().map(|row| row.iter().map(text).collect()).collect();
        format!("{}, {} workers, {} cores\n{}", self.benchmark, self.workers, cores(), table(&header, &rows))
    }

    /// For programs.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let object = |row: &Vec<Value>| self.columns.iter().map(|name| (*name).to_owned()).zip(row.iter().cloned()).collect::<Map<_, _>>();
        let document = json!({
            "benchmark": self.benchmark,
            "version": env!("CARGO_PKG_VERSION"),
            "optimised": !cfg!(debug_assertions),
            "workers": self.workers,
            "cores": cores(),
            "figures": self.rows.iter().map(object).collect::<Vec<_>>(),
        });
        std::fs::write(path, format!("{document:#}\n"))
            .map_err(|cause| Error::external(&format!("cannot write \"{}\"", path.display()), cause))
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Whole numbers with their digits grouped, others with three places.
fn text(value: &Value) -> String {
    match value {
        Value::Number(number) if number.is_u64() => grouped(number.as_u64().unwrap_or_default()),
        Value::Number(number) => format!("{:.3}", number.as_f64().unwrap_or_default()),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push('_');
        }
        out.push(digit);
    }
    out
}

/// How many of `count` happen per second, as a whole number.
pub(super) fn per_second(count: u64, elapsed: Duration) -> u64 {
    (count as f64 / elapsed.as_secs_f64()).round() as u64
}

/// Milliseconds.
pub(super) fn millis(elapsed: Duration) -> f64 {
    elapsed.as_secs_f64() * 1_000.0
}

/// The value below which `part` of the sorted values lie (nearest rank).
pub(super) fn percentile(sorted: &[Duration], part: f64) -> Duration {
    let rank = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(rank.saturating_sub(1).min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// This process's resident memory now and at its highest, in mebibytes; zeros where the system has no /proc.
pub(super) fn resident_mib() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_whitespace().nth(1)).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1_024
    };
    (field("VmRSS:"), field("VmHWM:"))
}

/// Lets the highest resident memory begin anew with what it is now; where the system cannot, it stays that of the whole process.
pub(super) fn forget_peak() {
    // proc(5): 5 resets the peak.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{grouped, percentile};

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let sorted: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(percentile(&sorted, 0.5), Duration::from_millis(50));
        assert_eq!(percentile(&sorted, 0.99), Duration::from_millis(99));
        assert_eq!(percentile(&sorted[..1], 0.99), Duration::from_millis(1));
        assert_eq!(percentile(&[], 0.5), Duration::ZERO);
    }

    #[test]
    fn digits_are_grouped() {
        assert_eq!([grouped(7), grouped(1_000), grouped(12_345_678)], ["7", "1_000", "12_345_678"]);
    }
}
