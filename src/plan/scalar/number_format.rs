//! `to_char` of numbers and `to_number` of texts: PostgreSQL's patterns, after `NUM_processor` of its `formatting.c`.

use arrow::array::ArrayRef;
use arrow::datatypes::i256;

use super::call::Call;
use super::column::{Decimal, Float, Numeric, Text, map2};
use super::numeric::Rounding;
use super::{Function, function};
use crate::error::{Error, Kind, Result};
use crate::types::{NUMERIC_DEFAULT, Value, decimal_from_text};

/// The table; `to_char` itself is declared with the times.
pub(super) fn functions() -> Vec<Function> {
    vec![
        function("to_number", "the number of a text in a format (see `to_char`)", "to_number('12,454.8-', '99G999D9S')", "-12454.8")
            .form("text, text -> numeric", |call| map2::<Text, Text, _>(call, number)),
    ]
}

/// Digits that a double can show.
const FLOAT_DIGITS: usize = 15;

/// Digits that a format may have: more than any number.
const DIGITS_MAX: usize = 500;

/// A piece of a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Nine,
    Zero,
    Point,
    Comma,
    /// `S`, which says for itself where it stands.
    Sign,
    Minus,
    Plus,
    PlusMinus,
    Currency,
    /// `TH` or `th`.
    Ordinal(bool),
    /// `RN`, `PR`, `V`, `EEEE`: they say something of the whole.
    Silent,
    Character(char),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum SignPlace {
    #[default]
    None,
    Before,
    Behind,
}

/// A format, taken apart.
#[derive(Default)]
struct Format {
    nodes: Vec<Node>,
    before: usize,
    behind: usize,
    /// The place of the first `0` before the point, counted from 1; 0: none.
    zero_start: usize,
    has_zero: bool,
    zero_end: usize,
    /// Digits behind `V`.
    shift: usize,
    has_shift: bool,
    point: bool,
    fill: bool,
    brackets: bool,
    minus: bool,
    plus: bool,
    sign: SignPlace,
    digits_before_sign: usize,
    /// `RN`: whether in capitals.
    roman: Option<bool>,
    scientific: bool,
}

fn syntax(message: &str) -> Error {
    Error::new(Kind::Syntax, message)
}

impl Format {
    fn parse(text: &str) -> Result<Format> {
        let mut format = Format::default();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let starts = |key: &str| rest.get(..key.len()).is_some_and(|start| start.eq_ignore_ascii_case(key));
            if first == '"' {
                let inner = &rest[1..];
                let (quoted, after) = inner.split_once('"').unwrap_or((inner, ""));
                format.nodes.extend(quoted.chars().map(Node::Character));
                rest = after;
                continue;
            }
            const KEYS: [&str; 8] = ["EEEE", "FM", "MI", "PL", "PR", "RN", "SG", "TH"];
            let long = KEYS.iter().find(|key| starts(key));
            let length = long.map_or(first.len_utf8(), |key| key.len());
            let (word, after) = rest.split_at(length);
            format.add(&word.to_ascii_uppercase(), word)?;
            rest = after;
        }
        if format.before + format.behind + format.shift > DIGITS_MAX {
            return Err(Error::new(Kind::LimitExceeded, format!("a format has {DIGITS_MAX} digits at the most")));
        }
        Ok(format)
    }

    fn add(&mut self, word: &str, text: &str) -> Result<()> {
        let node = match word {
            "9" | "0" => self.digit(word == "0")?,
            "." | "D" => {
                if self.point {
                    return Err(syntax("multiple decimal points"));
                }
                if self.has_shift {
                    return Err(syntax("cannot use \"V\" and decimal point together"));
                }
                self.point = true;
                Node::Point
            }
            "," | "G" => Node::Comma,
            "S" | "MI" | "PL" | "SG" | "PR" => self.sign(word)?,
            "FM" => {
                self.fill = true;
                Node::Silent
            }
            "B" => Node::Silent,
            "L" => Node::Currency,
            "TH" => Node::Ordinal(text.starts_with('T')),
            "RN" => {
                self.roman = Some(text.starts_with('R'));
                Node::Silent
            }
            "V" => {
                if self.point {
                    return Err(syntax("cannot use \"V\" and decimal point together"));
                }
                self.has_shift = true;
                Node::Silent
            }
            "EEEE" => {
                if self.fill
                    || self.sign != SignPlace::None
                    || self.brackets
                    || self.minus
                    || self.plus
                    || self.roman.is_some()
                    || self.has_shift
                {
                    return Err(syntax("\"EEEE\" is incompatible with other formats")
                        .detail("\"EEEE\" may only be used together with digit and decimal point patterns."));
                }
                self.scientific = true;
                Node::Silent
            }
            _ => match text.chars().next() {
                Some(character) => Node::Character(character),
                None => return Ok(()),
            },
        };
        self.nodes.push(node);
        Ok(())
    }

    fn digit(&mut self, zero: bool) -> Result<Node> {
        if self.brackets {
            return Err(syntax("digits must be ahead of \"PR\""));
        }
        if zero && !self.has_zero && !self.point {
            (self.has_zero, self.zero_start) = (true, self.before + 1);
        }
        if self.has_shift && !zero {
            self.shift += 1;
        } else if self.point {
            self.behind += 1;
        } else {
            self.before += 1;
        }
        if zero {
            self.zero_end = self.before + self.behind;
        }
        Ok(if zero { Node::Zero } else { Node::Nine })
    }

    fn sign(&mut self, word: &str) -> Result<Node> {
        let marked = self.plus || self.minus || self.brackets;
        if self.sign != SignPlace::None {
            return Err(syntax(&format!("cannot use \"S\" and \"{word}\" together")));
        }
        if (word == "S" && marked) || (word == "PR" && (self.plus || self.minus)) {
            return Err(syntax(&format!("cannot use \"{word}\" and another sign together")));
        }
        match word {
            "S" => {
                self.sign = if self.point { SignPlace::Behind } else { SignPlace::Before };
                self.digits_before_sign = self.before;
                return Ok(Node::Sign);
            }
            "PR" => {
                self.brackets = true;
                return Ok(Node::Silent);
            }
            _ => {}
        }
        self.minus |= word != "PL";
        self.plus |= word != "MI";
        Ok(match word {
            "MI" => Node::Minus,
            "PL" => Node::Plus,
            _ => Node::PlusMinus,
        })
    }
}

pub(super) fn numeric(call: &Call<'_>) -> Result<ArrayRef> {
    map2::<Numeric, Text, _>(call, |value, format| {
        let format = Format::parse(format)?;
        if format.scientific {
            return Ok(scientific(&plain(value), format.behind));
        }
        let shift = if format.has_shift { format.shift } else { 0 };
        let shifted = Decimal { scale: value.scale.saturating_sub(i8::try_from(shift).unwrap_or(i8::MAX)), ..value };
        let digits = i8::try_from(format.behind).unwrap_or(i8::MAX).min(shifted.scale.max(0));
        let rounded = shifted.rescaled(digits, Rounding::Nearest).unwrap_or(shifted);
        let mut text = plain(rounded);
        if format.behind > digits.unsigned_abs().into() {
            if digits == 0 {
                text.push('.');
            }
            text.push_str(&"0".repeat(format.behind - usize::from(digits.unsigned_abs())));
        }
        Ok(written(format, &text))
    })
}

pub(super) fn float(call: &Call<'_>) -> Result<ArrayRef> {
    map2::<Float, Text, _>(call, |value, format| {
        let mut format = Format::parse(format)?;
        if !value.is_finite() {
            // No digits say it.
            let sign = if value < 0.0 { "-" } else { "" };
            return Ok(if format.scientific {
                format!(" #.{}", "#".repeat(format.behind + 4))
            } else if value.is_nan() {
                written(format, "NaN")
            } else {
                written(format, &format!("{sign}{}", "9".repeat(DIGITS_MAX * 2)))
            });
        }
        if format.scientific {
            return Ok(scientific(&format!("{value:.*}", FLOAT_DIGITS.max(format.behind)), format.behind));
        }
        let value = if format.has_shift { value * 10_f64.powi(i32::try_from(format.shift).unwrap_or(0)) } else { value };
        let whole = format!("{:.0}", value.abs()).len();
        // Digits that a double does not have are not made up.
        let digits = if whole >= FLOAT_DIGITS { 0 } else { format.behind.min(FLOAT_DIGITS - whole) };
        format.behind = digits;
        let text = format!("{value:.digits$}");
        Ok(written(format, &text))
    })
}

/// A number in digits.
fn plain(value: Decimal) -> String {
    let negative = value.units < i256::ZERO;
    let digits = value.units.to_string();
    let digits = digits.trim_start_matches('-');
    let mut text = String::from(if negative { "-" } else { "" });
    match usize::try_from(value.scale) {
        Ok(0) => text.push_str(digits),
        Ok(scale) => {
            let padded = format!("{digits:0>width$}", width = scale + 1);
            let (whole, fraction) = padded.split_at(padded.len() - scale);
            text.push_str(whole);
            text.push('.');
            text.push_str(fraction);
        }
        Err(_) => {
            text.push_str(digits);
            text.push_str(&"0".repeat(value.scale.unsigned_abs().into()));
        }
    }
    text
}

/// ` 4.86e+02`: digits rounded half away from zero.
fn scientific(text: &str, behind: usize) -> String {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let all: String = format!("{whole}{fraction}");
    let zeros = all.bytes().take_while(|digit| *digit == b'0').count();
    let mut exponent = whole.len() as i64 - zeros as i64 - 1;
    let mut digits: Vec<u8> = all.bytes().skip(zeros).map(|digit| digit - b'0').collect();
    if digits.is_empty() {
        (digits, exponent) = (vec![0], 0);
    }
    let round_up = digits.get(behind + 1).is_some_and(|next| *next >= 5);
    digits.resize(behind + 1, 0);
    if round_up {
        let mut place = digits.len();
        loop {
            if place == 0 {
                digits.insert(0, 1);
                digits.pop();
                exponent += 1;
                break;
            }
            place -= 1;
            if digits[place] < 9 {
                digits[place] += 1;
                break;
            }
            digits[place] = 0;
        }
    }
    let shown: String = digits.iter().map(|digit| char::from(digit + b'0')).collect();
    let point = if behind > 0 { "." } else { "" };
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}{}{point}{}e{sign}{:02}", if negative { "-" } else { " " }, &shown[..1], &shown[1..], exponent.abs())
}

const ROMAN: [(i64, &str); 13] = [
    (1000, "M"),
    (900, "CM"),
    (500, "D"),
    (400, "CD"),
    (100, "C"),
    (90, "XC"),
    (50, "L"),
    (40, "XL"),
    (10, "X"),
    (9, "IX"),
    (5, "V"),
    (4, "IV"),
    (1, "I"),
];

/// The widest number in Roman digits, which is how wide the field is.
const ROMAN_WIDTH: usize = 15;

fn roman(text: &str, capitals: bool, fill: bool) -> String {
    let number = text.split('.').next().and_then(|whole| whole.parse::<i64>().ok()).filter(|number| (1..=3_999).contains(number));
    let Some(mut number) = number else { return "#".repeat(ROMAN_WIDTH) };
    let mut digits = String::new();
    for (value, letters) in ROMAN {
        while number >= value {
            digits.push_str(letters);
            number -= value;
        }
    }
    let digits = if capitals { digits } else { digits.to_ascii_lowercase() };
    if fill { digits } else { format!("{digits:>ROMAN_WIDTH$}") }
}

/// One number on its way into a format.
struct Writer {
    format: Format,
    number: Vec<u8>,
    negative: bool,
    /// Places before the point without a digit of the number.
    spaces: usize,
    /// The last digit behind the point that is not a zero, or the point; only where zeros at the end are left out.
    last_relevant: Option<usize>,
    count: usize,
    sign_written: bool,
    /// The next place of the format, and of the number.
    place: usize,
    at: usize,
    /// Whether the number has begun.
    inside: bool,
    out: String,
}

/// The number in `text` (a sign, digits, a point) by the format.
fn written(format: Format, text: &str) -> String {
    if let Some(capitals) = format.roman {
        return roman(text, capitals, format.fill);
    }
    let (negative, unsigned) = match text.strip_prefix('-') {
        // There is no negative zero.
        Some(rest) => (rest.bytes().any(|digit| (b'1'..=b'9').contains(&digit)), rest),
        None => (false, text),
    };
    let width = format.before + if format.has_shift { format.shift } else { 0 };
    let whole = unsigned.split('.').next().unwrap_or("").len();
    let (number, spaces) = if whole > width {
        (format!("{}.{}", "#".repeat(width), "#".repeat(format.behind)), 0)
    } else {
        (unsigned.to_owned(), width - whole)
    };
    Writer::new(format, number.into_bytes(), negative, spaces, width).run()
}

impl Writer {
    fn new(mut format: Format, number: Vec<u8>, negative: bool, spaces: usize, width: usize) -> Self {
        format.before = width;
        let sign_written = if format.plus || format.minus {
            !format.plus || format.minus
        } else {
            if !negative && format.fill {
                format.brackets = false;
            }
            !negative && format.fill && format.sign == SignPlace::None
        };
        // A sign behind all digits is written there.
        if format.sign == SignPlace::Before && format.before == format.digits_before_sign {
            format.sign = SignPlace::Behind;
        }
        let mut last_relevant = None;
        if format.fill && format.point {
            last_relevant = number
                .iter()
                .position(|digit| *digit == b'.')
                .map(|point| number.iter().rposition(|digit| *digit != b'0').map_or(point, |last| last.max(point)));
            if let Some(last) = last_relevant
                && format.zero_end > spaces
            {
                last_relevant = Some(last.max((number.len() - 1).min(format.zero_end - spaces)));
            }
        }
        let mut count = (format.behind + format.before).saturating_sub(1);
        if !sign_written && spaces == 0 {
            count += 1;
        }
        format.zero_start = format.zero_start.saturating_sub(1);
        Writer { format, number, negative, spaces, last_relevant, count, sign_written, place: 0, at: 0, inside: false, out: String::new() }
    }

    fn run(mut self) -> String {
        for number in 0..self.format.nodes.len() {
            match self.format.nodes[number] {
                node @ (Node::Nine | Node::Zero | Node::Point) => self.digit(node),
                Node::Comma => {
                    if self.inside {
                        self.out.push(',');
                    } else if !self.format.fill {
                        self.out.push(' ');
                    }
                }
                Node::Currency => self.out.push(' '),
                Node::Minus => self.mark(self.negative, '-'),
                Node::Plus => self.mark(!self.negative, '+'),
                Node::PlusMinus => self.out.push(if self.negative { '-' } else { '+' }),
                Node::Ordinal(capitals) => {
                    if !self.negative && !self.format.point && !self.number.contains(&b'#') {
                        let digits = String::from_utf8_lossy(&self.number).into_owned();
                        let ending = super::date_format::ending(&digits);
                        self.out.push_str(&if capitals { ending.to_ascii_uppercase() } else { ending.to_owned() });
                    }
                }
                Node::Sign | Node::Silent => {}
                Node::Character(character) => self.out.push(character),
            }
        }
        self.out
    }

    fn mark(&mut self, wanted: bool, sign: char) {
        if wanted {
            self.out.push(sign);
        } else if !self.format.fill {
            self.out.push(' ');
        }
    }

    /// A zero alone before the point that nothing asks for: `9.9` of 0.1 is `.1`.
    fn is_hidden_zero(&self) -> bool {
        !self.format.has_zero && self.at == 0 && self.number.first() == Some(&b'0') && self.format.behind != 0
    }

    fn ends_at_point(&self) -> bool {
        self.last_relevant.is_some_and(|last| self.number[last] == b'.')
    }

    fn write_sign(&mut self) {
        let begins = self.place >= self.spaces || (self.format.has_zero && self.format.zero_start == self.place);
        if self.sign_written || !begins || (self.is_hidden_zero() && !self.ends_at_point()) {
            return;
        }
        let sign = match self.format.sign {
            SignPlace::Before => Some(if self.negative { '-' } else { '+' }),
            SignPlace::Behind => return,
            SignPlace::None if self.format.brackets => Some(if self.negative { '<' } else { ' ' }),
            SignPlace::None if self.negative => Some('-'),
            SignPlace::None => (!self.format.fill).then_some(' '),
        };
        self.out.extend(sign);
        self.sign_written = true;
    }

    fn digit(&mut self, node: Node) {
        self.inside = false;
        self.write_sign();
        let within = self.place < self.spaces;
        if within && (self.format.zero_start > self.place || !self.format.has_zero) {
            if !self.format.fill {
                self.out.push(' ');
            }
        } else if within {
            self.out.push('0');
            self.inside = true;
        } else {
            self.digit_of_number(node);
            self.at = (self.at + 1).min(self.number.len());
        }
        let mut end = self.count + usize::from(self.spaces > 0) + usize::from(self.format.point);
        if self.last_relevant == Some(self.at) {
            end = self.place;
        }
        if self.place + 1 == end {
            if self.sign_written && self.format.brackets {
                self.out.push(if self.negative { '>' } else { ' ' });
            } else if self.format.sign == SignPlace::Behind {
                self.out.push(if self.negative { '-' } else { '+' });
            }
        }
        self.place += 1;
    }

    fn digit_of_number(&mut self, node: Node) {
        match self.number.get(self.at).copied() {
            Some(b'.') => {
                if !self.ends_at_point() || self.format.fill {
                    self.out.push('.');
                }
            }
            found => {
                if self.last_relevant.is_some_and(|last| self.at > last) && node != Node::Zero {
                    return;
                }
                if self.is_hidden_zero() {
                    if !self.format.fill {
                        self.out.push(' ');
                    } else if self.ends_at_point() {
                        self.out.push('0');
                    }
                    return;
                }
                if let Some(digit) = found {
                    self.out.push(char::from(digit));
                    self.inside = true;
                }
            }
        }
    }
}

/// The number that a text in a format is.
fn number(text: &str, format: &str) -> Result<Decimal> {
    let format = Format::parse(format)?;
    if format.roman.is_some() {
        return Err(Error::not_supported("\"RN\" not supported for input"));
    }
    if format.scientific {
        return Err(Error::not_supported("\"EEEE\" not supported for input"));
    }
    let (mut digits, mut negative, mut behind_point) = (String::new(), false, false);
    let (mut before, mut behind) = (format.before + format.shift, format.behind);
    for character in text.chars() {
        match character {
            '-' | '<' => negative = true,
            '.' if format.point && !behind_point => {
                behind_point = true;
                digits.push('.');
            }
            '.' => break,
            '0'..='9' => {
                let left = if behind_point { &mut behind } else { &mut before };
                if *left == 0 {
                    // What the format has no place for is not read.
                    if behind_point { break } else { continue }
                }
                *left -= 1;
                digits.push(character);
            }
            _ => {}
        }
    }
    if !digits.bytes().any(|digit| digit.is_ascii_digit()) {
        return Err(Error::new(
            Kind::InvalidText,
            format!("invalid input syntax for type numeric: \"{}\"", if digits.is_empty() { " " } else { &digits }),
        ));
    }
    let (precision, scale) = NUMERIC_DEFAULT;
    let Value::Decimal(units) = decimal_from_text(precision, scale, &digits)? else { return Err(Error::internal("a narrow numeric")) };
    let units = if negative { -units } else { units };
    let value = Decimal { units: i256::from_i128(units), scale };
    match format.shift {
        0 => Ok(value),
        shift => {
            let shift = i8::try_from(shift).unwrap_or(i8::MAX);
            value.divide(Decimal { units: super::numeric::power_of_ten(shift.unsigned_abs().into()).unwrap_or(i256::ONE), scale: 0 }, scale)
        }
    }
}
