//! What a side of a join keeps of each row beside its columns: the way on along its chain, and, of a side that can lose rows, its weight.
//!
//! ```text
//!  next u32                         rows only ever come: each has the weight 1
//!  next u32   weight i8   tag u8    weights that are too large for a byte are kept apart
//! ```
//!
//! All of a row lies in one piece: whoever walks along a chain asks each row whether it is alive, and a cache miss for each of the questions is what a
//! probe of a large state would spend its time with. The tag is a byte of the whole row's hash, so that a walk compares a row only when it is likely to
//! be the one that it looks for.

use std::collections::HashMap;

/// What is kept of each row.
pub(super) enum Links {
    /// Of rows that stay.
    Lasting(Vec<u32>),
    /// Of rows that may go; `large`: weights that are too large for a byte.
    Weighted { links: Vec<Weighted>, large: HashMap<u32, i64> },
}

/// Six bytes, without the two that the compiler would leave empty.
#[derive(Clone, Copy)]
#[repr(C, packed(2))]
pub(super) struct Weighted {
    /// The next older row of the chain.
    next: u32,
    weight: i8,
    tag: u8,
}

/// Look among the large ones.
const LARGE: i8 = i8::MIN;

/// A byte of a row's hash that says nothing of its bucket.
pub(super) fn tag(row_hash: u64) -> u8 {
    (row_hash >> 56) as u8
}

impl Links {
    pub(super) fn new(are_weighted: bool) -> Self {
        if are_weighted { Links::Weighted { links: Vec::new(), large: HashMap::new() } } else { Links::Lasting(Vec::new()) }
    }

    /// Without rows, of the same kind.
    pub(super) fn emptied(&self) -> Self {
        Links::new(matches!(self, Links::Weighted { .. }))
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        match self {
            Links::Lasting(links) => links.len(),
            Links::Weighted { links, .. } => links.len(),
        }
    }

    /// The next older row of a row's chain.
    #[inline]
    pub(super) fn next(&self, row: u32) -> u32 {
        match self {
            Links::Lasting(links) => links[row as usize],
            Links::Weighted { links, .. } => links[row as usize].next,
        }
    }

    /// Lets another row be the next older one.
    pub(super) fn set_next(&mut self, row: u32, next: u32) {
        match self {
            Links::Lasting(links) => links[row as usize] = next,
            Links::Weighted { links, .. } => links[row as usize].next = next,
        }
    }

    /// The weight of a row; 0 if it is dead.
    #[inline]
    pub(super) fn weight(&self, row: u32) -> i64 {
        match self {
            Links::Lasting(_) => 1,
            Links::Weighted { links, large } => match links[row as usize].weight {
                LARGE => large[&row],
                small => i64::from(small),
            },
        }
    }

    /// Gives a row another weight. Nothing happens where rows only come.
    pub(super) fn set_weight(&mut self, row: u32, weight: i64) {
        let Links::Weighted { links, large } = self else { return };
        let small = i8::try_from(weight).unwrap_or(LARGE);
        let before = std::mem::replace(&mut links[row as usize].weight, small);
        if small == LARGE {
            large.insert(row, weight);
        } else if before == LARGE {
            large.remove(&row);
        }
    }

    /// The tag of a row; 0 where rows only come.
    pub(super) fn tag(&self, row: u32) -> u8 {
        match self {
            Links::Lasting(_) => 0,
            Links::Weighted { links, .. } => links[row as usize].tag,
        }
    }

    /// Takes in the next row. Weight and tag mean nothing where rows only come.
    pub(super) fn push(&mut self, next: u32, weight: i64, tag: u8) {
        match self {
            Links::Lasting(links) => links.push(next),
            Links::Weighted { links, .. } => {
                links.push(Weighted { next, weight: 0, tag });
                self.set_weight(self.len() as u32 - 1, weight);
            }
        }
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Links::Lasting(links) => links.capacity() * size_of::<u32>(),
            Links::Weighted { links, large } => links.capacity() * size_of::<Weighted>() + large.capacity() * size_of::<(u32, i64)>(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Links, Weighted};

    #[test]
    fn weights_of_any_size_are_kept() {
        let mut links = Links::new(true);
        for weight in [1, -1, 127, -127, -128, 128, i64::MAX, i64::MIN, 0] {
            links.push(5, weight, 7);
            let row = links.len() as u32 - 1;
            assert_eq!((links.weight(row), links.next(row)), (weight, 5));
            for other in [0, 200, -128, 5, 1_000, weight] {
                links.set_weight(row, other);
                links.set_next(row, 4);
                assert_eq!((links.weight(row), links.tag(row), links.next(row)), (other, 7, 4));
            }
        }
        let Links::Weighted { large, .. } = links else { panic!("weighted") };
        assert_eq!(large.len(), 4, "those that went back into a byte are not kept twice");
        assert_eq!(size_of::<Weighted>(), 6);
    }
}
