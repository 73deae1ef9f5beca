//! How many partners each row of a side has, and what changed of that in the epoch.
//!
//! Needed where a row comes out for having none (outer and anti joins) or any (semi and mark joins). Counts are by weight, so they are
//! right whatever the order of an epoch's changes. A checkpoint stores them with their rows: to count again would be to join again.

/// Counts by row number of the side.
#[derive(Default)]
pub(super) struct Partners {
    counts: Vec<i64>,
    /// Where a row stands in `touched`, or `NONE`.
    slots: Vec<u32>,
    touched: Vec<Touch>,
}

/// What an epoch did to one row.
#[derive(Clone, Copy)]
pub(super) struct Touch {
    pub(super) row: u32,
    /// By how much its weight changed.
    pub(super) weight: i64,
    /// By how much the number of its partners changed.
    pub(super) partners: i64,
}

const NONE: u32 = u32::MAX;

impl Partners {
    /// The partners of a row, now.
    pub(super) fn count(&self, row: u32) -> i64 {
        self.counts[row as usize]
    }

    /// A row arrived or went: its weight changed by `weight`. If it is new, it has `partners`; else they are known.
    pub(super) fn weigh(&mut self, row: u32, weight: i64, partners: i64) {
        if row as usize == self.counts.len() {
            self.counts.push(partners);
            self.slots.push(NONE);
        }
        self.touch(row).weight += weight;
    }

    /// A row won partners, or lost them.
    pub(super) fn gain(&mut self, row: u32, partners: i64) {
        self.counts[row as usize] += partners;
        self.touch(row).partners += partners;
    }

    /// Something changed for every row.
    pub(super) fn touch_all(&mut self) {
        for row in 0..self.counts.len() as u32 {
            self.touch(row);
        }
    }

    /// The end of an epoch: what it did, in the order in which rows were touched.
    pub(super) fn settle(&mut self) -> Vec<Touch> {
        for touch in &self.touched {
            self.slots[touch.row as usize] = NONE;
        }
        std::mem::take(&mut self.touched)
    }

    /// Rows got other numbers: `kept` has the old ones in the new order.
    pub(super) fn renumber(&mut self, kept: &[u32]) {
        debug_assert!(self.touched.is_empty(), "rows move between epochs");
        self.counts = kept.iter().map(|row| self.counts[*row as usize]).collect();
        self.slots = vec![NONE; kept.len()];
    }

    /// After a restart: the count of the next row.
    pub(super) fn restore(&mut self, count: i64) {
        self.counts.push(count);
        self.slots.push(NONE);
    }

    pub(super) fn bytes(&self) -> usize {
        self.counts.capacity() * size_of::<i64>() + self.slots.capacity() * size_of::<u32>() + self.touched.capacity() * size_of::<Touch>()
    }

    fn touch(&mut self, row: u32) -> &mut Touch {
        let slot = &mut self.slots[row as usize];
        if *slot == NONE {
            *slot = self.touched.len() as u32;
            self.touched.push(Touch { row, weight: 0, partners: 0 });
        }
        &mut self.touched[*slot as usize]
    }
}
