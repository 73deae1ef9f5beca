//! At which iterations a row is derived, and how often: the row belongs to the first of them.

/// One iteration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Level {
    pub(super) iteration: u32,
    /// The row has been emitted with this iteration and not been retracted.
    present: bool,
    /// How many ways lead to it there.
    pub(super) count: i64,
}

/// The iterations at which a row is derived. Nearly every row of a tree has one, so that one needs no list.
#[derive(Debug, Default)]
pub(super) enum Levels {
    #[default]
    None,
    One(Level),
    /// In no order: there are few.
    Many(Vec<Level>),
}

impl Levels {
    /// All of them, in no order.
    pub(super) fn all(&self) -> &[Level] {
        match self {
            Levels::None => &[],
            Levels::One(level) => std::slice::from_ref(level),
            Levels::Many(levels) => levels,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all().is_empty()
    }

    /// Adds ways at an iteration.
    pub(super) fn add(&mut self, iteration: u32, count: i64) {
        let new = Level { iteration, present: false, count };
        match self {
            Levels::None => *self = Levels::One(new),
            Levels::One(level) if level.iteration == iteration => level.count += count,
            Levels::One(level) => *self = Levels::Many(vec![*level, new]),
            Levels::Many(levels) => match levels.iter_mut().find(|level| level.iteration == iteration) {
                Some(level) => level.count += count,
                None => levels.push(new),
            },
        }
    }

    /// Brings iteration `at` up to date, all before it being so already. Gives what to emit there (+1, -1, or 0), and the next iteration
    /// at which the row is to come or to go, as far as can be seen now.
    pub(super) fn settle(&mut self, at: u32) -> (i64, Option<u32>) {
        let lowest = self.all().iter().filter(|level| level.count > 0).map(|level| level.iteration).min();
        let levels = match self {
            Levels::None => return (0, None),
            Levels::One(level) => std::slice::from_mut(level),
            Levels::Many(levels) => levels.as_mut_slice(),
        };
        let mut change = 0;
        let mut next: Option<u32> = None;
        for level in levels {
            let wanted = lowest == Some(level.iteration);
            if wanted == level.present || level.iteration < at {
                continue;
            }
            if level.iteration == at {
                level.present = wanted;
                change = if wanted { 1 } else { -1 };
            } else {
                next = Some(next.map_or(level.iteration, |known| known.min(level.iteration)));
            }
        }
        self.shrink();
        (change, next)
    }

    /// Forgets iterations that are of no more use.
    fn shrink(&mut self) {
        let useful = |level: &Level| level.count != 0 || level.present;
        match self {
            Levels::One(level) if !useful(level) => *self = Levels::None,
            Levels::Many(levels) => {
                levels.retain(useful);
                if let [only] = levels.as_slice() {
                    *self = Levels::One(*only);
                } else if levels.is_empty() {
                    *self = Levels::None;
                }
            }
            _ => {}
        }
    }

    /// Between two epochs a row is present at its first iteration and nowhere else.
    pub(super) fn restored(&mut self) {
        let lowest = self.all().iter().map(|level| level.iteration).min();
        match self {
            Levels::None => {}
            Levels::One(level) => level.present = true,
            Levels::Many(levels) => levels.iter_mut().for_each(|level| level.present = Some(level.iteration) == lowest),
        }
    }

    /// Bytes beyond the value itself.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Levels::Many(levels) => levels.capacity() * size_of::<Level>(),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Levels;

    #[test]
    fn a_row_moves_to_an_earlier_iteration_and_back() {
        let mut levels = Levels::default();
        levels.add(3, 1);
        assert_eq!(levels.settle(3), (1, None));
        levels.add(1, 2);
        assert_eq!(levels.settle(1), (1, Some(3)), "it comes at 1, and has to go at 3");
        assert_eq!(levels.settle(3), (-1, None));
        levels.add(1, -2);
        assert_eq!(levels.settle(1), (-1, Some(3)), "it goes at 1; at 3 it is derived still, for all that is known now");
        levels.add(3, -1);
        assert_eq!(levels.settle(3), (0, None), "what was derived at 3 hung on it");
        assert!(levels.is_empty());
    }
}
