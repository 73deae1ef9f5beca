//! Refuses statements whose trees would be too deep to walk, or whose rows too wide to send, before anything is made of them.
//!
//! The tree for `a + b + c …` is as deep as the row of operators is long, that of a join or a UNION likewise, and what stands in parentheses
//! is deeper than what they stand in. Counted from the tokens, and rather too much than too little.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::position::locate;
use crate::error::{Error, Kind, Result};
use crate::types::{COLUMNS_MAX, LEVELS_MAX};

/// What stands within one pair of parentheses, or outside of all.
#[derive(Default)]
struct Level {
    /// Set operations and joins: everything else is below them.
    set_operations: usize,
    /// ANDs and ORs of the current expression.
    conditions: usize,
    /// Levels of the deepest of their operands that are over.
    operand: usize,
    /// Operators of the operand that is being read.
    operators: usize,
    /// Levels of the deepest parentheses in it that are closed.
    inner: usize,
    /// Levels of the deepest expression that is over.
    deepest: usize,
    /// Columns of the SELECT list so far; 0 behind it.
    columns: usize,
    in_from: bool,
}

impl Level {
    /// An expression is over, and the next one does not stand in it.
    fn next_expression(&mut self) {
        self.deepest = self.deepest.max(self.expression());
        (self.conditions, self.operand, self.operators, self.inner) = (0, 0, 0, 0);
    }

    /// An operand of AND or OR is over.
    fn next_operand(&mut self) {
        self.operand = self.operand.max(self.operators + self.inner);
        (self.operators, self.inner) = (0, 0);
        self.conditions += 1;
    }

    /// Levels of the expression that is being read.
    fn expression(&self) -> usize {
        self.conditions + self.operand.max(self.operators + self.inner)
    }

    fn depth(&self) -> usize {
        self.set_operations + self.deepest.max(self.expression())
    }

    /// Levels above what is opened here.
    fn above(&self) -> usize {
        self.set_operations + self.conditions + self.operators + 1
    }
}

/// Refuses a statement that is nested too deep (`54001`), or a SELECT list that is too long (`54011`).
pub(super) fn check(text: &str, tokens: &[TokenWithSpan]) -> Result<()> {
    let mut levels = vec![Level::default()];
    // Levels of everything that is open.
    let mut above = 0_usize;
    for (index, token) in tokens.iter().enumerate() {
        let within = levels.len() > 1;
        let level = levels.last_mut().expect("the outermost level is never closed");
        match meaning(tokens, index) {
            Meaning::Opens => {
                if token.token == Token::LBracket {
                    level.operators += 1;
                }
                above += level.above();
                levels.push(Level::default());
            }
            Meaning::Closes if within => {
                let closed = levels.pop().map_or(0, |closed| closed.depth());
                let outer = levels.last_mut().expect("there was one more");
                above -= outer.above();
                outer.inner = outer.inner.max(closed + 1);
            }
            Meaning::Closes | Meaning::Nothing => {}
            Meaning::Comma => {
                level.next_expression();
                level.set_operations += usize::from(level.in_from);
                level.columns += usize::from(level.columns > 0);
            }
            Meaning::Operator => level.operators += 1,
            Meaning::Condition => level.next_operand(),
            Meaning::SetOperation => {
                level.next_expression();
                level.set_operations += 1;
                (level.in_from, level.columns) = (false, 0);
            }
            Meaning::Join => {
                level.next_expression();
                level.set_operations += 1;
            }
            Meaning::Clause(keyword) => {
                level.next_expression();
                level.in_from = keyword == Keyword::FROM;
                level.columns = usize::from(keyword == Keyword::SELECT);
            }
        }
        let level = levels.last().expect("the outermost level is never closed");
        let position = || locate(text, token.span.start).characters + 1;
        if above + level.depth() > LEVELS_MAX {
            let error =
                Error::new(Kind::TooComplex, format!("statement is too complex: more than {LEVELS_MAX} operations within each other"));
            return Err(error.hint("Use IN (…) or a join with VALUES instead of a long row of conditions.").at(position()));
        }
        if level.columns > COLUMNS_MAX {
            return Err(Error::new(Kind::TooManyColumns, format!("target lists can have at most {COLUMNS_MAX} entries")).at(position()));
        }
    }
    Ok(())
}

/// What a token does to the tree.
enum Meaning {
    Opens,
    Closes,
    Comma,
    Operator,
    Condition,
    SetOperation,
    Join,
    Clause(Keyword),
    Nothing,
}

fn meaning(tokens: &[TokenWithSpan], index: usize) -> Meaning {
    let before = |keyword: Keyword| {
        let token = index.checked_sub(1).map(|before| &tokens[before].token);
        matches!(token, Some(Token::Word(word)) if word.keyword == keyword)
    };
    let is_field = index.checked_sub(1).is_some_and(|before| tokens[before].token == Token::Period);
    match &tokens[index].token {
        Token::LParen | Token::LBracket => Meaning::Opens,
        Token::RParen | Token::RBracket => Meaning::Closes,
        Token::Comma => Meaning::Comma,
        Token::Word(_) if is_field => Meaning::Nothing,
        Token::Word(word) => match word.keyword {
            Keyword::AND | Keyword::OR => Meaning::Condition,
            Keyword::NOT
            | Keyword::IS
            | Keyword::IN
            | Keyword::LIKE
            | Keyword::ILIKE
            | Keyword::SIMILAR
            | Keyword::BETWEEN
            | Keyword::COLLATE
            | Keyword::AT
            | Keyword::NOTNULL
            | Keyword::OVERLAPS
            | Keyword::XOR
            | Keyword::DIV
            | Keyword::REGEXP
            | Keyword::RLIKE => Meaning::Operator,
            Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT | Keyword::MINUS => Meaning::SetOperation,
            Keyword::JOIN | Keyword::APPLY => Meaning::Join,
            // IS DISTINCT FROM and WITHIN GROUP stand in the middle of an expression.
            Keyword::FROM if !before(Keyword::DISTINCT) => Meaning::Clause(Keyword::FROM),
            Keyword::GROUP if !before(Keyword::WITHIN) => Meaning::Clause(Keyword::GROUP),
            Keyword::SELECT | Keyword::WHERE | Keyword::HAVING | Keyword::ORDER | Keyword::LIMIT | Keyword::OFFSET => {
                Meaning::Clause(word.keyword)
            }
            _ => Meaning::Nothing,
        },
        Token::Number(..) | Token::Placeholder(_) | Token::Period | Token::Char(_) | Token::SemiColon => Meaning::Nothing,
        Token::SingleQuotedString(_) | Token::EscapedStringLiteral(_) | Token::NationalStringLiteral(_) | Token::DollarQuotedString(_) => {
            Meaning::Nothing
        }
        _ => Meaning::Operator,
    }
}

#[cfg(test)]
mod tests {
    use crate::error::Kind;
    use crate::sql::parse;
    use crate::types::{COLUMNS_MAX, LEVELS_MAX, STACK_BYTES};

    /// Parses, and forgets, on a thread as the server has them.
    fn refused(text: &str) -> Option<Kind> {
        let text = text.to_owned();
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        thread.spawn(move || parse(&text).err().map(|error| error.kind())).unwrap().join().unwrap()
    }

    #[test]
    fn a_row_of_operators_counts_with_what_stands_in_it() {
        let row = |count: usize| format!("1{}", " + 1".repeat(count));
        assert_eq!(refused(&format!("SELECT {}", row(LEVELS_MAX))), None);
        assert_eq!(refused(&format!("SELECT {}", row(LEVELS_MAX + 1))), Some(Kind::TooComplex));
        assert_eq!(refused(&format!("SELECT ({}){}", row(LEVELS_MAX / 2), " + 1".repeat(LEVELS_MAX / 2))), Some(Kind::TooComplex));
        assert_eq!(refused(&format!("SELECT {}, {}", row(LEVELS_MAX / 2 + 1), row(LEVELS_MAX / 2 + 1))), None);
        assert_eq!(refused(&format!("SELECT 1{}", " IS DISTINCT FROM 1".repeat(LEVELS_MAX + 1))), Some(Kind::TooComplex));
        assert_eq!(refused(&format!("SELECT x{} FROM t", "[1]".repeat(LEVELS_MAX + 1))), Some(Kind::TooComplex));
    }

    #[test]
    fn set_operations_and_joins_count_as_operators_do() {
        assert_eq!(refused(&format!("SELECT 1 + 1{}", " UNION ALL SELECT 1 + 1".repeat(LEVELS_MAX - 1))), None);
        assert_eq!(refused(&format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(LEVELS_MAX + 1))), Some(Kind::TooComplex));
        assert_eq!(refused(&format!("SELECT 1 FROM t{}", ", t".repeat(LEVELS_MAX + 1))), Some(Kind::TooComplex));
        assert_eq!(refused(&format!("SELECT 1 FROM t{}", " CROSS JOIN t".repeat(LEVELS_MAX + 1))), Some(Kind::TooComplex));
        assert_eq!(refused(&format!("SELECT 1 WHERE 1 IN (1{})", ", 1".repeat(LEVELS_MAX * 2))), None);
    }

    #[test]
    fn a_list_of_more_columns_than_the_protocol_can_say_is_refused() {
        assert_eq!(refused(&format!("SELECT 1{}", ", 1".repeat(COLUMNS_MAX - 1))), None);
        assert_eq!(refused(&format!("SELECT 1{}", ", 1".repeat(COLUMNS_MAX))), Some(Kind::TooManyColumns));
        assert_eq!(refused(&format!("SELECT count(*) FROM (SELECT 1{}) s", ", 1".repeat(COLUMNS_MAX))), Some(Kind::TooManyColumns));
        assert_eq!(refused(&format!("VALUES (1){}", ", (1)".repeat(COLUMNS_MAX * 2))), None);
    }
}
