//! The subcommands. Here, and only here, the program prints.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line talks to a person")]

mod bench;
mod demo;
mod descriptors;
mod generate;
mod run;
mod serve;

use std::process::ExitCode;

pub use bench::{BenchOptions, bench};
pub use demo::{DemoOptions, demo};
pub use generate::{GenerateOptions, generate};
pub use run::{RunOptions, run};
pub use serve::serve;

use crate::error::{Error, Kind};

/// Prints an error as psql would, and gives the exit code: 2 for a user's mistake, 1 for everything else.
pub fn report(error: &Error) -> ExitCode {
    eprintln!("ERROR:  {}: {}", error.kind().sqlstate(), error.message());
    if let Some(detail) = error.detail_text() {
        eprintln!("DETAIL:  {detail}");
    }
    if let Some(hint) = error.hint_text() {
        eprintln!("HINT:  {hint}");
    }
    match error.kind() {
        Kind::Internal | Kind::External | Kind::Shutdown => ExitCode::from(1),
        _ => ExitCode::from(2),
    }
}
