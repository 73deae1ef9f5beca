//! Comments directly behind an operator: `a >--why`, `a </* why */b`.
//!
//! sqlparser takes the beginning of such a comment for the end of the operator, and what stands in it for SQL. An operator ends where a comment
//! begins (PostgreSQL, 4.1.3): a text that has one is read with blanks in the place of its comments, as many as they have characters.

use std::borrow::Cow;

/// A text that has no comment directly behind an operator. Lines and columns stay what they are, and what does not end stays as it is.
pub(super) fn apart(text: &str) -> Cow<'_, str> {
    let is_behind = |at: usize| starts_comment(&text.as_bytes()[at..]) && OPERATOR.contains(&text.as_bytes()[at - 1]);
    if !(1..text.len()).any(is_behind) {
        return Cow::Borrowed(text);
    }
    let mut bare = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\'' => literal(rest, bare.strip_suffix(['e', 'E']).is_some_and(|before| !before.ends_with(is_name))),
            '"' => literal(rest, false),
            '$' if !bare.ends_with(is_name) => dollar_quoted(rest),
            '-' | '/' if starts_comment(rest.as_bytes()) => {
                let Some(length) = comment(rest) else { break };
                bare.extend(rest[..length].chars().map(|character| if is_line_end(character) { character } else { ' ' }));
                rest = &rest[length..];
                continue;
            }
            _ => Some(first.len_utf8()),
        };
        let Some(length) = length else { break };
        bare.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    bare.push_str(rest);
    Cow::Owned(bare)
}

/// The characters that operators have, those of sqlparser's too.
const OPERATOR: &[u8] = b"+-*/<>=~!@#%^&|`?";

/// Whether a name may have it, but for its first character.
fn is_name(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '$')
}

fn is_line_end(character: char) -> bool {
    matches!(character, '\n' | '\r')
}

fn starts_comment(text: &[u8]) -> bool {
    text.starts_with(b"--") || text.starts_with(b"/*")
}

/// How long the literal or quoted name is that the text begins with. What is written twice does not end it; nor, if `escapes`, what stands behind
/// a backslash.
fn literal(text: &str, escapes: bool) -> Option<usize> {
    let (quote, bytes) = (text.as_bytes()[0], text.as_bytes());
    let mut at = 1;
    loop {
        match *bytes.get(at)? {
            b'\\' if escapes => at += 2,
            byte if byte == quote && bytes.get(at + 1) == Some(&quote) => at += 2,
            byte if byte == quote => return Some(at + 1),
            _ => at += 1,
        }
    }
}

/// How long `$tag$ … $tag$` is; a `$` that begins none, as in `$1`, is by itself.
fn dollar_quoted(text: &str) -> Option<usize> {
    let name = text[1..].find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len() - 1);
    if !text[1 + name..].starts_with('$') || text[1..].starts_with(|c: char| c.is_ascii_digit()) {
        return Some(1);
    }
    let tag = &text[..name + 2];
    text[tag.len()..].find(tag).map(|end| end + 2 * tag.len())
}

/// How long the comment is; within `/* … */` others may stand.
fn comment(text: &str) -> Option<usize> {
    if text.starts_with("--") {
        return Some(text.find(is_line_end).unwrap_or(text.len()));
    }
    let (mut depth, mut at) = (0, 0);
    loop {
        match text.as_bytes().get(at..at + 2)? {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::apart;

    #[test]
    fn a_comment_behind_an_operator_becomes_blanks() {
        let blanks = |count: usize| " ".repeat(count);
        assert_eq!(apart("a>--don't; ü\n 2"), format!("a>{}\n 2", blanks(10)));
        assert_eq!(apart("a>=/* c /* ' */ */2 --end"), format!("a>={}2 {}", blanks(15), blanks(5)));
        assert_eq!(apart("a->>/*x\ny*/'k'"), format!("a->>{}\n{}'k'", blanks(3), blanks(3)));
        assert_eq!(apart("a*/* 1 *//* 2 */b"), format!("a*{}b", blanks(14)));
        assert_eq!(apart("1 --a\r\n>--b\r2"), format!("1 {}\r\n>{}\r2", blanks(3), blanks(3)));
    }

    #[test]
    fn what_is_quoted_is_no_comment() {
        for quoted in
            ["n LIKE'\\' || '>--'", "a$b$ < '$b$'", "'>--'", "'it''s >--'", "E'\\'>--'", "\">--\"", "$$>--$$", "$a$ $b$>--$$ $a$", "$1"]
        {
            let text = format!("{quoted} </**/x");
            assert_eq!(apart(&text), format!("{quoted} <    x"));
        }
    }

    #[test]
    fn what_does_not_end_stays() {
        for text in ["a>/* b", "a>--b\n || 'c>--", "x >/**/ y || $$ >--"] {
            assert_eq!(apart(text).trim_end().len(), text.len(), "{text}");
        }
        assert_eq!(apart("a>/* b"), "a>/* b");
    }
}
