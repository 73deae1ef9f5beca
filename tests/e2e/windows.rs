//! Windows of time against a second implementation: random streams, with rows out of order, twice or without a time, with rows that change and
//! go, into views over TUMBLE, HOP, CUMULATE and SESSION, while servers die and come back with other numbers of workers.
//!
//! What a window is, is written down here once more, as plainly as it can be: every window that there may be, and the rows in it. A view has the
//! windows of all rows; a view that emits on window close has those that end at the watermark or before, and no others.
//!
//! `WINDOWS_ROUNDS` says how many batches of rows each stream has (16), `WINDOWS_SEED` where the random numbers begin.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio_postgres::Client;

use crate::client::{TextRow, rows, run, value};
use crate::server::Server;
use crate::{Outcome, Test, setting};

/// Rows come in at most so many seconds out of order, and the watermark is as far behind.
pub(crate) const DISORDER_S: i64 = 20;

/// The first moment of a stream: an hour before 1970 ends, so that times are below zero and above it.
pub(crate) const START_S: i64 = -600;

/// Windows by the SQL that calls them and by what they are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    Hop { slide: i64, size: i64, offset: i64 },
    Cumulate { step: i64, size: i64, offset: i64 },
    Session { gap: i64 },
}

/// The windows that are tried.
pub(crate) const SHAPES: [Shape; 8] = [
    Shape::Hop { slide: 10, size: 10, offset: 0 },
    Shape::Hop { slide: 30, size: 30, offset: -7 },
    Shape::Hop { slide: 5, size: 20, offset: 0 },
    Shape::Hop { slide: 8, size: 20, offset: 3 },
    Shape::Cumulate { step: 10, size: 30, offset: 0 },
    Shape::Cumulate { step: 5, size: 60, offset: 12 },
    Shape::Session { gap: 6 },
    Shape::Session { gap: 15 },
];

impl Shape {
    /// The table function over `table`.
    pub(crate) fn call(self, table: &str) -> String {
        let seconds = |seconds: i64| format!("INTERVAL '{seconds} seconds'");
        match self {
            Shape::Hop { slide, size, offset } if slide == size => {
                format!("TUMBLE({table}, at, {}, {})", seconds(size), seconds(offset))
            }
            Shape::Hop { slide, size, offset } => {
                format!("TABLE(HOP(TABLE {table}, DESCRIPTOR(at), {}, {}, {}))", seconds(slide), seconds(size), seconds(offset))
            }
            Shape::Cumulate { step, size, offset } => {
                format!("CUMULATE({table}, at, {}, {}, {})", seconds(step), seconds(size), seconds(offset))
            }
            Shape::Session { gap } => format!("SESSION({table} PARTITION BY k, at, {})", seconds(gap)),
        }
    }

    pub(crate) fn is_session(self) -> bool {
        matches!(self, Shape::Session { .. })
    }

    /// Every window of every row that has a time: the row's place, start, end.
    pub(crate) fn windows(self, events: &[Event]) -> Vec<(usize, i64, i64)> {
        let timed = events.iter().enumerate().filter_map(|(place, event)| Some((place, event.k, event.at?)));
        let range = |width: i64| (-2_000 / width - 2)..(4_000 / width + 2);
        match self {
            Shape::Hop { slide, size, offset } => timed
                .flat_map(|(place, _, at)| range(slide).map(move |k| (place, at, k * slide + offset)))
                .filter(|(_, at, start)| start <= at && *at < start + size)
                .map(|(place, _, start)| (place, start, start + size))
                .collect(),
            Shape::Cumulate { step, size, offset } => timed
                .flat_map(|(place, _, at)| range(size).map(move |k| (place, at, k * size + offset)))
                .flat_map(|(place, at, start)| (1..=size / step).map(move |steps| (place, at, start, start + steps * step)))
                .filter(|(_, at, start, end)| start <= at && at < end)
                .map(|(place, _, start, end)| (place, start, end))
                .collect(),
            Shape::Session { gap } => {
                let mut keys: BTreeMap<i64, Vec<(i64, usize)>> = BTreeMap::new();
                timed.for_each(|(place, k, at)| keys.entry(k).or_default().push((at, place)));
                keys.into_values()
                    .flat_map(|mut rows| {
                        rows.sort_unstable();
                        let sessions = rows.chunk_by(|left, right| right.0 - left.0 < gap);
                        let of = |session: &[(i64, usize)]| {
                            let (start, end) = (session[0].0, session[session.len() - 1].0 + gap);
                            session.iter().map(move |(_, place)| (*place, start, end)).collect::<Vec<_>>()
                        };
                        sessions.flat_map(of).collect::<Vec<_>>()
                    })
                    .collect()
            }
        }
    }
}

/// A row of a stream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) id: i64,
    pub(crate) k: i64,
    /// Seconds.
    pub(crate) at: Option<i64>,
    pub(crate) v: Option<i64>,
}

impl Event {
    pub(crate) fn sql(&self) -> String {
        let at = self.at.map_or_else(|| "NULL".to_owned(), |at| format!("to_timestamp({at})"));
        let v = self.v.map_or_else(|| "NULL".to_owned(), |v| v.to_string());
        format!("({}, {}, {at}, {v})", self.id, self.k)
    }
}

/// A table that a stream goes into.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// Rows come and go, whatever time it is.
    Timeless,
    /// Rows come, none of them late.
    Growing,
    /// Rows come, and go while their windows are open.
    Changing,
}

impl Kind {
    fn definition(self) -> String {
        let watermark =
            if self == Kind::Timeless { String::new() } else { format!(", WATERMARK FOR at AS at - INTERVAL '{DISORDER_S} seconds'") };
        let append_only = if self == Kind::Growing { " APPEND ONLY" } else { "" };
        format!("CREATE TABLE event (id BIGINT, k BIGINT, at TIMESTAMPTZ, v BIGINT{watermark}){append_only}")
    }

    fn has_watermark(self) -> bool {
        self != Kind::Timeless
    }
}

/// What a view over windows shows.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Query {
    /// Each row with each of its windows.
    Rows,
    /// Windows by key, with what adds up and what does not.
    Groups,
    /// Windows by key, with what slices can be made of.
    Sums,
}

impl Query {
    pub(crate) fn sql(self, call: &str) -> String {
        let bounds = "extract(epoch FROM window_start)::BIGINT AS s, extract(epoch FROM window_end)::BIGINT AS e";
        match self {
            Query::Rows => format!("SELECT id, {bounds}, v FROM {call}"),
            Query::Groups => format!(
                "SELECT k, {bounds}, count(*) AS n, count(DISTINCT v) AS different, max(v) AS most FROM {call} GROUP BY k, window_start, window_end"
            ),
            Query::Sums => format!("SELECT k, {bounds}, count(*) AS n, sum(v) AS total FROM {call} GROUP BY k, window_start, window_end"),
        }
    }

    /// The rows that it has over some windows.
    pub(crate) fn answer(self, events: &[Event], windows: &[(usize, i64, i64)]) -> Vec<TextRow> {
        let text = |value: i64| Some(value.to_string());
        if let Query::Rows = self {
            let row = |(place, start, end): &(usize, i64, i64)| {
                vec![text(events[*place].id), text(*start), text(*end), events[*place].v.and_then(text)]
            };
            return windows.iter().map(row).collect();
        }
        let mut groups: BTreeMap<(i64, i64, i64), Vec<Option<i64>>> = BTreeMap::new();
        for (place, start, end) in windows {
            groups.entry((events[*place].k, *start, *end)).or_default().push(events[*place].v);
        }
        let row = |((k, start, end), values): (&(i64, i64, i64), &Vec<Option<i64>>)| {
            let known = || values.iter().flatten();
            let mut row = vec![text(*k), text(*start), text(*end), text(values.len() as i64)];
            match self {
                Query::Sums => row.push(known().copied().reduce(|left, right| left + right).and_then(text)),
                _ => row.extend([text(known().collect::<BTreeSet<_>>().len() as i64), known().max().copied().and_then(text)]),
            }
            row
        };
        groups.iter().map(row).collect()
    }
}

/// One view, and what it is to show.
struct Subject {
    name: String,
    shape: Shape,
    query: Query,
    /// Windows come out once, when they are over.
    closes: bool,
}

/// A stream on its way into its table.
struct Stream {
    kind: Kind,
    rng: StdRng,
    now: i64,
    next_id: i64,
    watermark: Option<i64>,
    events: Vec<Event>,
}

/// Each kind of table with each number of workers.
pub(crate) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for (kind, name) in [(Kind::Timeless, "timeless"), (Kind::Growing, "growing"), (Kind::Changing, "changing")] {
        for workers in 1..=3 {
            tests.push(Test::new(format!("windows/{name}/{workers}"), move || windows(kind, workers)));
        }
    }
    tests
}

async fn windows(kind: Kind, workers: usize) -> Outcome {
    let seed = setting("WINDOWS_SEED", 1_u64) * 100 + workers as u64 * 10 + kind as u64;
    let rng = StdRng::seed_from_u64(seed);
    let mut stream = Stream { kind, rng, now: START_S, next_id: 0, watermark: None, events: Vec::new() };
    let mut server = Server::start(workers).await?;
    let mut client = server.connect().await?;
    run(&client, &kind.definition()).await?;
    let mut subjects = Vec::new();
    let (before, rounds) = (stream.rng.random_range(0..6), setting("WINDOWS_ROUNDS", 16_usize));
    for round in 0..rounds {
        // Some rows are there before the views are.
        if round == before {
            subjects = views(&client, kind).await?;
        }
        stream.step(&client).await.map_err(|failure| server.with_log(failure))?;
        if stream.rng.random_range(0..8) == 0 {
            server.crash(1 + stream.rng.random_range(0..3)).await?;
            client = server.connect().await?;
        }
        if stream.rng.random_range(0..3) == 0 || round + 1 == rounds {
            check(&client, &stream, &subjects)
                .await
                .map_err(|failure| server.with_log(format!("seed {seed}, round {round}: {failure}")))?;
        }
    }
    let late = value(&client, "SELECT coalesce(sum(rows), 0)::BIGINT FROM tidemill.late_rows").await?;
    if late.as_deref() == Some("0") { Ok(()) } else { Err(server.with_log(format!("seed {seed}: {late:?} rows were late, and none is"))) }
}

/// Every shape with every query, and once more as it closes.
async fn views(client: &Client, kind: Kind) -> Result<Vec<Subject>, crate::Failure> {
    let mut subjects = Vec::new();
    for (number, shape) in SHAPES.into_iter().enumerate() {
        for query in [Query::Rows, Query::Groups, Query::Sums] {
            for closes in [false, true] {
                // Sessions of rows that may go have no bound that a grouping could go by.
                let bounded = matches!(query, Query::Rows) || !shape.is_session() || kind == Kind::Growing;
                if closes && !(kind.has_watermark() && bounded) {
                    continue;
                }
                let name = format!("{query:?}_{number}_{closes}").to_ascii_lowercase();
                let emit = if closes { " EMIT ON WINDOW CLOSE" } else { "" };
                run(client, &format!("CREATE MATERIALIZED VIEW {name} AS {}{emit}", query.sql(&shape.call("event")))).await?;
                subjects.push(Subject { name, shape, query, closes });
            }
        }
    }
    Ok(subjects)
}

async fn check(client: &Client, stream: &Stream, subjects: &[Subject]) -> Outcome {
    for Subject { name, shape, query, closes } in subjects {
        let mut windows = shape.windows(&stream.events);
        if *closes {
            windows.retain(|(_, _, end)| stream.watermark.is_some_and(|watermark| *end <= watermark));
        }
        same(&query.answer(&stream.events, &windows), rows(client, &format!("SELECT * FROM {name}")).await?, name)?;
    }
    // What a query finds that is no view.
    for (shape, query) in [(SHAPES[3], Query::Sums), (SHAPES[5], Query::Groups), (SHAPES[6], Query::Rows)] {
        let expected = query.answer(&stream.events, &shape.windows(&stream.events));
        same(&expected, rows(client, &query.sql(&shape.call("event"))).await?, "a query")?;
    }
    Ok(())
}

/// Whether a view has the rows that it is to have.
pub(crate) fn same(expected: &[TextRow], mut found: Vec<TextRow>, name: &str) -> Outcome {
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    found.sort_unstable();
    if expected == found {
        return Ok(());
    }
    let missing: Vec<&TextRow> = expected.iter().filter(|row| !found.contains(row)).take(5).collect();
    let extra: Vec<&TextRow> = found.iter().filter(|row| !expected.contains(row)).take(5).collect();
    Err(format!("{name} has {} rows and not {}: without {missing:?}, but with {extra:?}", found.len(), expected.len()).into())
}

impl Stream {
    /// The next rows, after some others have changed or gone. Whether a statement is an epoch of its own does not matter.
    async fn step(&mut self, client: &Client) -> Outcome {
        let mut statements = Vec::new();
        if self.kind != Kind::Growing {
            let mut changed = BTreeSet::new();
            for _ in 0..self.rng.random_range(0..6) {
                statements.extend(self.change(&mut changed));
            }
        }
        // Now and then nothing happens for longer than any session lasts.
        self.now += if self.rng.random_range(0..6) == 0 { 70 } else { self.rng.random_range(0..12) };
        let mut came: Vec<Event> = (0..self.rng.random_range(1..25)).map(|_| self.event()).collect();
        if self.rng.random_range(0..3) == 0 {
            came.push(came[0]);
        }
        let values: Vec<String> = came.iter().map(Event::sql).collect();
        statements.push(format!("INSERT INTO event VALUES {}", values.join(", ")));
        self.events.extend(came);
        if self.rng.random_range(0..2) == 0 {
            statements.insert(0, "BEGIN".to_owned());
            statements.push("COMMIT".to_owned());
        }
        for statement in statements {
            run(client, &statement).await?;
        }
        let greatest = self.events.iter().filter_map(|event| event.at).max();
        self.watermark = self.watermark.max(greatest.filter(|_| self.kind.has_watermark()).map(|at| at - DISORDER_S));
        Ok(())
    }

    fn event(&mut self) -> Event {
        self.next_id += 1;
        let at = (self.rng.random_range(0..12) != 0).then(|| self.now + self.rng.random_range(0..DISORDER_S));
        let v = (self.rng.random_range(0..8) != 0).then(|| self.rng.random_range(-5..10));
        Event { id: self.next_id, k: self.rng.random_range(0..3), at, v }
    }

    /// A row that goes, or changes, and may; none of those that did so just now.
    fn change(&mut self, changed: &mut BTreeSet<i64>) -> Option<String> {
        let open = |event: &&Event| event.at.is_none_or(|at| self.watermark.is_none_or(|watermark| at >= watermark));
        let ids: Vec<i64> = self.events.iter().filter(open).map(|event| event.id).filter(|id| !changed.contains(id)).collect();
        let id = *ids.get(self.rng.random_range(0..ids.len().max(1)))?;
        changed.insert(id);
        match self.rng.random_range(0..3) {
            0 => {
                self.events.retain(|event| event.id != id);
                Some(format!("DELETE FROM event WHERE id = {id}"))
            }
            1 => {
                let v = self.rng.random_range(10..20);
                self.events.iter_mut().filter(|event| event.id == id).for_each(|event| event.v = Some(v));
                Some(format!("UPDATE event SET v = {v} WHERE id = {id}"))
            }
            _ => {
                let at = self.now + self.rng.random_range(0..DISORDER_S);
                self.events.iter_mut().filter(|event| event.id == id).for_each(|event| event.at = Some(at));
                Some(format!("UPDATE event SET at = to_timestamp({at}) WHERE id = {id}"))
            }
        }
    }
}
