//! Grouping clauses of which sqlparser has no grammar, in words it knows.
//!
//! ```text
//! GROUP BY DISTINCT ROLLUP (a), b              GROUP BY tidemill_distinct_sets, ROLLUP (a), b
//! GROUP BY ALL ROLLUP (a), b                   GROUP BY ROLLUP (a), b
//! GROUPING SETS (a, GROUPING SETS (b, ()))     GROUPING SETS (a, b, ())
//! ```

use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::tokens::is_word;

/// Stands before the grouping clauses where equal sets count once.
pub const DISTINCT_SETS: &str = "tidemill_distinct_sets";

/// What a parenthesis was opened by.
#[derive(Clone, Copy, PartialEq)]
enum Opened {
    Sets,
    /// Sets within sets: the parenthesis is left out.
    Within,
    Other,
}

/// Rewrites what the header tells of.
pub(super) fn known_clauses(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    if !(0..tokens.len()).any(|index| is_word(&tokens, index, "group") || is_word(&tokens, index, "sets")) {
        return tokens;
    }
    let mut known: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len() + 1);
    let mut open: Vec<Opened> = Vec::new();
    let mut index = 0;
    while index < tokens.len() {
        let token = &tokens[index];
        let is = |offset: usize, word: &str| is_word(&tokens, index + offset, word);
        let opens = |offset: usize| tokens.get(index + offset).is_some_and(|next| next.token == Token::LParen);
        let behind_group_by = index >= 2 && is_word(&tokens, index - 2, "group") && is_word(&tokens, index - 1, "by");
        if is(0, "grouping") && is(1, "sets") && opens(2) {
            let element = matches!(known.last().map(|last| &last.token), Some(Token::LParen | Token::Comma));
            let within = element && open.last().is_some_and(|opened| *opened != Opened::Other);
            open.push(if within { Opened::Within } else { Opened::Sets });
            known.extend(tokens[index..index + 3].iter().filter(|_| !within).cloned());
            index += 3;
            continue;
        }
        match &token.token {
            Token::LParen => open.push(Opened::Other),
            Token::RParen if open.pop() == Some(Opened::Within) => {
                index += 1;
                continue;
            }
            Token::Word(_) if behind_group_by && is(0, "distinct") => {
                let words = [Token::make_word(DISTINCT_SETS, None), Token::Comma];
                known.extend(words.map(|word| TokenWithSpan::new(word, token.span)));
                index += 1;
                continue;
            }
            Token::Word(_)
                if behind_group_by && is(0, "all") && (opens(1) || ["rollup", "cube", "grouping"].iter().any(|word| is(1, word))) =>
            {
                index += 1;
                continue;
            }
            _ => {}
        }
        known.push(token.clone());
        index += 1;
    }
    known
}

#[cfg(test)]
mod tests {
    use crate::sql::{Statement, parse};

    #[test]
    fn sets_within_sets_are_sets_of_the_outer_ones() {
        let parsed = |sql: &str| match parse(sql).unwrap().remove(0).statement {
            Statement::Query(query) => query.to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            parsed("SELECT 1 FROM t GROUP BY GROUPING SETS ((a), GROUPING SETS ((b, c), ()), d)"),
            "SELECT 1 FROM t GROUP BY GROUPING SETS ((a), (b, c), (), (d))"
        );
        assert_eq!(
            parsed("SELECT 1 FROM t GROUP BY DISTINCT ROLLUP (a), b"),
            "SELECT 1 FROM t GROUP BY tidemill_distinct_sets, ROLLUP (a), b"
        );
    }
}
