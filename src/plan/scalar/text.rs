//! Functions of characters.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, StringArray};
use std::sync::Arc;

use super::call::Call;
use super::column::{Bytes, Integer, Text, map1, map2, map3, map4, part1, part2, part3, too_long};
use super::misc::Printed;
use super::{Function, function};
use crate::error::{Error, Kind, Result};

/// The longest text that a function makes: enough for any document, and far from what a batch of rows can hold.
pub(super) const TEXT_BYTES_MAX: usize = 1 << 26;

/// The table.
#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn functions() -> Vec<Function> {
    vec![
        function("lower", "in lower case", "lower('ÀBC')", "àbc").known("text -> text"),
        function("upper", "in upper case", "upper('straÙe')", "STRAÙE").known("text -> text"),
        function("initcap", "each word with a capital letter, the rest in lower case", "initcap('hi THOMAS')", "Hi Thomas")
            .known("text -> text"),
        function("character_length", "characters of a text; also `char_length`", "character_length('jösé')", "4").known("text -> integer"),
        function("length", "characters of a text, or bytes of a bytea", "length('jösé')", "4")
            .form("text -> integer", |call| map1::<Text, _>(call, |text| Ok(count(text.chars().count()))))
            .form("bytea -> integer", |call| map1::<Bytes, _>(call, |bytes| Ok(count(bytes.len()))))
            .example("length('\\x0102'::bytea)", "2"),
        function("octet_length", "bytes of a text or bytea", "octet_length('jösé')", "6")
            .form("text -> integer", |call| map1::<Text, _>(call, |text| Ok(count(text.len()))))
            .form("bytea -> integer", |call| map1::<Bytes, _>(call, |bytes| Ok(count(bytes.len())))),
        function("bit_length", "bits of a text or bytea", "bit_length('é')", "16")
            .form("text -> integer", |call| map1::<Text, _>(call, |text| Ok(count(text.len() * 8))))
            .form("bytea -> integer", |call| map1::<Bytes, _>(call, |bytes| Ok(count(bytes.len() * 8)))),
        function(
            "btrim",
            "without the given characters (blanks) at both ends; also `trim(both 'xyz' from text)`",
            "btrim('xyxtrimyyx', 'xyz')",
            "trim",
        )
        .aliases(&["trim"])
        .form("text -> text", |call| part1(call, |text| Ok(text.trim_matches(' '))))
        .form("text, text -> text", |call| part2::<Text>(call, |text, set| Ok(text.trim_matches(among(set)))))
        .form("bytea, bytea -> bytea", |call| trim_bytes(call, [true, true]))
        .example("trim(both 'x' from 'xTomxx')", "Tom"),
        function("ltrim", "without the given characters (blanks) at the start; also `trim(leading …)`", "ltrim('zzzytest', 'xyz')", "test")
            .form("text -> text", |call| part1(call, |text| Ok(text.trim_start_matches(' '))))
            .form("text, text -> text", |call| part2::<Text>(call, |text, set| Ok(text.trim_start_matches(among(set)))))
            .form("bytea, bytea -> bytea", |call| trim_bytes(call, [true, false])),
        function("rtrim", "without the given characters (blanks) at the end; also `trim(trailing …)`", "rtrim('testxxzx', 'xyz')", "test")
            .form("text -> text", |call| part1(call, |text| Ok(text.trim_end_matches(' '))))
            .form("text, text -> text", |call| part2::<Text>(call, |text, set| Ok(text.trim_end_matches(among(set)))))
            .form("bytea, bytea -> bytea", |call| trim_bytes(call, [false, true])),
        function("left", "the first n characters; with -n, all but the last n", "left('abcde', 2)", "ab")
            .form("text, integer -> text", |call| part2::<Integer>(call, |text, n| Ok(left(text, n))))
            .example("left('abcde', -2)", "abc"),
        function("right", "the last n characters; with -n, all but the first n", "right('abcde', 2)", "de")
            .form("text, integer -> text", |call| part2::<Integer>(call, |text, n| Ok(right(text, n)))),
        function("lpad", "filled up on the left (with blanks) or cut on the right to a length", "lpad('7', 3, '0')", "007")
            .form("text, integer -> text", |call| map2::<Text, Integer, _>(call, |text, length| pad(text, length, " ", true)))
            .form("text, integer, text -> text", |call| {
                map3::<Text, Integer, Text, _>(call, |text, length, fill| pad(text, length, fill, true))
            }),
        function("rpad", "filled up on the right (with blanks) or cut on the right to a length", "rpad('hi', 5, 'xy')", "hixyx")
            .form("text, integer -> text", |call| map2::<Text, Integer, _>(call, |text, length| pad(text, length, " ", false)))
            .form("text, integer, text -> text", |call| {
                map3::<Text, Integer, Text, _>(call, |text, length, fill| pad(text, length, fill, false))
            }),
        function("repeat", "the text n times", "repeat('Pg', 3)", "PgPgPg")
            .form("text, integer -> text", |call| map2::<Text, Integer, _>(call, repeat)),
        function("replace", "with every `from` replaced by `to`", "replace('abcdef', 'cd', 'XX')", "abXXef").form(
            "text, text, text -> text",
            |call| {
                map3::<Text, Text, Text, _>(call, |text, from, to| {
                    Ok(if from.is_empty() { text.to_owned() } else { text.replace(from, to) })
                })
            },
        ),
        function("reverse", "backwards", "reverse('abc')", "cba")
            .form("text -> text", |call| map1::<Text, _>(call, |text| Ok(text.chars().rev().collect::<String>()))),
        function(
            "strpos",
            "where a text begins within another, from 1; 0 if it does not; also `position('om' in 'Thomas')`",
            "strpos('high', 'ig')",
            "2",
        )
        .aliases(&["position", "instr"])
        .form("text, text -> integer", |call| map2::<Text, Text, _>(call, |text, part| Ok(position(text, part))))
        .form("bytea, bytea -> integer", |call| {
            map2::<Bytes, Bytes, _>(call, |bytes, part| Ok(count(super::binary::position(bytes, part))))
        })
        .example("position('om' in 'Thomas')", "3"),
        function("starts_with", "whether it starts with a text", "starts_with('alphabet', 'alph')", "t")
            .form("text, text -> boolean", |call| map2::<Text, Text, _>(call, |text, start| Ok(text.starts_with(start)))),
        function("ends_with", "whether it ends with a text", "ends_with('alphabet', 'bet')", "t")
            .form("text, text -> boolean", |call| map2::<Text, Text, _>(call, |text, end| Ok(text.ends_with(end)))),
        function(
            "translate",
            "with each character of `from` replaced by the one at its place in `to`, or left out",
            "translate('12345', '143', 'ax')",
            "a2x5",
        )
        .form("text, text, text -> text", |call| map3::<Text, Text, Text, _>(call, |text, from, to| Ok(translate(text, from, to)))),
        function("ascii", "the number of the first character", "ascii('x')", "120")
            .form("text -> integer", |call| map1::<Text, _>(call, |text| Ok(text.chars().next().map_or(0, |first| first as i32)))),
        function("chr", "the character of a number", "chr(65)", "A").form("integer -> text", |call| map1::<Integer, _>(call, chr)),
        function("concat", "all arguments as one text; NULLs are left out", "concat('a', NULL, 1, true)", "a1t")
            .form("any… -> text", |call| concat(call, None)),
        function(
            "concat_ws",
            "all arguments but the first as one text, with the first between them; NULLs are left out",
            "concat_ws(',', 'a', NULL, 'b')",
            "a,b",
        )
        .form("text, any… -> text", |call| concat(call, Some(0))),
        function("substr", "from a place on, counted from 1, and so many characters", "substr('alphabet', 3, 2)", "ph")
            .form("text, integer -> text", |call| part2::<Integer>(call, |text, from| substring(text, from, None)))
            .form("text, integer, integer -> text", |call| {
                part3::<Integer, Integer>(call, |text, from, length| substring(text, from, Some(length)))
            }),
        function(
            "substring",
            "the same as `substr`; or the part that a regular expression matches (its first group, if it has one)",
            "substring('Thomas' from 2 for 3)",
            "hom",
        )
        .form("text, integer -> text", |call| part2::<Integer>(call, |text, from| substring(text, from, None)))
        .form("text, integer, integer -> text", |call| {
            part3::<Integer, Integer>(call, |text, from, length| substring(text, from, Some(length)))
        })
        .form("text, text -> text", super::regex::substring)
        .form("bytea, integer -> bytea", |call| {
            map2::<Bytes, Integer, _>(call, |bytes, from| super::binary::part(bytes, from, None).map(<[u8]>::to_vec))
        })
        .form("bytea, integer, integer -> bytea", |call| {
            map3::<Bytes, Integer, Integer, _>(call, |bytes, from, length| {
                super::binary::part(bytes, from, Some(length)).map(<[u8]>::to_vec)
            })
        })
        .example("substring('Thomas' from '...$')", "mas"),
        function(
            "like_escape",
            "a pattern of LIKE whose escape is another character, or none, with backslashes; behind `LIKE … ESCAPE`",
            "like_escape('a!_b', '!')",
            "a\\_b",
        )
        .form("text, text -> text", |call| map2::<Text, Text, _>(call, like_escape))
        .example("'10%' LIKE '%!%' ESCAPE '!'", "t"),
        function("split_part", "the n-th part between separators; with -n, counted from the end", "split_part('a,b,c', ',', 2)", "b")
            .form("text, text, integer -> text", |call| part3::<Text, Integer>(call, split_part))
            .example("split_part('a,b,c', ',', -1)", "c")
            .example("split_part('a---b', '--', -1)", "-b"),
        function(
            "overlay",
            "with so many characters from a place on replaced by others",
            "overlay('Txxxxas' placing 'hom' from 2 for 4)",
            "Thomas",
        )
        .form("text, text, integer -> text", |call| {
            map3::<Text, Text, Integer, _>(call, |text, new, from| overlay(text, new, from, i64::from(count(new.chars().count()))))
        })
        .form("text, text, integer, integer -> text", |call| map4::<Text, Text, Integer, Integer, _>(call, overlay))
        .form("bytea, bytea, integer -> bytea", |call| {
            map3::<Bytes, Bytes, Integer, _>(call, |bytes, new, from| super::binary::overlay(bytes, new, from, i64::from(count(new.len()))))
        })
        .form("bytea, bytea, integer, integer -> bytea", |call| map4::<Bytes, Bytes, Integer, Integer, _>(call, super::binary::overlay)),
        function("levenshtein", "single-character edits that make one text of the other", "levenshtein('kitten', 'sitting')", "3")
            .known("text, text -> integer"),
    ]
}

/// A length as SQL has it.
pub(super) fn count(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

fn among(set: &str) -> impl Fn(char) -> bool + '_ {
    move |character| set.contains(character)
}

/// The byte at which the character number `n`, counted from 0, begins; the end if there are fewer.
fn byte_of(text: &str, n: usize) -> usize {
    // An ASCII text has as many bytes as characters.
    if n >= text.len() {
        return text.len();
    }
    text.char_indices().nth(n).map_or(text.len(), |(at, _)| at)
}

/// Characters to keep of `length`, where a negative number says how many to leave out.
fn kept(text: &str, n: i64) -> usize {
    let clamped = usize::try_from(n.unsigned_abs()).unwrap_or(usize::MAX);
    if n >= 0 { clamped } else { text.chars().count().saturating_sub(clamped) }
}

fn left(text: &str, n: i64) -> &str {
    &text[..byte_of(text, kept(text, n))]
}

fn right(text: &str, n: i64) -> &str {
    let skipped = text.chars().count().saturating_sub(kept(text, n));
    &text[byte_of(text, skipped)..]
}

/// Refuses what would not fit into memory many times over.
fn within(bytes: Option<usize>) -> Result<usize> {
    bytes.filter(|bytes| *bytes <= TEXT_BYTES_MAX).ok_or_else(too_long)
}

fn pad(text: &str, length: i64, fill: &str, at_start: bool) -> Result<String> {
    let length = usize::try_from(length).unwrap_or(0);
    let found = text.chars().count();
    if found >= length || fill.is_empty() {
        return Ok(text[..byte_of(text, length)].to_owned());
    }
    within(length.checked_mul(4))?;
    let filling: String = fill.chars().cycle().take(length - found).collect();
    Ok(if at_start { filling + text } else { text.to_owned() + &filling })
}

fn repeat(text: &str, times: i64) -> Result<String> {
    let times = usize::try_from(times).unwrap_or(0);
    within(text.len().checked_mul(times))?;
    Ok(text.repeat(times))
}

fn position(text: &str, part: &str) -> i32 {
    text.find(part).map_or(0, |at| count(text[..at].chars().count() + 1))
}

fn translate(text: &str, from: &str, to: &str) -> String {
    let mut table: HashMap<char, Option<char>> = HashMap::new();
    let mut to = to.chars();
    for character in from.chars() {
        let target = to.next();
        table.entry(character).or_insert(target);
    }
    text.chars().filter_map(|character| table.get(&character).copied().unwrap_or(Some(character))).collect()
}

fn chr(number: i64) -> Result<String> {
    if number == 0 {
        return Err(Error::new(Kind::LimitExceeded, "null character not permitted"));
    }
    if number < 0 {
        return Err(Error::new(Kind::InvalidParameter, "character number must be positive"));
    }
    let character = u32::try_from(number).ok().and_then(char::from_u32);
    character
        .map(String::from)
        .ok_or_else(|| Error::new(Kind::LimitExceeded, format!("requested character not valid for encoding: {number}")))
}

/// All arguments as one text; `separator`: which of them stands between the others.
fn concat(call: &Call<'_>, separator: Option<usize>) -> Result<ArrayRef> {
    let columns = call.arguments.iter().zip(call.fields).map(|(array, field)| Printed::new(array, field)).collect::<Result<Vec<_>>>()?;
    let mut texts = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        if separator.is_some_and(|at| call.arguments[at].is_null(row)) {
            texts.push(None);
            continue;
        }
        let between = separator.map_or_else(String::new, |at| columns[at].text(row));
        let parts = columns.iter().enumerate().filter(|(place, column)| Some(*place) != separator && !column.is_null(row));
        texts.push(Some(parts.map(|(_, column)| column.text(row)).collect::<Vec<_>>().join(&between)));
    }
    Ok(Arc::new(StringArray::from(texts)))
}

/// PostgreSQL counts places before the text too: they hold nothing.
pub(super) fn bounds(from: i64, length: Option<i64>) -> Result<(usize, usize)> {
    let end = match length {
        None => i64::MAX,
        Some(length) if length < 0 => return Err(Error::new(Kind::Substring, "negative substring length not allowed")),
        Some(length) => from.saturating_add(length),
    };
    let start = usize::try_from(from.saturating_sub(1)).unwrap_or(0);
    let end = usize::try_from(end.saturating_sub(1)).unwrap_or(0);
    Ok((start, end.max(start)))
}

fn substring(text: &str, from: i64, length: Option<i64>) -> Result<&str> {
    let (start, end) = bounds(from, length)?;
    let rest = &text[byte_of(text, start)..];
    Ok(&rest[..byte_of(rest, end - start)])
}

fn split_part<'t>(text: &'t str, separator: &str, n: i64) -> Result<&'t str> {
    if n == 0 {
        return Err(Error::new(Kind::InvalidParameter, "field position must not be zero"));
    }
    let place = usize::try_from(n.unsigned_abs() - 1).unwrap_or(usize::MAX);
    let part = match (separator.as_bytes(), n > 0) {
        ([], _) => (place == 0).then_some(text),
        // A single byte is found without preparing a search.
        ([byte], true) if byte.is_ascii() => text.split(char::from(*byte)).nth(place),
        (_, true) => text.split(separator).nth(place),
        // Found from the left all the same: a separator may overlap itself.
        (_, false) => text.split(separator).count().checked_sub(place.saturating_add(1)).and_then(|at| text.split(separator).nth(at)),
    };
    Ok(part.unwrap_or(""))
}

fn trim_bytes(call: &Call<'_>, ends: [bool; 2]) -> Result<ArrayRef> {
    map2::<Bytes, Bytes, _>(call, |bytes, set| Ok(super::binary::trim(bytes, set, ends).to_vec()))
}

fn overlay(text: &str, new: &str, from: i64, length: i64) -> Result<String> {
    if from <= 0 {
        return Err(Error::new(Kind::Substring, "negative substring length not allowed"));
    }
    let before = usize::try_from(from - 1).unwrap_or(usize::MAX);
    let after = usize::try_from(from.saturating_add(length).saturating_sub(1)).unwrap_or(0);
    Ok(format!("{}{new}{}", &text[..byte_of(text, before)], &text[byte_of(text, after)..]))
}

/// The pattern with `\\` for its escape (`do_like_escape` in PostgreSQL).
fn like_escape(pattern: &str, escape: &str) -> Result<String> {
    let mut characters = escape.chars();
    let escape = characters.next();
    if characters.next().is_some() {
        let error = Error::new(Kind::InvalidEscape, "invalid escape string");
        return Err(error.hint("Escape string must be empty or one character."));
    }
    if escape == Some('\\') {
        return Ok(pattern.to_owned());
    }
    let mut escaped = String::with_capacity(pattern.len());
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        if Some(c) == escape {
            escaped.push('\\');
            escaped.extend(rest.next());
        } else {
            if c == '\\' {
                escaped.push('\\');
            }
            escaped.push(c);
        }
    }
    Ok(escaped)
}
