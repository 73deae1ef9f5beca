//! Functions of regular expressions: PostgreSQL's, in the words of a library whose time is linear in the text.
//!
//! A pattern is translated: `.` matches a newline and `^`, `$` only the ends unless flags say otherwise, `\m`, `\M`, `\y` are ends of words,
//! a `{` that counts nothing is itself. Back references and looking around are refused. Where a pattern has alternatives, the first that fits
//! is taken; PostgreSQL takes the longest.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, StringBuilder};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Int32Type};
use datafusion::functions::regex::compile_regex;

use super::call::Call;
use super::column::{Boolean, Integer, Output, Text, map2, map3, map4, too_long};
use super::prepared::{Prepared, prepared};
use super::text::TEXT_BYTES_MAX;
use super::{Function, function};
use crate::error::{Error, Kind, Result};

/// The table.
#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn functions() -> Vec<Function> {
    vec![
        function(
            "regexp_like",
            "whether a pattern matches anywhere; also `text ~ pattern`, `~*`, `!~`, `!~*`",
            "regexp_like('Hello', 'l{2}')",
            "t",
        )
        .form("text, text -> boolean", |call| matching(call, |_, found| Ok(found.is_some())))
        .form("text, text, text -> boolean", |call| matching(call, |_, found| Ok(found.is_some())))
        .example("'Hello' ~* '^HE'", "t"),
        function(
            "regexp_match",
            "the groups of the first match, or all of it if there are none",
            "regexp_match('foobarbequebaz', '(bar)(beque)')",
            "{bar,beque}",
        )
        .form("text, text -> text[]", first_match)
        .form("text, text, text -> text[]", first_match),
        function(
            "regexp_replace",
            "with the first match (all with flag `g`) replaced; `\\1` is a group, `\\&` all",
            "regexp_replace('foobarbaz', 'b(..)', 'X\\1Y', 'g')",
            "fooXarYXazY",
        )
        .form("text, text, text -> text", |call| {
            map3::<Text, Text, Text, _>(call, |text, pattern, new| replace(text, pattern, new, "", 1, 1))
        })
        .form("text, text, text, text -> text", |call| {
            map4::<Text, Text, Text, Text, _>(call, |text, pattern, new, flags| replace(text, pattern, new, flags, 1, 1))
        })
        .form("text, text, text, integer -> text", |call| {
            map4::<Text, Text, Text, Integer, _>(call, |text, pattern, new, start| replace(text, pattern, new, "", start, 1))
        })
        .form("text, text, text, integer, integer -> text", |call| {
            super::column::map5::<Text, Text, Text, Integer, Integer, _>(call, |text, pattern, new, start, which| {
                replace(text, pattern, new, "", start, which)
            })
        })
        .form("text, text, text, integer, integer, text -> text", |call| {
            super::column::map6::<Text, Text, Text, Integer, Integer, Text, _>(call, |text, pattern, new, start, which, flags| {
                replace(text, pattern, new, flags, start, which)
            })
        }),
        function("regexp_split_to_array", "the parts between matches", "regexp_split_to_array('hello world', '\\s+')", "{hello,world}")
            .form("text, text -> text[]", |call| map2::<Text, Text, _>(call, |text, pattern| split(text, pattern, "")))
            .form("text, text, text -> text[]", |call| map3::<Text, Text, Text, _>(call, split)),
        function("regexp_count", "how many matches there are, from a place on", "regexp_count('123456', '\\d\\d')", "3")
            .form("text, text -> integer", |call| map2::<Text, Text, _>(call, |text, pattern| tally(text, pattern, 1, "")))
            .form("text, text, integer -> integer", |call| {
                map3::<Text, Text, Integer, _>(call, |text, pattern, start| tally(text, pattern, start, ""))
            })
            .form("text, text, integer, text -> integer", |call| map4::<Text, Text, Integer, Text, _>(call, tally)),
        function(
            "regexp_instr",
            "where the n-th match from a place on begins (or ends, with a 1 behind n); 0 if there is none",
            "regexp_instr('ABCDEF', 'c(.)(..)', 1, 1, 0, 'i')",
            "3",
        )
        .form("text, text -> integer", |call| map2::<Text, Text, _>(call, |text, pattern| place(text, pattern, Wanted::default())))
        .form("text, text, integer -> integer", |call| {
            map3::<Text, Text, Integer, _>(call, |text, pattern, start| place(text, pattern, Wanted { start, ..Wanted::default() }))
        })
        .form("text, text, integer, integer -> integer", |call| {
            map4::<Text, Text, Integer, Integer, _>(call, |text, pattern, start, which| {
                place(text, pattern, Wanted { start, which, ..Wanted::default() })
            })
        })
        .form("text, text, integer, integer, integer, text -> integer", |call| {
            super::column::map6::<Text, Text, Integer, Integer, Integer, Text, _>(call, |text, pattern, start, which, end, flags| {
                place(text, pattern, Wanted { start, which, end, flags, group: 0 })
            })
        })
        .form("text, text, integer, integer, integer, text, integer -> integer", |call| {
            super::column::map7::<Text, Text, Integer, Integer, Integer, Text, Integer, _>(
                call,
                |text, pattern, start, which, end, flags, group| place(text, pattern, Wanted { start, which, end, flags, group }),
            )
        }),
        function("regexp_substr", "the n-th match from a place on", "regexp_substr('ABCDEF', 'c(.)', 1, 1, 'i')", "CD")
            .form("text, text -> text", |call| map2::<Text, Text, _>(call, |text, pattern| part(text, pattern, Wanted::default())))
            .form("text, text, integer -> text", |call| {
                map3::<Text, Text, Integer, _>(call, |text, pattern, start| part(text, pattern, Wanted { start, ..Wanted::default() }))
            })
            .form("text, text, integer, integer -> text", |call| {
                map4::<Text, Text, Integer, Integer, _>(call, |text, pattern, start, which| {
                    part(text, pattern, Wanted { start, which, ..Wanted::default() })
                })
            })
            .form("text, text, integer, integer, text -> text", |call| {
                super::column::map5::<Text, Text, Integer, Integer, Text, _>(call, |text, pattern, start, which, flags| {
                    part(text, pattern, Wanted { start, which, flags, ..Wanted::default() })
                })
            })
            .form("text, text, integer, integer, text, integer -> text", |call| {
                super::column::map6::<Text, Text, Integer, Integer, Text, Integer, _>(call, |text, pattern, start, which, flags, group| {
                    part(text, pattern, Wanted { start, which, flags, group, end: 0 })
                })
            }),
        function(
            "similar_to",
            "whether a whole text is like an SQL regular expression; written `text SIMILAR TO pattern`",
            "'abc' SIMILAR TO '%(b|d)%'",
            "t",
        )
        .operator("SIMILAR TO")
        .form("text, text, text -> boolean", |call| {
            map3::<Text, Text, Text, _>(call, |text, pattern, escape| {
                Ok((compiled(&similar(pattern, escape)?, "")?.find)(text, 0).is_some())
            })
        }),
        function("regexp_matches_case", "behind the operators `~` and its kin", "'abc' ~ 'B'", "f").operator("~").form(
            "text, text, boolean -> boolean",
            |call| {
                map3::<Text, Text, Boolean, _>(call, |text, pattern, folds| {
                    Ok((compiled(pattern, if folds { "i" } else { "" })?.find)(text, 0).is_some())
                })
            },
        ),
    ]
}

type Find = Box<dyn Fn(&str, usize) -> Option<Range<usize>>>;
type Groups = Box<dyn Fn(&str, usize) -> Option<Vec<Option<Range<usize>>>>>;

/// A pattern, compiled. Both look from a byte on, and see what stands before it.
struct Compiled {
    find: Find,
    groups: Groups,
}

thread_local! {
    static COMPILED: RefCell<Prepared<Compiled, 2>> = RefCell::default();
}

/// A pattern with PostgreSQL's flags; `g` says nothing of the pattern.
fn compiled(pattern: &str, flags: &str) -> Result<Rc<Compiled>> {
    prepared(&COMPILED, [pattern, flags], || {
        let translated = translated(pattern, flags)?;
        let regex = compile_regex(&translated, None).map_err(|_| invalid(pattern))?;
        let (groups, places) = (regex.clone(), RefCell::new(regex.capture_locations()));
        Ok(Compiled {
            find: Box::new(move |text, from| regex.find_at(text, from).map(|found| found.range())),
            groups: Box::new(move |text, from| {
                let mut places = places.borrow_mut();
                groups.captures_read_at(&mut places, text, from)?;
                Some((0..places.len()).map(|group| places.get(group).map(|(start, end)| start..end)).collect())
            }),
        })
    })
}

fn invalid(pattern: &str) -> Error {
    let shown: String = pattern.chars().take(100).collect();
    Error::new(Kind::InvalidRegex, format!("invalid regular expression: \"{shown}\""))
        .hint("Back references and looking around are not supported.")
}

/// What flags say.
struct Flags {
    global: bool,
    prefix: String,
    literal: bool,
    expanded: bool,
}

fn flags_of(text: &str) -> Result<Flags> {
    let (mut folds, mut dot_all, mut lines) = (false, true, false);
    let (mut global, mut literal, mut expanded) = (false, false, false);
    for flag in text.chars() {
        match flag {
            'g' => global = true,
            'i' => folds = true,
            'c' => folds = false,
            'n' | 'm' => (dot_all, lines) = (false, true),
            'p' => (dot_all, lines) = (false, false),
            'w' => (dot_all, lines) = (true, true),
            's' => (dot_all, lines) = (true, false),
            'x' => expanded = true,
            't' => expanded = false,
            'q' => literal = true,
            'e' => {}
            other => return Err(Error::new(Kind::InvalidParameter, format!("invalid regular expression option: \"{other}\""))),
        }
    }
    let on: String =
        [(folds, 'i'), (dot_all, 's'), (lines, 'm'), (expanded, 'x')].iter().filter(|(on, _)| *on).map(|(_, flag)| *flag).collect();
    let prefix = if on.is_empty() { String::new() } else { format!("(?{on})") };
    Ok(Flags { global, prefix, literal, expanded })
}

/// A pattern of PostgreSQL in the library's words.
fn translated(pattern: &str, flags: &str) -> Result<String> {
    let mut flags = flags.to_owned();
    let mut pattern = pattern;
    if let Some(rest) = pattern.strip_prefix("***=") {
        flags.push('q');
        pattern = rest;
    }
    pattern = pattern.strip_prefix("***:").unwrap_or(pattern);
    // Options at the start are flags in PostgreSQL, whose letters mean more than the library's.
    if !flags.contains('q')
        && let Some((options, rest)) = pattern.strip_prefix("(?").and_then(|rest| rest.split_once(')'))
        && !options.is_empty()
        && options.chars().all(|option| option.is_ascii_lowercase())
    {
        flags.push_str(options);
        pattern = rest;
    }
    let flags = flags_of(&flags)?;
    let mut out = flags.prefix;
    if flags.literal {
        for character in pattern.chars() {
            if character.is_ascii_punctuation() {
                out.push('\\');
            }
            out.push(character);
        }
        return Ok(out);
    }
    let whole = pattern;
    let mut characters = pattern.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' => escape(characters.next(), whole, &mut out)?,
            '[' => bracket(&mut characters, whole, &mut out)?,
            '{' if !characters.peek().is_some_and(char::is_ascii_digit) => out.push_str("\\{"),
            '#' if !flags.expanded => out.push('#'),
            other => out.push(other),
        }
    }
    Ok(out)
}

fn escape(letter: Option<char>, whole: &str, out: &mut String) -> Result<()> {
    match letter {
        None => return Err(invalid(whole)),
        Some('m') => out.push_str("\\b{start}"),
        Some('M') => out.push_str("\\b{end}"),
        Some('y') => out.push_str("\\b"),
        Some('Y') => out.push_str("\\B"),
        Some('Z') => out.push_str("\\z"),
        Some('1'..='9') => return Err(invalid(whole)),
        Some('0') => out.push_str("\\x00"),
        Some('e') => out.push_str("\\x1b"),
        Some('b') => out.push_str("\\x08"),
        Some('B') => out.push_str("\\\\"),
        Some(letter @ ('d' | 'D' | 's' | 'S' | 'w' | 'W' | 'A' | 'n' | 't' | 'r' | 'f' | 'v' | 'a' | 'x' | 'u' | 'U')) => {
            out.push('\\');
            out.push(letter);
        }
        Some(letter) if letter.is_ascii_alphanumeric() => return Err(invalid(whole)),
        Some(other) if other.is_ascii() => {
            out.push('\\');
            out.push(other);
        }
        Some(other) => out.push(other),
    }
    Ok(())
}

/// A bracket expression behind its `[`: what the library reads as set operations is escaped.
fn bracket(characters: &mut std::iter::Peekable<std::str::Chars<'_>>, whole: &str, out: &mut String) -> Result<()> {
    out.push('[');
    if characters.next_if_eq(&'^').is_some() {
        out.push('^');
    }
    if characters.next_if_eq(&']').is_some() {
        out.push_str("\\]");
    }
    loop {
        match characters.next() {
            None => return Err(invalid(whole)),
            Some(']') => break,
            Some('[') if characters.peek() == Some(&':') => {
                let name: String = characters.by_ref().take_while(|inner| *inner != ']').collect();
                out.push_str(class(&name).ok_or_else(|| invalid(whole))?);
            }
            Some('\\') => match characters.next() {
                None => return Err(invalid(whole)),
                Some(letter) if letter.is_ascii() => {
                    out.push('\\');
                    out.push(letter);
                }
                Some(other) => out.push(other),
            },
            Some('-') if characters.peek() == Some(&']') => out.push_str("\\-"),
            Some(special @ ('[' | '&' | '~' | '#' | ' ')) => {
                out.push('\\');
                out.push(special);
            }
            Some(other) => out.push(other),
        }
    }
    out.push(']');
    Ok(())
}

/// A class of characters by what stands between the brackets: of all the world's, where the library's own are of ASCII alone.
fn class(name: &str) -> Option<&'static str> {
    Some(match name {
        ":alpha:" => "\\p{Alphabetic}",
        ":alnum:" => "\\p{Alphabetic}\\p{N}",
        ":upper:" => "\\p{Uppercase}",
        ":lower:" => "\\p{Lowercase}",
        ":space:" => "\\s",
        ":punct:" => "\\p{P}\\p{S}",
        ":digit:" => "0-9",
        ":xdigit:" => "[:xdigit:]",
        ":blank:" => "[:blank:]",
        ":cntrl:" => "[:cntrl:]",
        ":graph:" => "[:graph:]",
        ":print:" => "[:print:]",
        ":word:" => "\\w",
        ":ascii:" => "[:ascii:]",
        _ => return None,
    })
}

/// The pattern behind SIMILAR TO: `%` and `_` as in LIKE, the rest as in regular expressions; the whole text must match.
fn similar(pattern: &str, escape: &str) -> Result<String> {
    let mut escapes = escape.chars();
    let escape = escapes.next();
    if escapes.next().is_some() {
        return Err(Error::new(Kind::InvalidEscape, "invalid escape string").hint("Escape string must be empty or one character."));
    }
    let mut out = String::from("^(?:");
    let mut in_bracket = false;
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        if Some(character) == escape {
            out.push('\\');
            out.extend(characters.next());
            continue;
        }
        match character {
            ']' if in_bracket => in_bracket = false,
            '[' => in_bracket = true,
            _ if in_bracket => {}
            '%' => {
                out.push_str(".*");
                continue;
            }
            '_' => {
                out.push('.');
                continue;
            }
            '(' => {
                out.push_str("(?:");
                continue;
            }
            '.' | '^' | '$' | '\\' => out.push('\\'),
            _ => {}
        }
        out.push(character);
    }
    out.push_str(")$");
    Ok(out)
}

/// One result for each row from the groups of the first match; the flags are the third argument, if there is one.
fn matching<R: Output>(call: &Call<'_>, mut of: impl FnMut(&str, Option<Vec<Option<Range<usize>>>>) -> Result<R>) -> Result<ArrayRef> {
    if call.arguments.len() == 2 {
        return map2::<Text, Text, _>(call, |text, pattern| of(text, (compiled(pattern, "")?.groups)(text, 0)));
    }
    map3::<Text, Text, Text, _>(call, |text, pattern, flags| {
        if flags.contains('g') {
            return Err(Error::new(Kind::InvalidParameter, "this function does not support the \"global\" option"));
        }
        of(text, (compiled(pattern, flags)?.groups)(text, 0))
    })
}

/// The groups, or the whole match if there are none.
fn wanted(groups: &[Option<Range<usize>>]) -> &[Option<Range<usize>>] {
    if groups.len() > 1 { &groups[1..] } else { groups }
}

/// The texts of what is wanted.
fn parts<'t>(text: &'t str, groups: &[Option<Range<usize>>]) -> Vec<Option<&'t str>> {
    wanted(groups).iter().map(|group| group.clone().map(|range| &text[range])).collect()
}

/// What the groups in one column have come to: they may be within each other, so that together they are longer than what they are from, and a pattern
/// may have many thousands.
#[derive(Default)]
pub(in crate::plan) struct Room(usize);

impl Room {
    /// Takes the groups of a match with their offsets; fails if they are more than a column's offsets can count.
    pub(in crate::plan) fn take(&mut self, groups: usize, bytes: usize) -> Result<()> {
        self.0 += bytes + groups * size_of::<i32>();
        if self.0 > i32::MAX as usize { Err(too_long()) } else { Ok(()) }
    }
}

/// The groups of the first match of each row, copied from the text into the result without a list for each in between.
fn first_match(call: &Call<'_>) -> Result<ArrayRef> {
    let DataType::List(field) = call.result.data_type() else { return Err(Error::internal("groups are texts in an array")) };
    let (mut elements, mut room) = (StringBuilder::new(), Room::default());
    let lengths = matching(call, |text, found| {
        let Some(groups) = found else { return Ok(None) };
        let groups = wanted(&groups);
        room.take(groups.len(), groups.iter().flatten().map(Range::len).sum())?;
        groups.iter().for_each(|group| elements.append_option(group.clone().map(|range| &text[range])));
        Ok(Some(groups.len() as i32))
    })?;
    let lengths = lengths.as_primitive::<Int32Type>();
    let offsets = OffsetBuffer::from_lengths(lengths.iter().map(|length| length.unwrap_or(0) as usize));
    Ok(Arc::new(ListArray::new(Arc::clone(field), offsets, Arc::new(elements.finish()), lengths.nulls().cloned())))
}

/// `substring(text from pattern)`: the first group, or the whole match if there is none.
pub(super) fn substring(call: &Call<'_>) -> Result<ArrayRef> {
    matching(call, |text, found| Ok(found.and_then(|groups| parts(text, &groups).into_iter().next().flatten().map(str::to_owned))))
}

/// The matches from a byte on, one behind the other.
fn matches(pattern: &Compiled, text: &str, from: usize) -> Vec<Vec<Option<Range<usize>>>> {
    let mut found = Vec::new();
    let mut at = from;
    while at <= text.len() {
        let Some(groups) = (pattern.groups)(text, at) else { break };
        let Some(Some(range)) = groups.first().cloned() else { break };
        at = range.end + if range.is_empty() { text[range.end..].chars().next().map_or(1, char::len_utf8) } else { 0 };
        found.push(groups);
    }
    found
}

/// The byte at which a place, counted from 1 in characters, is; beyond the text: `None`.
fn byte_at(text: &str, start: i64) -> Result<Option<usize>> {
    if start < 1 {
        return Err(Error::new(Kind::InvalidParameter, format!("invalid value for parameter \"start\": {start}")));
    }
    let skipped = usize::try_from(start - 1).unwrap_or(usize::MAX);
    Ok(text.char_indices().map(|(at, _)| at).chain([text.len()]).nth(skipped))
}

/// `which`: 0 for all.
fn replace(text: &str, pattern: &str, new: &str, flags: &str, start: i64, which: i64) -> Result<String> {
    if which < 0 {
        return Err(Error::new(Kind::InvalidParameter, format!("invalid value for parameter \"n\": {which}")));
    }
    let pattern = compiled(pattern, flags)?;
    let all = flags_of(flags)?.global || which == 0;
    let Some(from) = byte_at(text, start)? else { return Ok(text.to_owned()) };
    let mut out = String::new();
    let mut copied = 0;
    for (number, groups) in matches(&pattern, text, from).into_iter().enumerate() {
        if !all && number as i64 + 1 != which {
            continue;
        }
        let Some(Some(range)) = groups.first().cloned() else { continue };
        out.push_str(&text[copied..range.start]);
        substitute(new, text, &groups, &mut out)?;
        copied = range.end;
    }
    out.push_str(&text[copied..]);
    Ok(out)
}

/// Writes a replacement: `\1` to `\9` are groups, `\&` is the match, `\\` a backslash. Fails when the text gets too long.
fn substitute(new: &str, text: &str, groups: &[Option<Range<usize>>], out: &mut String) -> Result<()> {
    let mut characters = new.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            out.push(character);
            continue;
        }
        let group = match characters.next() {
            Some('&') => 0,
            Some(digit @ '1'..='9') => digit as usize - '0' as usize,
            Some('\\') | None => {
                out.push('\\');
                continue;
            }
            Some(other) => {
                out.push('\\');
                out.push(other);
                continue;
            }
        };
        if let Some(Some(range)) = groups.get(group) {
            out.push_str(&text[range.clone()]);
        }
        if out.len() > TEXT_BYTES_MAX {
            return Err(too_long());
        }
    }
    if out.len() > TEXT_BYTES_MAX { Err(too_long()) } else { Ok(()) }
}

/// The groups of the first match, or with flag `g` of each.
pub(in crate::plan) fn each_match<'t>(text: &'t str, pattern: &str, flags: &str) -> Result<Vec<Vec<Option<&'t str>>>> {
    let compiled = compiled(pattern, flags)?;
    let found = if flags_of(flags)?.global { matches(&compiled, text, 0) } else { Vec::from_iter((compiled.groups)(text, 0)) };
    Ok(found.iter().map(|groups| parts(text, groups)).collect())
}

fn split(text: &str, pattern: &str, flags: &str) -> Result<Vec<Option<String>>> {
    Ok(split_by("regexp_split_to_array", text, pattern, flags)?.into_iter().map(|piece| Some(piece.to_owned())).collect())
}

/// The pieces between matches, for `function`. Empty matches at the start, at the end, and right behind another match part nothing.
pub(in crate::plan) fn split_by<'t>(function: &str, text: &'t str, pattern: &str, flags: &str) -> Result<Vec<&'t str>> {
    if flags.contains('g') {
        return Err(Error::new(Kind::InvalidParameter, format!("{function}() does not support the \"global\" option")));
    }
    let pattern = compiled(pattern, flags)?;
    let mut found = Vec::new();
    let mut start = 0;
    for groups in matches(&pattern, text, 0) {
        let Some(Some(range)) = groups.first().cloned() else { continue };
        if range.is_empty() && (range.start == 0 || range.end == text.len() || range.start == start) {
            continue;
        }
        found.push(&text[start..range.start]);
        start = range.end;
    }
    found.push(&text[start..]);
    Ok(found)
}

fn tally(text: &str, pattern: &str, start: i64, flags: &str) -> Result<i32> {
    if flags.contains('g') {
        return Err(Error::new(Kind::InvalidParameter, "regexp_count() does not support the \"global\" option"));
    }
    let pattern = compiled(pattern, flags)?;
    Ok(byte_at(text, start)?.map_or(0, |from| super::text::count(matches(&pattern, text, from).len())))
}

/// Which match is wanted, and what of it.
struct Wanted<'a> {
    start: i64,
    which: i64,
    /// 1: the place behind the match.
    end: i64,
    flags: &'a str,
    group: i64,
}

impl Default for Wanted<'_> {
    fn default() -> Self {
        Wanted { start: 1, which: 1, end: 0, flags: "", group: 0 }
    }
}

fn range_of(text: &str, pattern: &str, wanted: &Wanted<'_>) -> Result<Option<Range<usize>>> {
    let parameter = |name: &str, value: i64| Error::new(Kind::InvalidParameter, format!("invalid value for parameter \"{name}\": {value}"));
    if wanted.which < 1 {
        return Err(parameter("n", wanted.which));
    }
    if !(0..=1).contains(&wanted.end) {
        return Err(parameter("endoption", wanted.end));
    }
    if wanted.group < 0 {
        return Err(parameter("subexpr", wanted.group));
    }
    if wanted.flags.contains('g') {
        return Err(Error::new(Kind::InvalidParameter, "this function does not support the \"global\" option"));
    }
    let pattern = compiled(pattern, wanted.flags)?;
    let Some(from) = byte_at(text, wanted.start)? else { return Ok(None) };
    let which = usize::try_from(wanted.which - 1).unwrap_or(usize::MAX);
    let Some(groups) = matches(&pattern, text, from).into_iter().nth(which) else { return Ok(None) };
    Ok(usize::try_from(wanted.group).ok().and_then(|group| groups.get(group).cloned()).flatten())
}

fn place(text: &str, pattern: &str, wanted: Wanted<'_>) -> Result<i32> {
    let found = range_of(text, pattern, &wanted)?;
    let byte = found.map(|range| if wanted.end == 1 { range.end } else { range.start });
    Ok(byte.map_or(0, |byte| super::text::count(text[..byte].chars().count() + 1)))
}

fn part(text: &str, pattern: &str, wanted: Wanted<'_>) -> Result<Option<String>> {
    Ok(range_of(text, pattern, &wanted)?.map(|range| text[range].to_owned()))
}

#[cfg(test)]
mod tests {
    use super::Room;
    use crate::error::Kind;

    /// Groups of one batch that were longer together than offsets can count were a panic.
    #[test]
    fn groups_are_no_longer_than_a_column_can_be() {
        let mut room = Room::default();
        room.take(2, i32::MAX as usize - 9).unwrap();
        room.take(0, 1).unwrap();
        assert_eq!(room.take(1, 0).unwrap_err().kind(), Kind::LimitExceeded);
    }
}
