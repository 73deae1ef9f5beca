//! Which of a connector's columns have to be decoded when only some of a source's are read.
//!
//! ```text
//! record    {"id": 7, "url": "…", "at": "…", …}
//! connector  id  url  at  …                        decoded: what somebody needs; of the rest it is looked only whether it is of its type
//! source     id  url  at  …  day (generated from at)
//! views      id               day
//! ```
//!
//! A source keeps no rows, so what no view reads of it is needed by nobody else. Three things are needed whoever reads: what generated columns are
//! computed from (so that what goes wrong is counted alike), the column of the watermark, and all columns where a row may yet become a dead letter
//! behind the connector, which shows the whole row.

use std::collections::BTreeSet;

use crate::catalog::{Column, EventTime};
use crate::connect::Connector;
use crate::engine::Engine;
use crate::engine::create::column_of;
use crate::error::Result;

/// What must be decoded of a connector's columns.
#[derive(Clone, Debug, Default)]
pub(crate) struct ColumnNeeds {
    /// For each of the object's columns the connector's that it is; `None`: a generated one.
    delivered: Vec<Option<usize>>,
    /// The connector's columns that are needed whoever reads; `None`: all.
    always: Option<BTreeSet<usize>>,
    /// How many the connector has.
    count: usize,
}

impl ColumnNeeds {
    /// Which of the connector's columns are needed for these of the object's; `None`: all.
    pub(crate) fn of(&self, read: &BTreeSet<usize>) -> Option<Vec<bool>> {
        let always = self.always.as_ref()?;
        let read: BTreeSet<usize> = read.iter().filter_map(|column| *self.delivered.get(*column)?).collect();
        Some((0..self.count).map(|column| always.contains(&column) || read.contains(&column)).collect())
    }
}

impl Engine {
    /// The needs of an object with these columns.
    pub(crate) fn column_needs(
        &self,
        columns: &[Column],
        event_time: Option<&EventTime>,
        connector: &dyn Connector,
    ) -> Result<ColumnNeeds> {
        let at_hand: Vec<Column> = connector.columns().iter().map(column_of).collect();
        let place = |column: &Column| at_hand.iter().position(|delivered| delivered.name == column.name);
        let delivered: Vec<Option<usize>> =
            columns.iter().map(|column| if column.generated.is_some() { None } else { place(column) }).collect();
        let count = at_hand.len();
        let may_fail = columns.iter().any(|column| column.generated.is_some() && column.not_null);
        if may_fail || event_time.is_some_and(|event_time| event_time.max_future_us.is_some()) {
            return Ok(ColumnNeeds { delivered, always: None, count });
        }
        let generated: Vec<Column> = columns.iter().filter(|column| column.generated.is_some()).cloned().collect();
        let computed = self.generated_projection(&at_hand, &generated)?;
        let mut always: BTreeSet<usize> = computed.iter().flat_map(|scalar| scalar.columns_read()).collect();
        let timed = |column: &Column| event_time.is_some_and(|event_time| event_time.column == column.name);
        always.extend(columns.iter().zip(&delivered).filter(|(column, _)| timed(column)).filter_map(|(_, place)| *place));
        Ok(ColumnNeeds { delivered, always: Some(always), count })
    }
}

#[cfg(test)]
mod tests {
    use super::ColumnNeeds;

    #[test]
    fn what_is_read_is_decoded_and_what_is_needed_anyway() {
        // Of three columns the second is what a generated one, the last, is computed from.
        let needs = ColumnNeeds { delivered: vec![Some(0), Some(1), Some(2), None], always: Some([1].into()), count: 3 };
        assert_eq!(needs.of(&[0].into()), Some(vec![true, true, false]));
        assert_eq!(needs.of(&[2, 3].into()), Some(vec![false, true, true]));
        assert_eq!(needs.of(&[].into()), Some(vec![false, true, false]));
        assert_eq!(ColumnNeeds { always: None, ..needs }.of(&[0].into()), None);
    }
}
