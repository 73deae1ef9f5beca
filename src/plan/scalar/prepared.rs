//! What functions make of texts that hardly ever change from row to row: compiled patterns, formats in pieces.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::thread::LocalKey;

use crate::error::Result;

/// Kept at most on each thread and for each kind: a query has a few; a column of patterns must not fill the memory.
const KEPT_MAX: usize = 256;

/// What was made of `N` texts, on one thread.
pub(super) struct Prepared<V, const N: usize> {
    /// That of the last row, found without hashing.
    last: Option<([String; N], Rc<V>)>,
    kept: HashMap<[String; N], Rc<V>>,
}

impl<V, const N: usize> Default for Prepared<V, N> {
    fn default() -> Prepared<V, N> {
        Prepared { last: None, kept: HashMap::new() }
    }
}

/// A place for what was made, in `thread_local!`.
pub(super) type Place<V, const N: usize> = LocalKey<RefCell<Prepared<V, N>>>;

/// What was made of these texts before, or is now.
///
/// # Errors
///
/// What `make` says; it is asked again the next time.
pub(super) fn prepared<V, const N: usize>(
    place: &'static Place<V, N>,
    texts: [&str; N],
    make: impl FnOnce() -> Result<V>,
) -> Result<Rc<V>> {
    let last = place.with_borrow(|known| match &known.last {
        Some((last, made)) if last.iter().zip(texts).all(|(last, text)| last == text) => Some(Rc::clone(made)),
        _ => None,
    });
    if let Some(made) = last {
        return Ok(made);
    }
    let texts = texts.map(str::to_owned);
    let made = match place.with_borrow(|known| known.kept.get(&texts).cloned()) {
        Some(made) => made,
        None => Rc::new(make()?),
    };
    place.with_borrow_mut(|known| {
        if known.kept.len() >= KEPT_MAX {
            known.kept.clear();
        }
        known.kept.insert(texts.clone(), Rc::clone(&made));
        known.last = Some((texts, Rc::clone(&made)));
    });
    Ok(made)
}
