//! The tests that drive the real binary over the wire: the only integration binary, and it does not link the library.
//!
//! `cargo test --test e2e -- [part of a name …]` runs those tests; `--list` lists them. `E2E_JOBS` says how many run at a time.

#![expect(clippy::print_stdout, reason = "a test runner talks to its user on standard output")]

mod any_order;
mod bank;
mod cli;
mod client;
mod compare;
mod definitions;
mod examples;
mod files;
mod interrupt;
mod kafka;
mod kill;
mod limits;
mod oracle;
mod parameters;
mod positions;
mod reread;
mod restart;
mod server;
mod slt;
mod temporal;
mod tpch;
mod windows;
mod wire;

use std::collections::VecDeque;
use std::error::Error;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures::future::LocalBoxFuture;

/// Why a test failed; printed with its causes.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// Why a test did not run: what the machine lacks. Neither passed nor failed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Skipped(pub(crate) String);

/// What every test gives.
pub(crate) type Outcome = Result<(), Failure>;

/// A test mostly keeps one core busy, its server or itself, and now and then none: three of them keep two cores busy.
const JOBS: usize = 3;

/// Seconds after which a test has failed, unless `E2E_LIMIT_S` says otherwise: many times what the slowest takes.
const LIMIT_S: u64 = 300;

/// One named test.
pub(crate) struct Test {
    name: String,
    run: Box<dyn FnOnce() -> LocalBoxFuture<'static, Outcome> + Send>,
}

impl Test {
    /// A test that runs what `body` gives.
    pub(crate) fn new<F>(name: impl Into<String>, body: impl FnOnce() -> F + Send + 'static) -> Self
    where
        F: Future<Output = Outcome> + 'static,
    {
        Test { name: name.into(), run: Box::new(move || Box::pin(body())) }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let filters: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    // The longest first, so that none is left to run alone at the end.
    let mut tests: VecDeque<Test> = [
        oracle::tests(),
        any_order::tests(),
        limits::tests(),
        interrupt::tests(),
        bank::tests(),
        windows::tests(),
        tpch::tests(),
        kafka::tests(),
        kill::tests(),
        temporal::tests(),
        reread::tests(),
        examples::tests(),
        slt::tests(),
        wire::tests(),
        restart::tests(),
        definitions::tests(),
        files::tests(),
        cli::tests(),
        positions::tests(),
        parameters::tests(),
    ]
    .into_iter()
    .flatten()
    .collect();
    let all = tests.len();
    tests.retain(|test| filters.is_empty() || filters.iter().any(|filter| test.name.contains(filter.as_str())));
    let filtered = all - tests.len();
    if arguments.iter().any(|argument| argument == "--list") {
        tests.iter().for_each(|test| println!("{}: test", test.name));
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", tests.len());
    let start = Instant::now();
    let Results { passed, skipped, failures } = run_all(tests);
    let (failed, ignored) = (failures.len(), skipped.len());
    if failed > 0 {
        println!("\nfailures:\n");
        failures.iter().for_each(|(name, why)| println!("---- {name} ----\n{why}\n"));
    }
    if let Some(summary) = oracle::TALLY.summary() {
        println!("\n{summary}");
    }
    skipped.iter().for_each(|(name, why)| println!("\nSKIPPED {name}: {why}"));
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "\ntest result: {verdict}. {passed} passed; {failed} failed; {ignored} ignored; 0 measured; {filtered} filtered out; finished in {seconds:.2}s\n"
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(101) }
}

/// How many tests passed, and the name and reason of each that did not.
#[derive(Default)]
struct Results {
    passed: usize,
    skipped: Vec<(String, String)>,
    failures: Vec<(String, String)>,
}

/// Runs the tests, a few at a time.
fn run_all(tests: VecDeque<Test>) -> Results {
    let queue = Mutex::new(tests);
    // Not in the head of the loop, where the lock would be held until the test has ended.
    let next = || lock(&queue).pop_front();
    let results = Mutex::new(Results::default());
    std::thread::scope(|scope| {
        for _ in 0..setting("E2E_JOBS", JOBS) {
            scope.spawn(|| {
                while let Some(test) = next() {
                    let start = Instant::now();
                    let name = test.name.clone();
                    let outcome = run_one(test);
                    let word = match &outcome {
                        Verdict::Passed => "ok",
                        Verdict::Skipped(_) => "SKIPPED",
                        Verdict::Failed(_) => "FAILED",
                    };
                    println!("test {name} ... {word} ({:.2}s)", start.elapsed().as_secs_f64());
                    match outcome {
                        Verdict::Passed => lock(&results).passed += 1,
                        Verdict::Skipped(why) => lock(&results).skipped.push((name, why)),
                        Verdict::Failed(why) => lock(&results).failures.push((name, why)),
                    }
                }
            });
        }
    });
    results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// How a test ended.
enum Verdict {
    Passed,
    Skipped(String),
    Failed(String),
}

/// Runs one test on a runtime of its own, so that nothing of it outlives it. A panic is a failure.
fn run_one(test: Test) -> Verdict {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Verdict::Failed(error.to_string()),
    };
    let limit = Duration::from_secs(setting("E2E_LIMIT_S", LIMIT_S));
    let result = std::panic::catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let ran = tokio::time::timeout(limit, (test.run)()).await;
            ran.unwrap_or_else(|_| Err(format!("no end within {limit:?}").into()))
        })
    }));
    runtime.shutdown_timeout(Duration::from_secs(1));
    match result {
        Ok(Ok(())) => Verdict::Passed,
        Ok(Err(failure)) if failure.is::<Skipped>() => Verdict::Skipped(failure.to_string()),
        Ok(Err(failure)) => Verdict::Failed(explain(failure.as_ref())),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
            Verdict::Failed(format!("panicked: {}", text.unwrap_or("(no message)")))
        }
    }
}

/// An error with all its causes.
fn explain(failure: &(dyn Error + 'static)) -> String {
    let mut text = failure.to_string();
    let mut cause = failure.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// A number from the environment, for those who want more or fewer rounds.
pub(crate) fn setting<T: std::str::FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|text| text.replace('_', "").parse().ok()).unwrap_or(default)
}

/// A test that panicked while it held the lock does not stop the others.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
