//! The tokenizer counts lines and columns; users and PostgreSQL count characters.

use std::str::Chars;

use sqlparser::tokenizer::{Location, TokenWithSpan};

/// A place in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Bytes before it.
    pub(super) byte: usize,
    /// Characters before it.
    pub(super) characters: usize,
}

/// Walks a text once, forwards: many places cost no more than one.
pub(super) struct Walker<'t> {
    length: usize,
    rest: Chars<'t>,
    line: u64,
    column: u64,
    characters: usize,
}

impl<'t> Walker<'t> {
    /// Stands before the first character.
    pub(super) fn new(text: &'t str) -> Self {
        Walker { length: text.len(), rest: text.chars(), line: 1, column: 1, characters: 0 }
    }

    /// Goes on to `location`, or to the text's end if that comes first.
    pub(super) fn advance_to(&mut self, location: Location) -> Place {
        while (self.line, self.column) < (location.line, location.column) {
            match self.rest.next() {
                None => break,
                Some('\n') => (self.line, self.column) = (self.line + 1, 1),
                Some(_) => self.column += 1,
            }
            self.characters += 1;
        }
        Place { byte: self.length - self.rest.as_str().len(), characters: self.characters }
    }
}

/// Where `location` is in `text`.
pub(super) fn locate(text: &str, location: Location) -> Place {
    Walker::new(text).advance_to(location)
}

/// Makes the tokens' locations count from the first of them, as if the text started there.
pub(super) fn rebase(tokens: &mut [TokenWithSpan]) {
    let Some(origin) = tokens.first().map(|first| first.span.start) else { return };
    let move_back = |location: &mut Location| {
        if location.line == origin.line {
            location.column -= origin.column - 1;
        }
        location.line -= origin.line - 1;
    };
    for token in tokens {
        move_back(&mut token.span.start);
        move_back(&mut token.span.end);
    }
}

#[cfg(test)]
mod tests {
    use super::{Place, locate};
    use sqlparser::tokenizer::Location;

    #[test]
    fn counts_characters_not_bytes() {
        let text = "SELECT 'ü',\n  x";
        assert_eq!(locate(text, Location::new(1, 11)), Place { byte: 11, characters: 10 });
        assert_eq!(locate(text, Location::new(2, 3)), Place { byte: 15, characters: 14 });
        assert_eq!(locate(text, Location::new(9, 1)), Place { byte: 16, characters: 15 });
    }
}
