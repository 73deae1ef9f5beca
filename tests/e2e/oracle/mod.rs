//! Random tables, random changes, and views of random queries that must at each step hold what their queries give.
//!
//! `FUZZ_SEEDS` says how many seeds run (300), `FUZZ_FIRST` which is the first, `FUZZ_MINUTES` when to end early. A failure prints its seed and
//! the smallest script that shows it; the same seed makes the same script again. Beside the comparison with the query itself:
//!
//! - rows that come and go leave every view as it was;
//! - a view that is created last equals one that was there from the beginning;
//! - the same changes in other transactions end with the same views (`split`);
//! - 1, 2 and 3 workers end with the same views (`workers`);
//! - a server that is killed and started again has the same views (`crash`);
//! - a query gives what PostgreSQL gives, if `FUZZ_POSTGRES` is the address of one.

mod collections;
mod data;
mod grammar;
mod postgres;
mod queries;
mod reduce;
mod script;
mod shrink;
mod stage;
mod tally;

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::{Failure, Outcome, Test, setting};

use script::Script;
use shrink::Shrinker;
use stage::{Checks, Finding, Manner, Stage, same_ending};
pub(crate) use tally::TALLY;

/// Seeds that share a server: starting one costs more than a seed.
const SEEDS_PER_SERVER: usize = 25;

/// Of so many seeds in a row, one each is played in a special manner.
const CYCLE: u64 = 10;

/// The schemas of second plays begin here; seeds are smaller, and attempts to shrink greater.
const SECOND: u64 = 500_000_000;

/// Findings that are made smaller; the others are told as they are.
const SHRUNK_MAX: u32 = 20;

/// When the run began.
static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Findings that were made smaller so far.
static SHRUNK: AtomicU32 = AtomicU32::new(0);

/// Groups of seeds, each on one server, or on three.
pub(crate) fn tests() -> Vec<Test> {
    LazyLock::force(&BEGUN);
    let first: u64 = setting("FUZZ_FIRST", 0);
    let end = first + setting("FUZZ_SEEDS", 300_u64);
    let of = |place: u64| (first..end).filter(move |seed| seed % CYCLE == place);
    let calm: Vec<u64> = (first..end).filter(|seed| seed % CYCLE < CYCLE - 2).collect();
    let mut tests = Vec::new();
    for (index, seeds) in calm.chunks(SEEDS_PER_SERVER).enumerate() {
        tests.push(group("seeds", seeds.to_vec(), vec![1 + index % 3]));
    }
    let workers: Vec<u64> = of(CYCLE - 2).collect();
    tests.extend(workers.chunks(SEEDS_PER_SERVER).map(|seeds| group("workers", seeds.to_vec(), vec![1, 2, 3])));
    let crashing: Vec<u64> = of(CYCLE - 1).collect();
    tests.extend(crashing.chunks(SEEDS_PER_SERVER / 5).map(|seeds| group("crash", seeds.to_vec(), vec![1])));
    tests
}

fn group(manner: &'static str, seeds: Vec<u64>, workers: Vec<usize>) -> Test {
    let name = format!("oracle/{manner}-{}-to-{}", seeds[0], seeds[seeds.len() - 1]);
    Test::new(name, move || play_group(seeds, workers, manner == "crash"))
}

/// Plays seeds one after the other. All are played, also after a failure.
async fn play_group(seeds: Vec<u64>, workers: Vec<usize>, crashes: bool) -> Outcome {
    let mut stages = Vec::new();
    for workers in workers {
        stages.push(Stage::start(workers).await?);
    }
    let mut failures = Vec::new();
    for seed in seeds {
        if BEGUN.elapsed() > Duration::from_secs(60 * setting("FUZZ_MINUTES", 10_000_u64)) {
            break;
        }
        let script = Script::random(seed);
        let manner = Manner { schema: seed, crashes, checks: Checks::Some, anew: seed.is_multiple_of(3) };
        let finding = match stages.as_mut_slice() {
            [only] if !crashes && seed % CYCLE == 4 => play_split(only, &script, manner).await,
            [only] => only.play(&script, manner, &TALLY).await.map(drop),
            several => play_everywhere(several, &script, manner).await,
        };
        TALLY.seed();
        if let Err(finding) = finding {
            let told = explain(seed, script, &finding, manner, &stages[0]).await;
            // At once: a long run is watched.
            println!("{told}");
            failures.push(told);
            for stage in &mut stages {
                *stage = stage.another().await?;
            }
        }
    }
    if TALLY.refuses_too_much() {
        failures.push("too many views are refused: the grammar should know better".to_owned());
    }
    if failures.is_empty() { Ok(()) } else { Err(Failure::from(failures.join("\n\n"))) }
}

/// The same changes in other transactions give the same views.
async fn play_split(stage: &mut Stage, script: &Script, manner: Manner) -> Result<(), Finding> {
    let one = stage.play(script, manner, &TALLY).await?;
    let split = script.split(&mut StdRng::seed_from_u64(manner.schema));
    let manner = Manner { schema: SECOND + manner.schema, checks: Checks::None, ..manner };
    let other = stage.play(&split, manner, &TALLY).await?;
    same_ending(&one, &other, "the same changes in other transactions")
}

/// Any number of workers gives the same views.
async fn play_everywhere(stages: &mut [Stage], script: &Script, manner: Manner) -> Result<(), Finding> {
    let mut first = None;
    for stage in stages {
        let ending = stage.play(script, manner, &TALLY).await?;
        match &first {
            Some(first) => same_ending(first, &ending, "another number of workers")?,
            None => first = Some(ending),
        }
    }
    Ok(())
}

/// A failure with everything needed to see it again, made smaller if that can be done in time.
async fn explain(seed: u64, script: Script, finding: &Finding, manner: Manner, stage: &Stage) -> String {
    let told =
        format!("seed {seed}, {}: {}\nagain: FUZZ_FIRST={seed} FUZZ_SEEDS=1 cargo test --test e2e -- oracle/", finding.class, finding.text);
    let told = if finding.class.starts_with("lost") { stage.with_log(&told) } else { told };
    let limit = Duration::from_secs(setting("FUZZ_SHRINK_S", 20));
    if SHRUNK.fetch_add(1, Ordering::Relaxed) < SHRUNK_MAX
        && let Some(mut shrinker) = Shrinker::new(stage, finding, manner, limit).await
        && let Some(smaller) = shrinker.shrink(script.clone(), finding).await
    {
        return format!("{told}\nsmaller:\n{}\n", smaller.text());
    }
    format!("{told}\nscript:\n{}\n", script.text())
}

/// One of several, all equally likely.
fn choose<'a, T>(rng: &mut StdRng, items: &'a [T]) -> &'a T {
    &items[rng.random_range(0..items.len())]
}

/// Whether something that happens once in `times` happens.
fn once_in(rng: &mut StdRng, times: u32) -> bool {
    rng.random_range(0..times) == 0
}
