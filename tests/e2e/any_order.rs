//! The same rows in any order give the same answers: random streams with disorder, rows that come twice or without a time, and partitions without
//! rows; in several orders, cut into epochs in several ways, with 1 to 3 workers, over servers that die and come back. Nothing may be late.
//!
//! ```text
//! one set of rows ──▶ order 1, epochs 1, crashes 1 ──▶ every view ─┐
//!                 ──▶ order 2, epochs 2, crashes 2 ──▶ every view ─┼─ what the rows say, computed here from all of them at once
//!                 ──▶ order 3, epochs 3, crashes 3 ──▶ every view ─┘
//! ```
//!
//! A last row, long after all others, closes all windows but its own. `ANY_ORDER_SEED` says where the random numbers begin, `ANY_ORDER_ORDERS` in
//! how many orders each stream comes (3).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio_postgres::Client;

use crate::client::{TextRow, rows, run, value};
use crate::server::{Server, new_directory};
use crate::windows::{DISORDER_S, Event, Query, SHAPES, START_S, Shape, same};
use crate::{Failure, Outcome, Test, setting};

/// When the last row is, which closes the windows of all others.
const END_S: i64 = 3_000;

/// How long the rows of a stream are spread over.
const SPAN_S: i64 = 400;

/// How far the times of rows may be apart that an interval join brings together: of the other stream's before and behind.
const BEFORE_S: i64 = 5;
const BEHIND_S: i64 = 10;

/// Partitions without rows hold the watermark back for so long. Rows come at shorter intervals, also on a loaded machine.
const IDLE: &str = "8 seconds";

/// What files hold is in views soon; a partition that is idle has to be found to be first.
const PATIENCE: Duration = Duration::from_secs(90);

/// How rows come.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Feed {
    /// By INSERT into a table.
    Table,
    /// By INSERT into a table whose rows only come.
    Growing,
    /// As lines of files, of which one stays empty.
    Files,
}

pub(crate) fn tests() -> Vec<Test> {
    let feeds = [(Feed::Table, "table"), (Feed::Growing, "growing"), (Feed::Files, "files")];
    feeds.into_iter().map(|(feed, name)| Test::new(format!("any-order/{name}"), move || any_order(feed))).collect()
}

async fn any_order(feed: Feed) -> Outcome {
    let seed = setting("ANY_ORDER_SEED", 1_u64) * 10 + feed as u64;
    let mut rng = StdRng::seed_from_u64(seed);
    let streams = [stream(&mut rng, 120), stream(&mut rng, 60)];
    for order in 0..setting("ANY_ORDER_ORDERS", 3_usize) {
        let directory = new_directory()?;
        let played = play(feed, &streams, &directory, StdRng::seed_from_u64(seed * 1_000 + order as u64), order).await;
        std::fs::remove_dir_all(&directory)?;
        played.map_err(|failure| format!("seed {seed}, order {order}: {failure}"))?;
    }
    Ok(())
}

/// The rows of a stream.
fn stream(rng: &mut StdRng, count: i64) -> Vec<Event> {
    let mut events = Vec::new();
    for id in 0..count {
        let at = (rng.random_range(0..15) != 0).then(|| START_S + rng.random_range(0..SPAN_S));
        let v = (rng.random_range(0..8) != 0).then(|| rng.random_range(-5..10));
        let event = Event { id, k: rng.random_range(0..3), at, v };
        events.extend(std::iter::repeat_n(event, if rng.random_range(0..12) == 0 { 2 } else { 1 }));
    }
    events
}

/// An order in which nothing is late: nobody is overtaken by rows that are more than the disorder later.
fn ordered(events: &[Event], rng: &mut StdRng) -> Vec<Event> {
    let mut arrivals: Vec<(i64, u32, Event)> = Vec::new();
    for event in events {
        let at = event.at.unwrap_or_else(|| START_S + rng.random_range(0..SPAN_S));
        arrivals.push((at + rng.random_range(0..=DISORDER_S), rng.random(), *event));
    }
    arrivals.sort_unstable_by_key(|(arrival, tie, _)| (*arrival, *tie));
    arrivals.into_iter().map(|(_, _, event)| event).collect()
}

/// One view, and what it is to show.
struct Subject {
    name: String,
    query: String,
    expected: Vec<TextRow>,
}

async fn play(feed: Feed, streams: &[Vec<Event>; 2], directory: &Path, mut rng: StdRng, order: usize) -> Outcome {
    let mut server = Server::start(1 + order % 3).await?;
    server.checkpoint_every(Some(300));
    let mut client = server.connect().await?;
    let targets = [Target::new(feed, "event", directory), Target::new(feed, "other", directory)];
    for target in &targets {
        target.define(&client).await?;
    }
    let orders = streams.each_ref().map(|events| ordered(events, &mut rng));
    let pieces = pieces(orders, order % 3 == 1, &mut rng);
    let made_before = rng.random_range(0..pieces.len().min(8));
    // While so many views are made no row comes, and a partition that had some would be idle.
    let made_before = if feed == Feed::Files { 0 } else { made_before };
    let last = [Event { id: -1, k: -1, at: Some(END_S), v: None }, Event { id: -1, k: -2, at: Some(END_S), v: None }];
    let subjects = subjects(feed, streams, last);
    for (number, (target, piece)) in pieces.iter().enumerate() {
        if number == made_before {
            for Subject { name, query, .. } in &subjects {
                run(&client, &format!("CREATE MATERIALIZED VIEW {name} AS {query}")).await?;
            }
        }
        targets[*target].bring(&client, piece, &mut rng).await.map_err(|failure| server.with_log(failure))?;
        if rng.random_range(0..36) == 0 {
            server.crash(1 + rng.random_range(0..3)).await?;
            client = server.connect().await?;
        }
    }
    for (target, last) in targets.iter().zip(last) {
        // Of files in each: a partition is as far as its own rows.
        target.close(&client, last).await?;
    }
    let checked = check(&client, feed, &subjects).await;
    checked.map_err(|failure| server.with_log(failure))
}

/// Both streams in pieces, each with the number of its stream. `apart`: the second one before the first.
fn pieces(orders: [Vec<Event>; 2], apart: bool, rng: &mut StdRng) -> Vec<(usize, Vec<Event>)> {
    let mut pieces: Vec<(u32, usize, Vec<Event>)> = Vec::new();
    let longest = [2, 8, 60][rng.random_range(0..3)];
    for (number, events) in orders.into_iter().enumerate() {
        let (mut rest, mut places) = (events.as_slice(), Vec::new());
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(rng.random_range(1..=longest).min(rest.len()));
            pieces.push((0, number, piece.to_vec()));
            places.push(if apart { u32::from(number == 0) } else { rng.random_range(2..1_000_000) });
            rest = behind;
        }
        // In its own order each.
        places.sort_unstable();
        let from = pieces.len() - places.len();
        pieces[from..].iter_mut().zip(places).for_each(|(piece, place)| piece.0 = place);
    }
    pieces.sort_by_key(|(place, ..)| *place);
    pieces.into_iter().map(|(_, number, piece)| (number, piece)).collect()
}

/// Where the rows of a stream go.
struct Target {
    feed: Feed,
    name: &'static str,
    /// The files of its partitions; the last one stays empty.
    files: [PathBuf; 3],
    glob: PathBuf,
}

impl Target {
    fn new(feed: Feed, name: &'static str, directory: &Path) -> Self {
        let file = |partition: usize| directory.join(format!("{name}-{partition}.jsonl"));
        Target { feed, name, files: [file(0), file(1), file(2)], glob: directory.join(format!("{name}-*.jsonl")) }
    }

    async fn define(&self, client: &Client) -> Outcome {
        let columns = format!("id BIGINT, k BIGINT, at TIMESTAMPTZ, v BIGINT, WATERMARK FOR at AS at - INTERVAL '{DISORDER_S} seconds'");
        let name = self.name;
        let sql = match self.feed {
            Feed::Table => format!("CREATE TABLE {name} ({columns})"),
            Feed::Growing => format!("CREATE TABLE {name} ({columns}) APPEND ONLY"),
            Feed::Files => {
                self.files.iter().try_for_each(|file| std::fs::write(file, ""))?;
                let options = format!("connector = 'file', path = '{}', watermark_idle_timeout = '{IDLE}'", self.glob.display());
                format!("CREATE SOURCE {name} ({columns}) WITH ({options}) FORMAT PLAIN ENCODE JSON")
            }
        };
        run(client, &sql).await
    }

    /// The next rows, in one epoch or more.
    async fn bring(&self, client: &Client, piece: &[Event], rng: &mut StdRng) -> Outcome {
        if self.feed == Feed::Files {
            // The partition is the row's own: in another order it is the same one.
            return piece.iter().try_for_each(|event| append(&self.files[event.id.rem_euclid(2) as usize], event));
        }
        let mut statements: Vec<String> = Vec::new();
        let parts = piece.chunks(rng.random_range(1..=piece.len()));
        statements.extend(parts.map(|part| {
            let values: Vec<String> = part.iter().map(Event::sql).collect();
            format!("INSERT INTO {} VALUES {}", self.name, values.join(", "))
        }));
        if rng.random_range(0..2) == 0 {
            statements.insert(0, "BEGIN".to_owned());
            statements.push("COMMIT".to_owned());
        }
        for statement in statements {
            run(client, &statement).await?;
        }
        Ok(())
    }

    async fn close(&self, client: &Client, last: Event) -> Outcome {
        match self.feed {
            // The other partition with rows gets one that is in no view.
            Feed::Files => {
                append(&self.files[last.id.rem_euclid(2) as usize], &last)?;
                append(&self.files[0], &Event { id: -2, ..last })
            }
            _ => run(client, &format!("INSERT INTO {} VALUES {}", self.name, last.sql())).await,
        }
    }
}

fn append(file: &Path, event: &Event) -> Outcome {
    use std::io::Write;
    let clock = |seconds: i64| format!("{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let at = match event.at {
        Some(at) if at < 0 => format!("\"1969-12-31 {}+00\"", clock(at + 86_400)),
        Some(at) => format!("\"1970-01-01 {}+00\"", clock(at)),
        None => "null".to_owned(),
    };
    let v = event.v.map_or_else(|| "null".to_owned(), |v| v.to_string());
    let mut line = String::new();
    writeln!(line, "{{\"id\": {}, \"k\": {}, \"at\": {at}, \"v\": {v}}}", event.id, event.k)?;
    std::fs::OpenOptions::new().append(true).open(file)?.write_all(line.as_bytes())?;
    Ok(())
}

/// Every view, and what it shows in the end of all rows and the last ones.
fn subjects(feed: Feed, streams: &[Vec<Event>; 2], last: [Event; 2]) -> Vec<Subject> {
    let more = if feed == Feed::Files { vec![Event { id: -2, ..last[0] }] } else { Vec::new() };
    let [events, others] = [0, 1].map(|n| [streams[n].clone(), vec![last[n]]].concat());
    let events = [events, more].concat();
    let mut found = Vec::new();
    for (number, shape) in SHAPES.into_iter().enumerate() {
        for query in [Query::Rows, Query::Groups, Query::Sums] {
            for closes in [false, true] {
                // Sessions of rows that may go have no bound that a grouping could go by.
                if closes && shape.is_session() && feed == Feed::Table && !matches!(query, Query::Rows) {
                    continue;
                }
                let expected = query.answer(&events, &closed(shape.windows(&events), closes));
                found.push(subject(&format!("{query:?}_{number}"), query.sql(&shape.call("event")), closes, expected));
            }
        }
    }
    let tumbling = Shape::Hop { slide: 10, size: 10, offset: 0 };
    let seconds = "extract(epoch FROM window_start)::BIGINT AS s";
    let call = tumbling.call("event");
    let best = format!(
        "SELECT id, {seconds}, v, place FROM (SELECT *, row_number() OVER (PARTITION BY window_start ORDER BY v DESC NULLS LAST, id) AS place FROM {call}) AS w WHERE place <= 3"
    );
    let different = format!("SELECT k, {seconds} FROM (SELECT DISTINCT k, window_start FROM {call}) AS d");
    let by = "OVER (PARTITION BY k ORDER BY at, id";
    let before = format!(
        "SELECT id, k, extract(epoch FROM at)::BIGINT AS s, row_number() {by}) AS n, lag(id) {by}) AS before, \
         sum(v) {by} ROWS 2 PRECEDING)::BIGINT AS three, count(*) {by})::BIGINT AS so_far FROM event"
    );
    let behind = format!("SELECT id, k, lead(id) {by}) AS next, rank() {by}) AS place FROM event");
    for closes in [false, true] {
        found.push(subject("looks_back", before.clone(), closes, looking_back(&events, closes)));
        found.push(subject("looks_ahead", behind.clone(), closes, looking_ahead(&events, closes)));
        let windows = closed(tumbling.windows(&events), closes);
        found.push(subject("best", best.clone(), closes, first_three(&events, &windows)));
        let pairs: BTreeSet<(i64, i64)> = windows.iter().map(|(place, start, _)| (events[*place].k, *start)).collect();
        found.push(subject(
            "different",
            different.clone(),
            closes,
            pairs.into_iter().map(|(k, start)| texts([Some(k), Some(start)])).collect(),
        ));
        for outer in [false, true] {
            let (name, kind) = if outer { ("joined_left", "LEFT JOIN") } else { ("joined", "JOIN") };
            let query = format!(
                "SELECT e.id, o.id AS other, extract(epoch FROM e.at)::BIGINT AS s FROM event e {kind} other o \
                 ON e.k = o.k AND o.at BETWEEN e.at - INTERVAL '{BEFORE_S} seconds' AND e.at + INTERVAL '{BEHIND_S} seconds'"
            );
            found.push(subject(name, query, closes, joined(&events, &others, outer, closes)));
        }
    }
    found
}

fn subject(name: &str, query: String, closes: bool, expected: Vec<TextRow>) -> Subject {
    let (ending, emit) = if closes { ("_at_close", " EMIT ON WINDOW CLOSE") } else { ("", "") };
    Subject { name: format!("{name}{ending}").to_ascii_lowercase(), query: format!("{query}{emit}"), expected }
}

/// Those that the last row closes, if only such are wanted.
fn closed(mut windows: Vec<(usize, i64, i64)>, closes: bool) -> Vec<(usize, i64, i64)> {
    windows.retain(|(_, _, end)| !closes || *end <= END_S - DISORDER_S);
    windows
}

fn texts<const N: usize>(values: [Option<i64>; N]) -> TextRow {
    values.into_iter().map(|value| value.map(|value| value.to_string())).collect()
}

/// The three greatest rows of each window.
fn first_three(events: &[Event], windows: &[(usize, i64, i64)]) -> Vec<TextRow> {
    let mut by_window: BTreeMap<i64, Vec<Event>> = BTreeMap::new();
    windows.iter().for_each(|(place, start, _)| by_window.entry(*start).or_default().push(events[*place]));
    let mut found = Vec::new();
    for (start, mut events) in by_window {
        // NULL is less than any value here.
        events.sort_by_key(|event| (std::cmp::Reverse(event.v), event.id));
        found.extend((1..=3).zip(events).map(|(place, event)| texts([Some(event.id), Some(start), event.v, Some(place)])));
    }
    found
}

/// The rows of each key in the order of time, those without one last.
fn in_order(events: &[Event]) -> BTreeMap<i64, Vec<Event>> {
    let mut by_key: BTreeMap<i64, Vec<Event>> = BTreeMap::new();
    events.iter().for_each(|event| by_key.entry(event.k).or_default().push(*event));
    by_key.values_mut().for_each(|events| events.sort_by_key(|event| (event.at.is_none(), event.at, event.id)));
    by_key
}

/// Whether a row has been passed when all have come: the last ones are not.
fn passed(event: &Event) -> bool {
    event.at.is_some_and(|at| at < END_S)
}

/// Every row with its number, the one before, the sum of three, and how many there were so far.
fn looking_back(events: &[Event], closes: bool) -> Vec<TextRow> {
    let mut found = Vec::new();
    for (k, events) in in_order(events) {
        for (place, event) in events.iter().enumerate().filter(|(_, event)| !closes || passed(event)) {
            let three: Vec<i64> = events[place.saturating_sub(2)..=place].iter().filter_map(|event| event.v).collect();
            let sum = (!three.is_empty()).then(|| three.iter().sum());
            let before = place.checked_sub(1).map(|before| events[before].id);
            // Rows that are equal in the order count for each other.
            let peers = events[place..].iter().take_while(|other| (other.at, other.id) == (event.at, event.id)).count();
            let (number, so_far) = (Some(place as i64 + 1), Some((place + peers) as i64));
            found.push(texts([Some(event.id), Some(k), event.at, number, before, sum, so_far]));
        }
    }
    found
}

/// Every row with the one behind and its rank. The last row of each key waits for another one.
fn looking_ahead(events: &[Event], closes: bool) -> Vec<TextRow> {
    let mut found = Vec::new();
    for (k, events) in in_order(events) {
        let wanted = if closes { events.iter().filter(|event| passed(event)).count().saturating_sub(1) } else { events.len() };
        for (place, event) in events.iter().enumerate().take(wanted) {
            let next = events.get(place + 1).map(|next| next.id);
            let peers = events[..place].iter().rev().take_while(|other| (other.at, other.id) == (event.at, event.id)).count();
            found.push(texts([Some(event.id), Some(k), next, Some((place - peers) as i64 + 1)]));
        }
    }
    found
}

/// Pairs of rows whose times are near each other; in an outer join also rows of the left stream without a partner.
fn joined(events: &[Event], others: &[Event], outer: bool, closes: bool) -> Vec<TextRow> {
    let mut found = Vec::new();
    for event in events {
        // A row without a time is never final, nor are the last ones.
        if closes && event.at.is_none_or(|at| at == END_S) {
            continue;
        }
        let near = |other: &&Event| {
            let apart = event.at.zip(other.at).map(|(at, other)| other - at);
            event.k == other.k && apart.is_some_and(|apart| (-BEFORE_S..=BEHIND_S).contains(&apart))
        };
        let partners: Vec<&Event> = others.iter().filter(near).collect();
        found.extend(partners.iter().map(|other| texts([Some(event.id), Some(other.id), event.at])));
        if outer && partners.is_empty() {
            found.push(texts([Some(event.id), None, event.at]));
        }
    }
    found
}

/// Without the last rows: when all partitions are idle, event time goes on with the clock, and some day passes these, too.
fn settled(rows: &[TextRow]) -> Vec<TextRow> {
    let is_last = |row: &&TextRow| row.first().is_some_and(|first| first.as_deref().is_some_and(|first| first.starts_with('-')));
    rows.iter().filter(|row| !is_last(row)).cloned().collect()
}

async fn check(client: &Client, feed: Feed, subjects: &[Subject]) -> Outcome {
    let deadline = Instant::now() + PATIENCE;
    for Subject { name, expected, .. } in subjects {
        let query = format!("SELECT * FROM {name}");
        while let Err(failure) = same(&settled(expected), settled(&rows(client, &query).await?), name) {
            if feed != Feed::Files || Instant::now() > deadline {
                let late = rows(client, "SELECT name, rows FROM tidemill.late_rows").await?;
                return Err(format!("{failure}\nrows that were late: {late:?}").into());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    let late = value(client, "SELECT coalesce(sum(rows), 0)::BIGINT FROM tidemill.late_rows").await?;
    match late.as_deref() {
        Some("0") => Ok(()),
        other => Err(Failure::from(format!("{other:?} rows were late, and none is"))),
    }
}
