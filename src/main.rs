//! The `tidemill` command: reads arguments, starts tracing, runs what was asked for.

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use tidemill::cli;
use tidemill::config::ServeOptions;
use tikv_jemallocator::Jemalloc;

/// Returns memory to the system and fragments less than the C library's when batches of all sizes come and go on many threads.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// A streaming SQL database: materialised views that are always up to date.
#[derive(Parser)]
#[command(name = "tidemill", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// What can be asked for.
#[derive(Subcommand)]
enum Command {
    /// Run the server.
    Serve(ServeOptions),
    /// Start a server on an empty directory with a running example, and show its answers as they change.
    Demo(cli::DemoOptions),
    /// Run the statements of a file against a server, or against one of its own.
    Run(cli::RunOptions),
    /// Write generated events into a file or a Kafka topic.
    Generate(cli::GenerateOptions),
    /// Measure.
    Bench(cli::BenchOptions),
}

/// A variable of the environment that is set to nothing is as good as one that is not set: compose files and unit files leave them so.
fn without_empty_settings(command: clap::Command) -> clap::Command {
    let is_empty = |name: &std::ffi::OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    command.mut_subcommands(|command| {
        command.mut_args(|argument| if argument.get_env().is_some_and(is_empty) { argument.env(None::<&'static str>) } else { argument })
    })
}

fn main() -> ExitCode {
    let matches = without_empty_settings(Arguments::command()).get_matches();
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let own = matches.subcommand().map_or(&matches, |(_, own)| own);
    let result = match arguments.command {
        Command::Serve(options) => cli::serve(options.told_by(own)),
        Command::Demo(options) => cli::demo(&options),
        Command::Run(options) => cli::run(&options),
        Command::Generate(options) => cli::generate(&options),
        Command::Bench(options) => cli::bench(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => cli::report(&error),
    }
}
