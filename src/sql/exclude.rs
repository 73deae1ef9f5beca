//! `EXCLUDE CURRENT ROW | GROUP | TIES | NO OTHERS` behind a window's frame, of which sqlparser has no grammar.
//!
//! The clause goes, and a call that means it stands first in the window's PARTITION BY, from where the planner takes it:
//!
//! ```text
//! OVER (ORDER BY a ROWS 1 PRECEDING EXCLUDE TIES)
//! OVER (PARTITION BY tidemill_exclude_ties() ORDER BY a ROWS 1 PRECEDING)
//! ```

use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::tokens::is_word;

/// The calls are named so, with `current`, `group` or `ties` behind.
pub const EXCLUDE: &str = "tidemill_exclude_";

/// What may stand behind the word, and what is called.
const CLAUSES: [(&[&str], Option<&str>); 4] =
    [(&["current", "row"], Some("current")), (&["group"], Some("group")), (&["ties"], Some("ties")), (&["no", "others"], None)];

/// Puts a call in the place of every such clause.
pub(super) fn as_calls(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    while let Some((index, words, called)) = (1..tokens.len()).find_map(|index| clause(&tokens, index)) {
        let span = tokens[index].span;
        let opening = opening(&tokens, index);
        tokens.drain(index..=index + words);
        let Some(called) = called else { continue };
        let call = [Token::make_word(&format!("{EXCLUDE}{called}"), None), Token::LParen, Token::RParen];
        let by = (opening + 1..index)
            .find(|at| is_word(&tokens, *at, "partition") && is_word(&tokens, at + 1, "by") && level(&tokens, opening, *at) == 1);
        let (at, around): (usize, Vec<Token>) = match by {
            Some(partition) => (partition + 2, call.into_iter().chain([Token::Comma]).collect()),
            None => {
                let first = ["order", "rows", "range", "groups"].iter().any(|word| is_word(&tokens, opening + 1, word));
                let words = ["PARTITION", "BY"].map(Token::make_keyword);
                // A window's name stands before everything else.
                (opening + 1 + usize::from(!first), words.into_iter().chain(call).collect())
            }
        };
        tokens.splice(at..at, around.into_iter().map(|token| TokenWithSpan::new(token, span)));
    }
    tokens
}

/// The clause at `index`: where it is, how many words stand behind EXCLUDE, and what is called.
fn clause(tokens: &[TokenWithSpan], index: usize) -> Option<(usize, usize, Option<&'static str>)> {
    let behind_a_frame = ["row", "preceding", "following"].iter().any(|word| is_word(tokens, index - 1, word));
    if !behind_a_frame || !is_word(tokens, index, "exclude") {
        return None;
    }
    CLAUSES.iter().find_map(|(words, called)| {
        let written = words.iter().enumerate().all(|(place, word)| is_word(tokens, index + 1 + place, word));
        let closed = tokens.get(index + 1 + words.len()).is_some_and(|next| next.token == Token::RParen);
        (written && closed).then_some((index, words.len(), *called))
    })
}

/// The parenthesis that is open at `index`.
fn opening(tokens: &[TokenWithSpan], index: usize) -> usize {
    let mut closed = 0_usize;
    for at in (0..index).rev() {
        match tokens[at].token {
            Token::RParen => closed += 1,
            Token::LParen if closed == 0 => return at,
            Token::LParen => closed -= 1,
            _ => {}
        }
    }
    0
}

/// How many parentheses are open at `index`, counted from the one at `opening`.
fn level(tokens: &[TokenWithSpan], opening: usize, index: usize) -> usize {
    tokens[opening..index].iter().fold(0_usize, |open, token| match token.token {
        Token::LParen => open + 1,
        Token::RParen => open.saturating_sub(1),
        _ => open,
    })
}

#[cfg(test)]
mod tests {
    use crate::sql::{Statement, parse};

    #[test]
    fn the_clause_becomes_a_call() {
        let parsed = |sql: &str| match parse(sql).unwrap().remove(0).statement {
            Statement::Query(query) => query.to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            parsed("SELECT sum(a) OVER (w ROWS 1 PRECEDING EXCLUDE CURRENT ROW) FROM t"),
            "SELECT sum(a) OVER (w PARTITION BY tidemill_exclude_current() ROWS 1 PRECEDING) FROM t"
        );
        assert_eq!(
            parsed("SELECT sum(a) OVER (PARTITION BY b ORDER BY a ROWS 1 PRECEDING EXCLUDE NO OTHERS) AS exclude FROM t"),
            "SELECT sum(a) OVER (PARTITION BY b ORDER BY a ROWS 1 PRECEDING) AS exclude FROM t"
        );
        assert_eq!(
            parsed("SELECT sum(a) OVER (PARTITION BY (b) GROUPS 1 PRECEDING EXCLUDE TIES) FROM t"),
            "SELECT sum(a) OVER (PARTITION BY tidemill_exclude_ties(), (b) GROUPS 1 PRECEDING) FROM t"
        );
    }
}
