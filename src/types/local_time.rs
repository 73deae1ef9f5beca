//! Local time in a zone, and how far back clocks are set. Times are in microseconds since 1970, local ones as if the zone were UTC.

use chrono::{DateTime, LocalResult, Offset, TimeDelta, TimeZone};
use chrono_tz::Tz;

const SECOND_US: i64 = 1_000_000;

/// Changes of clocks are looked for so far apart: zones differ by quarters of an hour, and change where one begins.
const STEP_US: i64 = 15 * 60 * SECOND_US;

/// No clock was ever set back further: a day, where a country went to the other side of the date line.
const SET_BACK_MAX_US: i64 = 24 * 3_600 * SECOND_US;

/// How far local time is ahead at an instant.
pub fn offset_us(zone: Tz, instant_us: i64) -> i64 {
    let instant = DateTime::from_timestamp_micros(instant_us);
    instant.map_or(0, |instant| i64::from(zone.offset_from_utc_datetime(&instant.naive_utc()).fix().local_minus_utc()) * SECOND_US)
}

/// The instant of a local time; one that a change of clocks skips is read with the offset before the change, one that it repeats is the later.
/// `None` for times beyond what a calendar can name.
pub fn instant_of(zone: Tz, local_us: i64) -> Option<i64> {
    let naive = DateTime::from_timestamp_micros(local_us)?.naive_utc();
    let offset = match zone.offset_from_local_datetime(&naive) {
        LocalResult::Single(offset) => offset,
        LocalResult::Ambiguous(_, later) => later,
        LocalResult::None => zone.offset_from_utc_datetime(&naive.checked_sub_signed(TimeDelta::days(1))?),
    };
    local_us.checked_sub(i64::from(offset.fix().local_minus_utc()) * SECOND_US)
}

/// Below what no local time is from an instant on: when clocks are about to be set back, what they show then, or a quarter of an hour less.
/// Never falls as the instant rises.
pub(super) fn least_local(zone: Tz, instant_us: i64) -> Option<i64> {
    let mut least = instant_us.checked_add(offset_us(zone, instant_us))?;
    let first = instant_us.div_euclid(STEP_US).checked_mul(STEP_US)?;
    let mut before = offset_us(zone, first);
    for start in (0..=SET_BACK_MAX_US / STEP_US).map(|step| first.saturating_add(step * STEP_US)) {
        let after = offset_us(zone, start.saturating_add(STEP_US));
        if after < before {
            least = least.min(start.saturating_add(after));
        }
        before = after;
    }
    Some(least)
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;

    use super::{STEP_US, least_local, offset_us};

    #[test]
    fn local_times_were_taken_to_rise_where_clocks_are_set_back() {
        let start = "2024-01-01T00:07:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap().timestamp_micros();
        let minutes = |minutes: i64| start + minutes * 60_000_000;
        for zone in [Tz::Europe__Berlin, Tz::America__New_York, Tz::Australia__Lord_Howe, Tz::Antarctica__Troll, Tz::Asia__Kolkata] {
            // A year and a month, backwards, so that the least of all later ones is known.
            let (mut least, mut said_after) = (i64::MAX, i64::MAX);
            for minute in (0..396 * 24 * 12).rev().map(|step| step * 5) {
                let local = minutes(minute) + offset_us(zone, minutes(minute));
                least = least.min(local);
                let said = least_local(zone, minutes(minute)).unwrap();
                assert!(said <= least && said <= said_after, "{zone} at {local}");
                assert!(said > least - 2 * STEP_US, "{zone} at {local}: not needlessly less");
                said_after = said;
            }
        }
    }
}
