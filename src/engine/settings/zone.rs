//! The session's time zone: a name of the IANA database in any case, or hours.

use crate::error::{Error, Result};

use super::values::invalid;

/// The zone's name as it is kept.
pub(super) fn read(value: &str) -> Result<String> {
    let zone = if value.eq_ignore_ascii_case("z") || value.eq_ignore_ascii_case("default") { "UTC" } else { value };
    let known = chrono_tz::TZ_VARIANTS.iter().find(|variant| variant.name().eq_ignore_ascii_case(zone));
    if let Some(known) = known {
        return Ok(known.name().to_owned());
    }
    let refuse = || invalid("TimeZone", value).hint("Use a name of the IANA time zone database, like \"Europe/Berlin\", or whole hours.");
    let seconds = offset_seconds(zone).ok_or_else(refuse)?;
    match seconds / 3_600 {
        // Their names have POSIX's sign.
        _ if seconds % 3_600 != 0 => {
            let message = format!("a time zone that is not whole hours off has no name: \"{value}\"");
            Err(Error::not_supported(message).hint("Use the name of a zone, like \"Asia/Kolkata\"."))
        }
        0 => Ok("UTC".to_owned()),
        east @ 1..=14 => Ok(format!("Etc/GMT-{east}")),
        east @ -12..=-1 => Ok(format!("Etc/GMT+{}", -east)),
        _ => Err(refuse()),
    }
}

/// How many seconds to the east: a number of hours (east is positive), or hours and minutes, or a name and a number, as POSIX has it (west is
/// positive).
fn offset_seconds(text: &str) -> Option<i64> {
    let letters = text.find(|c: char| !c.is_ascii_alphabetic())?;
    let digits = text[letters..].trim();
    let (sign, unsigned) = match digits.strip_prefix('-') {
        Some(unsigned) => (-1, unsigned),
        None => (1, digits.strip_prefix('+').unwrap_or(digits)),
    };
    let is_number = letters == 0 && !unsigned.contains(':');
    let seconds = if is_number {
        let hours = unsigned.parse::<f64>().ok().filter(|hours| (0.0..168.0).contains(hours))?;
        (hours * 3_600.0) as i64
    } else {
        let mut seconds = 0;
        for (place, part) in unsigned.split(':').enumerate() {
            let part = i64::from(part.parse::<u8>().ok().filter(|part| place == 0 || *part < 60)?);
            seconds += part * [3_600, 60, 1].get(place)?;
        }
        -seconds
    };
    Some(sign * seconds)
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn hours_are_a_zone() {
        let cases =
            [("2", "Etc/GMT-2"), ("+02", "Etc/GMT-2"), ("-3:00", "Etc/GMT-3"), ("UTC+3", "Etc/GMT+3"), ("0", "UTC"), ("2.0", "Etc/GMT-2")];
        for (text, zone) in cases {
            assert_eq!(read(text).unwrap(), zone, "{text}");
        }
        for (text, sqlstate) in [("5:30", "0A000"), ("5.5", "0A000"), ("20", "22023"), ("Mars", "22023"), ("UTC+", "22023"), ("", "22023")]
        {
            assert_eq!(read(text).unwrap_err().kind().sqlstate(), sqlstate, "{text}");
        }
    }
}
