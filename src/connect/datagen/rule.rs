//! What the options say about each column: numbers and times that follow each other, or are drawn from a range.

use arrow::compute::kernels::cast_utils::{parse_interval_month_day_nano, string_to_datetime};
use chrono::Utc;

use crate::connect::generator::{Draw, OptionReader};
use crate::error::Result;

/// Reads the options `fields.<column>.…`, and remembers which there could be.
pub(super) struct Rules<'a> {
    options: OptionReader<'a>,
    known: Vec<String>,
    /// One past the last row that every sequence has a value for.
    end: u64,
    /// How many columns have been looked at: each draws values of its own.
    columns: u64,
}

/// What a whole number (or a time, counted in its smallest unit) becomes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Whole {
    /// Row `n` has `start + n * step`.
    Sequence { start: i64, step: i64 },
    /// Any from `min` to `max`, both included.
    Random { min: i64, max: i64 },
}

/// What a floating-point number becomes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Float {
    /// Row `n` has `start + n * step`.
    Sequence { start: f64, step: f64 },
    /// Any from `min` up to `max`.
    Random { min: f64, max: f64 },
}

impl Whole {
    /// The value of row `number`.
    pub(super) fn value(self, draw: Draw, number: u64) -> i64 {
        match self {
            Whole::Sequence { start, step } => start.wrapping_add(step.wrapping_mul(number as i64)),
            Whole::Random { min, max } => match max.wrapping_sub(min).wrapping_add(1) as u64 {
                // The whole range of the type wraps around to nothing.
                0 => draw.bits(number) as i64,
                count => min.wrapping_add(draw.below(number, count) as i64),
            },
        }
    }
}

impl Float {
    /// The value of row `number`.
    pub(super) fn value(self, draw: Draw, number: u64) -> f64 {
        match self {
            Float::Sequence { start, step } => start + step * number as f64,
            Float::Random { min, max } => min + (max - min) * draw.unit(number),
        }
    }
}

impl<'a> Rules<'a> {
    /// No column looked at yet.
    pub(super) fn new(options: OptionReader<'a>) -> Self {
        Rules { options, known: Vec::new(), end: u64::MAX, columns: 0 }
    }

    /// The options that the columns looked at so far understand.
    pub(super) fn known(&self) -> &[String] {
        &self.known
    }

    /// One past the last row that every sequence has a value for.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// The random values of the next column, by its `.seed` if it has one.
    pub(super) fn draw(&mut self, path: &str) -> Result<Draw> {
        let key = self.key(path, "seed");
        let seed = self.options.value(&[&key], 0_u64, "a number")?.unwrap_or(0);
        self.columns += 1;
        Ok(Draw::new(seed, self.columns))
    }

    /// A length in characters, bytes or elements.
    pub(super) fn length(&mut self, path: &str, default: u64) -> Result<u64> {
        /// A batch of 16,384 such values is as much as one buffer should hold.
        const LENGTH_MAX: u64 = 65_536;
        let key = self.key(path, "length");
        match self.options.value(&[&key], 0_u64, "a length")? {
            Some(length) if length > LENGTH_MAX => Err(self.options.invalid(&key, "a length up to 65536")),
            length => Ok(length.unwrap_or(default)),
        }
    }

    /// A whole number scaled by 10^`scale`, of a type that holds `lowest..=highest` (already scaled).
    pub(super) fn whole(&mut self, path: &str, scale: u32, lowest: i64, highest: i64) -> Result<Whole> {
        let unit = 10_i64.checked_pow(scale).unwrap_or(i64::MAX);
        let keys = ["min", "max", "start", "step", "end"].map(|name| self.key(path, name));
        let sequence = self.is_sequence(path, false)?;
        let read = |index: usize, default: i64| -> Result<i64> {
            let key: &String = &keys[index];
            let Some(text) = self.options.text(&[key]) else { return Ok(default.clamp(lowest, highest)) };
            parse_scaled(text, scale)
                .filter(|value| (lowest..=highest).contains(value))
                .ok_or_else(|| self.options.invalid(key, "a number that the column's type holds"))
        };
        if !sequence {
            let (min, max) = (read(0, 0)?, read(1, unit.saturating_mul(32_767))?);
            return if min <= max {
                Ok(Whole::Random { min, max })
            } else {
                Err(self.options.invalid(&keys[1], "at least the least value"))
            };
        }
        let (start, step) = (read(2, 0)?, read(3, unit)?);
        let end = read(4, if step < 0 { lowest } else { highest })?;
        self.ends_with(start, step, end, &keys[3])?;
        Ok(Whole::Sequence { start, step })
    }

    /// A floating-point number.
    pub(super) fn float(&mut self, path: &str) -> Result<Float> {
        let keys = ["min", "max", "start", "step", "end"].map(|name| self.key(path, name));
        let sequence = self.is_sequence(path, false)?;
        let read = |index: usize| self.options.value(&[keys[index].as_str()], f64::MIN, "a finite number");
        if !sequence {
            return Ok(Float::Random { min: read(0)?.unwrap_or(0.0), max: read(1)?.unwrap_or(1.0) });
        }
        let (start, step) = (read(2)?.unwrap_or(0.0), read(3)?.unwrap_or(1.0));
        if let Some(end) = read(4)? {
            // A float too large for the integer becomes its largest, a negative one 0.
            self.end = self.end.min(((end - start) / step + 1.0) as u64);
        }
        Ok(Float::Sequence { start, step })
    }

    /// A point in time. `unit_nanos`: of the type's numbers; `step_nanos`: between rows unless said.
    pub(super) fn time(&mut self, path: &str, unit_nanos: i64, step_nanos: i64, base: &str) -> Result<Whole> {
        const DAY_NANOS: i64 = 86_400_000_000_000;
        let [start_key, step_key, end_key, base_key, past_key] =
            ["start", "step", "end", "basetime", "max_past"].map(|name| self.key(path, name));
        let sequence = self.is_sequence(path, true)?;
        let options = self.options;
        let point = |key: &str, default: &str| {
            let text = options.text(&[key]).unwrap_or(default);
            let text = text.strip_suffix('Z').unwrap_or(text);
            let parsed = string_to_datetime(&Utc, text).ok();
            let units = parsed.map(|time| i128::from(time.timestamp_micros()) * 1_000 / i128::from(unit_nanos));
            units.and_then(|units| i64::try_from(units).ok()).ok_or_else(|| options.invalid(key, "a time such as '2024-01-01 00:00:00'"))
        };
        let span = |key: &str, default: i64| match options.text(&[key]) {
            None => Ok(default / unit_nanos),
            Some(text) => match parse_interval_month_day_nano(text) {
                Ok(span) if span.months == 0 => {
                    Ok(i64::from(span.days).saturating_mul(DAY_NANOS).saturating_add(span.nanoseconds) / unit_nanos)
                }
                _ => Err(options.invalid(key, "an interval of days or less such as '10 seconds'")),
            },
        };
        if !sequence {
            let max = point(&base_key, base)?;
            let past = span(&past_key, DAY_NANOS)?.max(0);
            return Ok(Whole::Random { min: max.saturating_sub(past), max });
        }
        let (start, step) = (point(&start_key, base)?, span(&step_key, step_nanos)?);
        if options.text(&[&end_key]).is_some() {
            let end = point(&end_key, base)?;
            self.ends_with(start, step, end, &step_key)?;
        }
        Ok(Whole::Sequence { start, step })
    }

    /// Whether the column follows a sequence.
    fn is_sequence(&mut self, path: &str, default: bool) -> Result<bool> {
        let key = self.key(path, "kind");
        match self.options.text(&[&key]).map(str::to_lowercase).as_deref() {
            None => Ok(default),
            Some("sequence") => Ok(true),
            Some("random") => Ok(false),
            Some(_) => Err(self.options.invalid(&key, "\"sequence\" or \"random\"")),
        }
    }

    /// For columns that can only be random: the kind may be said, but not be another.
    pub(super) fn only_random(&mut self, path: &str) -> Result<()> {
        if self.is_sequence(path, false)? {
            let key = format!("fields.{path}.kind");
            return Err(self.options.invalid(&key, "\"random\" for a column of this type"));
        }
        Ok(())
    }

    /// Ends the source with the last value of a sequence.
    fn ends_with(&mut self, start: i64, step: i64, end: i64, step_key: &str) -> Result<()> {
        if step == 0 {
            return Err(self.options.invalid(step_key, "a step other than 0"));
        }
        let distance = (i128::from(end) - i128::from(start)) * i128::from(step.signum());
        let rows = if distance < 0 { 0 } else { distance / i128::from(step).abs() + 1 };
        self.end = self.end.min(u64::try_from(rows).unwrap_or(u64::MAX));
        Ok(())
    }

    /// The name of a column's option, noted as known.
    fn key(&mut self, path: &str, name: &str) -> String {
        let key = format!("fields.{path}.{name}");
        self.known.push(key.clone());
        key
    }
}

/// A decimal number times 10^`scale`; `None` if it has more digits after the point or does not fit.
fn parse_scaled(text: &str, scale: u32) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let missing = (scale as usize).checked_sub(fraction.len())?;
    format!("{whole}{fraction}{}", "0".repeat(missing)).replace('_', "").parse().ok()
}
