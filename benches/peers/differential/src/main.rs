//! The operators of `tidemill bench operators` in differential-dataflow, each written as its users write it: `count_total`, `distinct`,
//! `arrange_by_key` and `join_core`, `reduce`; sum and maximum in the difference type where nothing is retracted.
//!
//! `differential-peer OPERATOR INPUT ROWS EPOCH_ROWS WORKERS` prints `seconds rows_out rss_growth_mib`. Rows are drawn as there (see
//! `src/cli/bench/operators.rs`), prepared before the clock runs and kept until the end; two epochs may be in flight.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use differential_dataflow::VecCollection;
use differential_dataflow::difference::{IsZero, Multiply, Semigroup};
use differential_dataflow::input::InputSession;
use differential_dataflow::operators::CountTotal;
use serde::{Deserialize, Serialize};
use timely::dataflow::operators::probe::Handle;
use timely::{Config, WorkerConfig};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const DISTANCE: u64 = 1_000_009;
const BATCH_ROWS: u64 = 16_384;
const EPOCHS_AHEAD: u64 = 2;

/// One change: key, value, weight.
type Change = (i64, i64, isize);

/// What has been added up for a key, as a difference: nothing is retracted, so a maximum is one as well.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
struct SumMax {
    count: isize,
    sum: i64,
    max: i64,
}

impl IsZero for SumMax {
    fn is_zero(&self) -> bool {
        self.count == 0
    }
}

impl Semigroup for SumMax {
    fn plus_equals(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.max = self.max.max(other.max);
    }
}

impl Multiply<isize> for SumMax {
    type Output = SumMax;
    fn multiply(self, _: &isize) -> SumMax {
        self
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [operator, input, rows, epoch_rows, workers] = arguments.as_slice() else {
        eprintln!("differential-peer OPERATOR append|retract ROWS EPOCH_ROWS WORKERS");
        std::process::exit(2);
    };
    let number = |text: &String| text.parse::<u64>().expect("a number");
    let (rows, epoch_rows, workers) = (number(rows), number(epoch_rows), number(workers) as usize);
    let retract = input == "retract";
    let per_key = match operator.as_str() {
        "join" => 4,
        "top_3" => 50,
        _ => 10,
    };
    let keys = (rows / per_key).max(1);
    let epochs = rows.div_ceil(epoch_rows);
    // Per worker and epoch.
    let prepared: Arc<Vec<Vec<Vec<Change>>>> = Arc::new(
        (0..workers).map(|worker| (0..epochs).map(|epoch| share(epoch, epoch_rows, keys, retract, worker, workers)).collect()).collect(),
    );
    let before = resident_kib();
    let rows_out = Arc::new(AtomicU64::new(0));
    let (operator, counted) = (operator.clone(), Arc::clone(&rows_out));
    let communication = if workers == 1 { timely::CommunicationConfig::Thread } else { timely::CommunicationConfig::Process(workers) };
    let measured = timely::execute(Config { communication, worker: WorkerConfig::default() }, move |worker| {
        let shares = &prepared[worker.index()];
        let mut first: InputSession<u64, (i64, i64), isize> = InputSession::new();
        let mut second: InputSession<u64, (i64, i64), isize> = InputSession::new();
        let mut summed: InputSession<u64, i64, SumMax> = InputSession::new();
        let probe = Handle::new();
        let (both, in_difference) = (operator == "join", operator == "sum_max" && !retract);
        worker.dataflow::<u64, _, _>(|scope| {
            let (left, right, sums) = (first.to_collection(scope), second.to_collection(scope), summed.to_collection(scope));
            match operator.as_str() {
                "count" => end(left.map(|(key, _)| key).count_total(), &probe, &counted),
                "distinct" => end(left.map(|(key, _)| key).distinct(), &probe, &counted),
                "sum_max" if in_difference => end(sums.count_total(), &probe, &counted),
                "sum_max" => end(
                    left.reduce(|_, values, output: &mut Vec<((i64, i64), isize)>| {
                        let sum = values.iter().map(|(value, weight)| **value * *weight as i64).sum();
                        output.push(((sum, values.last().map_or(0, |(value, _)| **value)), 1));
                    }),
                    &probe,
                    &counted,
                ),
                "join" => end(
                    left.arrange_by_key().join_core(right.arrange_by_key(), |key, value, other| Some((*key, *value, *other))),
                    &probe,
                    &counted,
                ),
                "top_3" => end(
                    left.map(|(key, value)| (key, Reverse(value))).reduce(|_, values, output: &mut Vec<(i64, isize)>| {
                        let mut left = 3;
                        for (value, weight) in values {
                            let taken = left.min(*weight);
                            output.push((value.0, taken));
                            left -= taken;
                            if left == 0 {
                                break;
                            }
                        }
                    }),
                    &probe,
                    &counted,
                ),
                other => panic!("there is no operator {other}"),
            }
        });
        let started = Instant::now();
        for (epoch, changes) in shares.iter().enumerate() {
            let epoch = epoch as u64;
            if in_difference {
                for (key, value, _) in changes {
                    summed.update(*key, SumMax { count: 1, sum: *value, max: *value });
                }
            } else {
                let input = if both && epoch % 2 == 1 { &mut second } else { &mut first };
                for (key, value, weight) in changes {
                    input.update((*key, *value), *weight);
                }
            }
            for input in [&mut first, &mut second] {
                input.advance_to(epoch + 1);
                input.flush();
            }
            summed.advance_to(epoch + 1);
            summed.flush();
            worker.step_while(|| probe.less_than(&epoch.saturating_sub(EPOCHS_AHEAD - 1)));
        }
        worker.step_while(|| probe.less_than(&epochs));
        (started.elapsed(), resident_kib())
    })
    .expect("timely starts")
    .join()
    .into_iter()
    .map(|result| result.expect("a worker ends"))
    .max()
    .expect("there is a worker");
    let (elapsed, after) = measured;
    println!("{:.6} {} {}", elapsed.as_secs_f64(), rows_out.load(Ordering::Relaxed), after.saturating_sub(before) >> 10);
}

/// Counts what comes out, and throws it away.
fn end<'scope, D: differential_dataflow::Data>(
    output: VecCollection<'scope, u64, D, isize>,
    probe: &Handle<u64>,
    counted: &Arc<AtomicU64>,
) {
    let counted = Arc::clone(counted);
    output
        .inspect_batch(move |_, changes| {
            counted.fetch_add(changes.len() as u64, Ordering::Relaxed);
        })
        .probe_with(probe);
}

fn share(epoch: u64, epoch_rows: u64, keys: u64, retract: bool, worker: usize, workers: usize) -> Vec<Change> {
    let end = (epoch + 1) * epoch_rows;
    let starts = (epoch * epoch_rows..end).step_by(BATCH_ROWS as usize).enumerate().filter(|(turn, _)| turn % workers == worker);
    starts.flat_map(|(_, start)| start..(start + BATCH_ROWS).min(end)).map(|row| change(row, keys, retract)).collect()
}

fn change(row: u64, keys: u64, retract: bool) -> Change {
    let taken_back = retract && row % 10 == 9 && row >= DISTANCE;
    let source = if taken_back { row - DISTANCE + 5 } else { row };
    ((mix(source) % keys) as i64, (mix(source + (1 << 60)) % 1_000_000) as i64, if taken_back { -1 } else { 1 })
}

/// The finaliser of SplitMix64.
fn mix(number: u64) -> u64 {
    let mut bits = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0)
}
