//! How far event time is in each table and source: what WATERMARK FOR and the options beside it mean.
//!
//! ```text
//! partition 0   12:00:07 ─┐
//! partition 1   12:00:03 ─┼─ the least ──▶ watermark 12:00:03      of those that have brought a row lately
//! partition 2   idle     ─┘
//! ```
//!
//! A partition's own watermark is the greatest value of the expression so far. The watermark of all never goes back. When every partition has
//! been idle for the timeout, event time goes on with the clock on the wall, in steps of the timeout: so the last windows close too. It is
//! computed between two epochs, stored with checkpoints, and the same for all workers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, RecordBatch, TimestampMicrosecondArray, new_null_array};
use arrow::compute::cast;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::catalog::{Column, EventTime};
use crate::dataflow::event_time::times_of;
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::plan::{NoSystemRelations, Scalar, Scope, schema_of};
use crate::sql::CreateTable;
use crate::types::{Changes, NOW, ObjectId, SqlType, Value, Watermarks, all_nullable, value_from_text};

/// The option that says how long a partition may be idle.
pub(crate) const IDLE_TIMEOUT: &str = "watermark_idle_timeout";

/// The option that says how far events may lie ahead of the clock.
pub(crate) const MAX_FUTURE: &str = "watermark_max_future";

/// How long a partition of a connector holds the watermark back without a row, unless the options say otherwise.
const IDLE_TIMEOUT_DEFAULT_US: i64 = 60_000_000;

/// Rows that are compared with the clock are compared at least as often.
const CLOCK_STEP_US: i64 = 200_000;

/// A moment to try a watermark with: the first of 2024, at which a day, an hour and a second begin, so that rounding changes nothing.
const SAMPLE_US: i64 = 1_704_067_200_000_000;

/// What is stored of event time with a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredEventTime {
    /// The watermark of all partitions together.
    pub(crate) watermark: Option<i64>,
    /// That of each one.
    pub(crate) partitions: BTreeMap<i32, Option<i64>>,
}

/// Watermarks of one table or source.
#[derive(Clone, Debug)]
pub(crate) struct EventClock {
    idle_timeout_us: Option<i64>,
    partitions: BTreeMap<i32, Partition>,
    watermark: Option<i64>,
}

#[derive(Clone, Copy, Debug)]
struct Partition {
    watermark: Option<i64>,
    /// When it last brought a row, or could not have, by the clock on the wall.
    seen_at: i64,
}

impl EventClock {
    /// As it was stored, if it was.
    pub(crate) fn new(idle_timeout_us: Option<i64>, stored: &StoredEventTime, now: i64) -> Self {
        let partitions = stored.partitions.iter().map(|(number, watermark)| (*number, Partition { watermark: *watermark, seen_at: now }));
        EventClock { idle_timeout_us, partitions: partitions.collect(), watermark: stored.watermark }
    }

    /// Notes rows of a partition, and the greatest value of the expression among them.
    pub(crate) fn note(&mut self, partition: i32, watermark: Option<i64>, now: i64) {
        let known = self.partitions.entry(partition).or_insert(Partition { watermark: None, seen_at: now });
        known.watermark = known.watermark.max(watermark);
        known.seen_at = now;
    }

    /// Partitions that have been found: from now on they hold the watermark back.
    pub(crate) fn expect(&mut self, partitions: impl Iterator<Item = i32>, now: i64) {
        for partition in partitions {
            self.partitions.entry(partition).or_insert(Partition { watermark: None, seen_at: now });
        }
    }

    /// Nobody is idle: rows wait that nobody has looked at, or cannot be read at the moment.
    pub(crate) fn keep_awake(&mut self, now: i64) {
        self.partitions.values_mut().for_each(|partition| partition.seen_at = now);
    }

    /// The watermark at this moment.
    pub(crate) fn advance(&mut self, now: i64) -> Option<i64> {
        let timeout = self.idle_timeout_us;
        let active = |partition: &&Partition| timeout.is_none_or(|timeout| now.saturating_sub(partition.seen_at) < timeout);
        let mut active = self.partitions.values().filter(active).peekable();
        let reached = if active.peek().is_some() {
            active.map(|partition| partition.watermark).min().flatten()
        } else {
            let furthest = self.partitions.values().filter_map(|partition| partition.watermark).max();
            furthest.zip(self.idle_for(now)).map(|(watermark, idle)| watermark.saturating_add(idle))
        };
        self.watermark = self.watermark.max(reached);
        self.watermark
    }

    /// How long all have been idle, in whole timeouts.
    fn idle_for(&self, now: i64) -> Option<i64> {
        let timeout = self.idle_timeout_us?;
        let last = self.partitions.values().map(|partition| partition.seen_at).max()?;
        Some(now.saturating_sub(last).div_euclid(timeout).saturating_mul(timeout))
    }

    /// When the watermark may move without a row.
    pub(crate) fn next_look(&self, now: i64) -> Option<i64> {
        let timeout = self.idle_timeout_us?;
        let next = |partition: &Partition| {
            let idle = now.saturating_sub(partition.seen_at).max(0).div_euclid(timeout).saturating_add(1);
            partition.seen_at.saturating_add(idle.saturating_mul(timeout))
        };
        self.partitions.values().map(next).min()
    }

    /// Partitions, and those among them that are idle.
    pub(crate) fn partitions(&self, now: i64) -> (usize, usize) {
        let idle = |partition: &&Partition| self.idle_timeout_us.is_some_and(|timeout| now.saturating_sub(partition.seen_at) >= timeout);
        (self.partitions.len(), self.partitions.values().filter(idle).count())
    }

    /// For a checkpoint.
    pub(crate) fn stored(&self) -> StoredEventTime {
        let partitions = self.partitions.iter().map(|(number, partition)| (*number, partition.watermark));
        StoredEventTime { watermark: self.watermark, partitions: partitions.collect() }
    }
}

/// What can be seen of event time from outside: `tidemill.watermarks`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EventTimeReport {
    pub(crate) watermark: Option<i64>,
    pub(crate) partitions: usize,
    pub(crate) idle_partitions: usize,
}

/// Event time in everything that has one, as the coordinator moves it from epoch to epoch.
pub(crate) struct EventTimes {
    objects: BTreeMap<ObjectId, (EventRule, EventClock)>,
    watermarks: Arc<Watermarks>,
    reports: Arc<Mutex<BTreeMap<ObjectId, EventTimeReport>>>,
    /// When a watermark may move without a row, by the clock on the wall.
    due: Option<i64>,
    /// Whether rows are compared with the clock.
    follows_clock: bool,
}

impl EventTimes {
    /// Of nothing yet. `reports`: where it is told.
    pub(crate) fn new(reports: Arc<Mutex<BTreeMap<ObjectId, EventTimeReport>>>) -> Self {
        EventTimes { objects: BTreeMap::new(), watermarks: Arc::default(), reports, due: None, follows_clock: false }
    }

    /// Takes a table or source, as it was stored.
    pub(crate) fn add(&mut self, object: ObjectId, rule: EventRule, stored: &StoredEventTime, now: i64) {
        let clock = EventClock::new(rule.idle_timeout_us, stored, now);
        self.objects.insert(object, (rule, clock));
        self.advance(now);
    }

    /// The object has other columns.
    pub(crate) fn move_rule(&mut self, object: ObjectId, moved: EventRule) {
        if let Some((rule, _)) = self.objects.get_mut(&object) {
            *rule = moved;
        }
    }

    /// The object is gone.
    pub(crate) fn remove(&mut self, object: ObjectId) {
        if self.objects.remove(&object).is_some() {
            self.reports.lock().remove(&object);
            Arc::make_mut(&mut self.watermarks).remove(&object);
        }
    }

    /// The objects whose event time is followed.
    pub(crate) fn objects(&self) -> Vec<ObjectId> {
        self.objects.keys().copied().collect()
    }

    /// Rows that statements have written.
    pub(crate) fn wrote(&mut self, object: ObjectId, changes: &Changes, now: i64) {
        let Some((rule, clock)) = self.objects.get_mut(&object) else { return };
        match rule.watermark(changes) {
            // Rows that go bring no news.
            Ok(None) if (0..changes.len()).all(|row| changes.weight(row) < 0) => {}
            Ok(watermark) => clock.note(0, watermark, now),
            Err(error) => tracing::warn!(object, %error, "a watermark could not be computed"),
        }
    }

    /// Rows that a connector has read.
    pub(crate) fn read(&mut self, object: ObjectId, partition: i32, watermark: Option<i64>, now: i64) {
        if let Some((_, clock)) = self.objects.get_mut(&object) {
            clock.note(partition, watermark, now);
        }
    }

    /// Whether the object's rows say what time it is.
    pub(crate) fn follows(&self, object: ObjectId) -> bool {
        self.objects.contains_key(&object)
    }

    /// How far rows of an object say that event time is; `None` too if they do not say it.
    pub(crate) fn told_by(&self, object: ObjectId, changes: &Changes) -> Result<Option<i64>> {
        self.objects.get(&object).map_or(Ok(None), |(rule, _)| rule.watermark(changes))
    }

    /// What is known of a connector: its partitions, and whether it is to be taken for busy.
    pub(crate) fn look(&mut self, object: ObjectId, partitions: Vec<i32>, busy: bool, now: i64) {
        let Some((_, clock)) = self.objects.get_mut(&object) else { return };
        clock.expect(partitions.into_iter(), now);
        if busy {
            clock.keep_awake(now);
        }
    }

    /// Moves watermarks to where they were, as far as they are known here, but for those of `unread`: rows that led there are still to come. Nobody
    /// is idle: where that led to is among them. Says whether one has moved.
    pub(crate) fn raise(&mut self, watermarks: &Watermarks, unread: &BTreeSet<ObjectId>, now: i64) -> bool {
        let before = Arc::clone(&self.watermarks);
        for (object, (_, clock)) in self.objects.iter_mut().filter(|(object, _)| !unread.contains(object)) {
            clock.watermark = clock.watermark.max(watermarks.get(object).copied());
        }
        self.keep_awake(now);
        if let Some(clock) = watermarks.get(&NOW) {
            self.move_clock(*clock);
        }
        self.advance(now);
        self.watermarks.iter().any(|(object, watermark)| before.get(object) != Some(watermark))
    }

    /// Nothing is idle, since nothing ran.
    pub(crate) fn keep_awake(&mut self, now: i64) {
        self.objects.values_mut().for_each(|(_, clock)| clock.keep_awake(now));
    }

    /// Whether anything goes by the clock: then it stands among the watermarks.
    pub(crate) fn follow_clock(&mut self, follows: bool, now: i64) {
        if follows == self.follows_clock {
            return;
        }
        self.follows_clock = follows;
        match follows {
            true => self.move_clock(now),
            false => {
                Arc::make_mut(&mut self.watermarks).remove(&NOW);
                self.reports.lock().remove(&NOW);
            }
        }
        self.advance(now);
    }

    /// Moves the clock, if anything goes by it, to where an epoch was closed: rows of the next one arrive later.
    pub(crate) fn move_clock(&mut self, closed_at: i64) {
        if self.follows_clock && self.watermarks.get(&NOW).is_none_or(|before| *before < closed_at) {
            Arc::make_mut(&mut self.watermarks).insert(NOW, closed_at);
        }
    }

    /// Moves the watermarks of tables and sources to where they are.
    pub(crate) fn advance(&mut self, now: i64) {
        if self.objects.is_empty() && !self.follows_clock && self.watermarks.is_empty() {
            self.due = None;
            return;
        }
        let clock = self.watermarks.get_key_value(&NOW).map(|(object, clock)| (*object, *clock));
        let reached = self.objects.iter_mut().filter_map(|(object, (_, clock))| Some((*object, clock.advance(now)?)));
        let reached: Watermarks = clock.into_iter().chain(reached).collect();
        if *self.watermarks != reached {
            self.watermarks = Arc::new(reached);
        }
        let clock_ticks = self.follows_clock.then(|| now.saturating_add(CLOCK_STEP_US));
        self.due = self.objects.values().filter_map(|(_, clock)| clock.next_look(now)).chain(clock_ticks).min();
        let mut reports = self.reports.lock();
        if let Some(clock) = self.watermarks.get(&NOW) {
            reports.entry(NOW).or_default().watermark = Some(*clock);
        }
        for (object, (_, clock)) in &self.objects {
            let (partitions, idle_partitions) = clock.partitions(now);
            let report = reports.entry(*object).or_default();
            *report = EventTimeReport { watermark: clock.watermark, partitions, idle_partitions };
        }
    }

    /// The watermarks after the newest epoch.
    pub(crate) fn watermarks(&self) -> Arc<Watermarks> {
        Arc::clone(&self.watermarks)
    }

    /// When a watermark may move without a row.
    pub(crate) fn due(&self) -> Option<i64> {
        self.due
    }

    /// What a checkpoint holds of an object.
    pub(crate) fn stored(&self, object: ObjectId) -> Option<StoredEventTime> {
        self.objects.get(&object).map(|(_, clock)| clock.stored())
    }
}

/// How the rows of a table or source tell event time.
#[derive(Clone)]
pub(crate) struct EventRule {
    /// Position of the column that says when an event was.
    pub(crate) column: usize,
    /// Its name.
    pub(crate) name: String,
    /// Over the object's columns.
    watermark: Scalar,
    pub(crate) idle_timeout_us: Option<i64>,
    pub(crate) max_future_us: Option<i64>,
}

impl EventRule {
    /// The watermark that rows bring: the greatest value of the expression, of those that come.
    pub(crate) fn watermark(&self, changes: &Changes) -> Result<Option<i64>> {
        if changes.is_empty() {
            return Ok(None);
        }
        let values = self.watermark.array(changes.rows())?;
        let times = times_of(&values)?;
        let coming = (0..changes.len()).filter(|row| changes.weight(*row) > 0 && values.is_valid(*row));
        Ok(coming.map(|row| times[row]).max())
    }

    /// Whether the watermark that a row brings is above its own time: rows that come in order may be late then. `columns`: the object's.
    pub(crate) fn runs_ahead(&self, columns: &[Column]) -> Result<bool> {
        let schema = all_nullable(&schema_of(columns));
        let values = schema.fields().iter().enumerate().map(|(at, field)| match at == self.column {
            true => cast(&TimestampMicrosecondArray::from(vec![SAMPLE_US]), field.data_type()),
            false => Ok(new_null_array(field.data_type(), 1)),
        });
        let row = RecordBatch::try_new(Arc::clone(&schema), values.collect::<std::result::Result<_, _>>()?)?;
        let watermark = self.watermark.array(&row)?;
        Ok(watermark.is_valid(0) && times_of(&watermark)?[0] > SAMPLE_US)
    }
}

impl Engine {
    /// How the rows of an object with these columns tell event time. `42804`, `42P17` for an expression that cannot.
    pub(crate) fn event_rule(&self, columns: &[Column], event_time: &EventTime) -> Result<EventRule> {
        let EventTime { column: name, watermark, idle_timeout_us, max_future_us } = event_time;
        let column = columns.iter().position(|column| column.name == *name);
        let column =
            column.ok_or_else(|| Error::new(Kind::UndefinedColumn, format!("column \"{name}\" named in WATERMARK does not exist")))?;
        if columns[column].is_arrival() {
            return Err(Error::new(Kind::InvalidObjectDefinition, format!("\"{name}\" is PROCTIME(): its watermark is the clock"))
                .hint("Leave WATERMARK FOR out: windows over it close by themselves."));
        }
        let declared = &columns[column].sql_type;
        // The watermark of a timestamp(3) need not be one.
        let sql_type = declared.whole();
        if !matches!(sql_type, SqlType::Timestamp | SqlType::Timestamptz) {
            return Err(Error::new(Kind::DatatypeMismatch, format!("the watermark column \"{name}\" is of type {declared}"))
                .hint("It must be a timestamp or timestamptz; a generated column can make one: ts TIMESTAMPTZ GENERATED ALWAYS AS (to_timestamp(seconds)) STORED."));
        }
        let catalog = self.catalog();
        let scope = Scope { catalog: &catalog, search_path: &[], relations: &NoSystemRelations, text: watermark };
        let scalar = self.planner.table_expression_text(watermark, columns, sql_type, &scope)?;
        if !self.planner.never_falls(&scalar, column) {
            let message = format!("the watermark of \"{name}\" must follow from \"{name}\" alone, and never fall when that rises");
            return Err(Error::new(Kind::InvalidObjectDefinition, message)
                .hint(format!("As a rule: WATERMARK FOR {name} AS {name} - INTERVAL '5 seconds'.")));
        }
        Ok(EventRule { column, name: name.clone(), watermark: scalar, idle_timeout_us: *idle_timeout_us, max_future_us: *max_future_us })
    }
}

/// What WATERMARK FOR and the options say of event time; the options are taken out of `create`.
pub(crate) fn event_time(create: &mut CreateTable) -> Result<Option<EventTime>> {
    let has_connector = create.options.contains_key("connector");
    let idle_timeout = create.options.remove(IDLE_TIMEOUT);
    let max_future = create.options.remove(MAX_FUTURE);
    let Some((column, watermark)) = &create.watermark else {
        let named = [(IDLE_TIMEOUT, idle_timeout), (MAX_FUTURE, max_future)].into_iter().find_map(|(name, value)| value.map(|_| name));
        return match named {
            None => Ok(None),
            Some(name) => Err(Error::new(Kind::InvalidParameter, format!("option \"{name}\" needs a watermark"))
                .hint("Say when events were: WATERMARK FOR ts AS ts - INTERVAL '5 seconds'.")),
        };
    };
    // Who writes by hand takes pauses that mean nothing.
    let default = has_connector.then_some(IDLE_TIMEOUT_DEFAULT_US);
    Ok(Some(EventTime {
        column: column.clone(),
        watermark: watermark.to_string(),
        idle_timeout_us: idle_timeout.map_or(Ok(default), |text| duration(IDLE_TIMEOUT, &text))?,
        max_future_us: max_future.map_or(Ok(None), |text| duration(MAX_FUTURE, &text))?,
    }))
}

/// An interval in microseconds; `None` for 0 and `never`.
pub(crate) fn duration(option: &str, text: &str) -> Result<Option<i64>> {
    let invalid = || {
        Error::new(Kind::InvalidParameter, format!("invalid value \"{text}\" for option \"{option}\""))
            .hint("It is an interval without months, which have no fixed length, like '30 days' or '30 seconds'; or 'never'.")
    };
    if text.trim().eq_ignore_ascii_case("never") {
        return Ok(None);
    }
    let Ok(Value::Interval(interval)) = value_from_text(&SqlType::Interval, text.trim()) else { return Err(invalid()) };
    let micros = i64::from(interval.days).checked_mul(86_400_000_000).and_then(|days| days.checked_add(interval.nanoseconds / 1_000));
    match micros.filter(|micros| interval.months == 0 && *micros >= 0) {
        Some(0) => Ok(None),
        Some(micros) => Ok(Some(micros)),
        None => Err(invalid()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{CLOCK_STEP_US, EventClock, EventTimes, StoredEventTime};

    const SECOND: i64 = 1_000_000;

    fn clock(idle: Option<i64>) -> EventClock {
        EventClock::new(idle, &StoredEventTime::default(), 0)
    }

    #[test]
    fn the_slowest_partition_decides_until_it_is_idle() {
        let mut clock = clock(Some(60 * SECOND));
        clock.expect(0..2, 0);
        clock.note(0, Some(100), 0);
        assert_eq!(clock.advance(SECOND), None, "partition 1 may have anything");
        clock.note(1, Some(40), 2 * SECOND);
        assert_eq!(clock.advance(2 * SECOND), Some(40));
        clock.note(1, Some(30), 3 * SECOND);
        assert_eq!(clock.advance(3 * SECOND), Some(40), "what comes out of order moves nothing");
        clock.note(0, Some(200), 50 * SECOND);
        assert_eq!(clock.next_look(50 * SECOND), Some(63 * SECOND));
        assert_eq!(clock.advance(63 * SECOND), Some(200), "partition 1 has been idle for a minute");
        assert_eq!(clock.partitions(63 * SECOND), (2, 1));
        clock.note(1, Some(50), 64 * SECOND);
        assert_eq!(clock.advance(64 * SECOND), Some(200), "a watermark never goes back");
    }

    #[test]
    fn the_clock_was_due_for_ever_when_nothing_went_by_it_any_more() {
        let mut times = EventTimes::new(Arc::default());
        times.advance(SECOND);
        assert_eq!(times.due(), None);
        times.follow_clock(true, 2 * SECOND);
        assert_eq!(times.due(), Some(2 * SECOND + CLOCK_STEP_US));
        times.move_clock(3 * SECOND);
        times.advance(3 * SECOND);
        assert_eq!(times.due(), Some(3 * SECOND + CLOCK_STEP_US));
        // The last view with now() is dropped.
        times.follow_clock(false, 3 * SECOND);
        assert_eq!((times.due(), times.watermarks().len()), (None, 0));
        times.advance(9 * SECOND);
        assert_eq!(times.due(), None);
    }

    #[test]
    fn an_idle_source_goes_on_with_the_wall_clock() {
        let mut clock = clock(Some(10 * SECOND));
        clock.note(0, Some(1_000 * SECOND), 0);
        assert_eq!(clock.advance(9 * SECOND), Some(1_000 * SECOND));
        assert_eq!(clock.advance(10 * SECOND), Some(1_010 * SECOND));
        assert_eq!(clock.advance(19 * SECOND), Some(1_010 * SECOND));
        assert_eq!((clock.next_look(19 * SECOND), clock.advance(20 * SECOND)), (Some(20 * SECOND), Some(1_020 * SECOND)));
        clock.keep_awake(25 * SECOND);
        assert_eq!(clock.advance(30 * SECOND), Some(1_020 * SECOND), "rows wait: it is not idle");
        let restored = EventClock::new(None, &clock.stored(), 0).advance(1_000_000 * SECOND);
        assert_eq!(restored, Some(1_020 * SECOND), "without a timeout nothing moves by itself");
    }
}
