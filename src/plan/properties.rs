//! What is known of a node's output, from what is known of its inputs. Each rule is one function.

use super::expressions::column_index;
use super::node::{Crossing, JoinKind, Properties, Scalar};
use crate::types::{Low, TimeWindows};

/// Rows that never change, all made on one worker.
pub(super) fn constant() -> Properties {
    Properties { append_only: true, key: None, partitioning: Some(Vec::new()) }
}

/// Rows as an object has them. Where they are is not known: rows enter on whichever worker received them.
pub(super) fn import(append_only: bool, key: Option<&[usize]>, columns: &[usize]) -> Properties {
    let key = key.and_then(|key| places(key, |wanted| columns.iter().position(|column| column == wanted)));
    Properties { append_only, key, partitioning: None }
}

/// A projection moves columns; what it drops or computes is not known any more.
pub(super) fn map(input: &Properties, projection: &[Scalar]) -> Properties {
    let place = |wanted: &usize| projection.iter().position(|scalar| column_index(&scalar.expression) == Some(*wanted));
    Properties {
        append_only: input.append_only,
        key: input.key.as_ref().and_then(|key| places(key, place)),
        partitioning: input.partitioning.as_ref().and_then(|columns| places(columns, place)),
    }
}

/// A row comes out once per window: what tells its windows apart, their start or their end behind so many columns, joins the key.
pub(super) fn hop(input: &Properties, columns: usize, windows: TimeWindows) -> Properties {
    let key = input.key.clone().map(|mut key| {
        if !windows.is_single() {
            key.push(columns + windows.key());
        }
        key
    });
    Properties { append_only: input.append_only, key, partitioning: input.partitioning.clone() }
}

/// What leaves is retracted, and so is what has come if `low`, which rows are compared with, falls again. Where that is is not known: rows that wait are shared out among the workers as they came, so that after a
/// restart with another number of workers they are not where the input's rows of the same key are.
pub(super) fn temporal(input: &Properties, crossing: Crossing, low: &Low) -> Properties {
    let stays = matches!(crossing, Crossing::Enters { .. }) && !low.may_fall();
    Properties { append_only: input.append_only && stays, partitioning: None, ..input.clone() }
}

/// Rows that are not late by `column`. A change that is late takes no row away, and the next row with its key may be in time: rows of one
/// key then differ in when they are late, so `column` joins the key. Of two rows that agree in it too, the second is late when the first is.
pub(super) fn in_time(input: &Properties, column: usize) -> Properties {
    let key = input.key.clone().map(|mut key| {
        if !input.append_only && !key.contains(&column) {
            key.push(column);
        }
        key
    });
    Properties { key, ..input.clone() }
}

/// Every row with its session, which changes; unless it comes out when it is final.
/// `time`: by which rows may be late.
pub(super) fn session(input: &Properties, time: Option<usize>, emits: bool) -> Properties {
    let in_time = time.map_or_else(|| input.clone(), |time| in_time(input, time));
    Properties { append_only: emits, ..in_time }
}

/// A row comes out once per grouping set: the set's id, in column `id`, joins the key.
pub(super) fn expand(input: &Properties, id: usize) -> Properties {
    let key = input.key.clone().map(|mut key| {
        key.push(id);
        key
    });
    Properties { append_only: input.append_only, key, partitioning: input.partitioning.clone() }
}

/// A row comes out once per element: what is known of its own columns stays; `place` says where they stand. `ordinal`: a column that tells
/// the elements of one row apart, which joins the key.
pub(super) fn unnest(input: &Properties, place: impl Fn(&usize) -> Option<usize>, ordinal: Option<usize>) -> Properties {
    let key = input.key.as_ref().zip(ordinal).and_then(|(key, ordinal)| {
        let mut key = places(key, &place)?;
        key.push(ordinal);
        Some(key)
    });
    let partitioning = input.partitioning.as_ref().and_then(|columns| places(columns, &place));
    Properties { append_only: input.append_only, key, partitioning }
}

/// The same rows elsewhere.
pub(super) fn exchange(input: &Properties, keys: &[usize]) -> Properties {
    Properties { partitioning: Some(keys.to_vec()), ..input.clone() }
}

/// Rows that stand for those of the input, by the keys at the front of the output. Nobody but an aggregate reads them: `append_only` tells
/// it what the input's rows were.
pub(super) fn combine(input: &Properties) -> Properties {
    Properties { append_only: input.append_only, key: None, partitioning: None }
}

/// One row per key, at the front of the output.
pub(super) fn aggregate(input: &Properties, keys: &[usize], aggregates: usize) -> Properties {
    let place = |wanted: &usize| keys.iter().position(|key| key == wanted);
    Properties {
        append_only: input.append_only && aggregates == 0,
        key: Some((0..keys.len()).collect()),
        partitioning: input.partitioning.as_ref().and_then(|columns| places(columns, place)),
    }
}

/// The first rows of every group; `single`: one of each at the most. `place`: the column of the row's number in its group, if it comes out.
pub(super) fn top_n(input: &Properties, keys: &[usize], single: bool, place: Option<usize>) -> Properties {
    let of_group = if single { Some(keys.to_vec()) } else { place.map(|place| keys.iter().copied().chain([place]).collect()) };
    let key = [input.key.clone(), of_group].into_iter().flatten().min_by_key(Vec::len);
    Properties { append_only: false, key, partitioning: input.partitioning.clone() }
}

/// The same rows with more columns; `place`: one that tells the rows of a partition apart.
pub(super) fn window(input: &Properties, keys: &[usize], place: Option<usize>) -> Properties {
    top_n(input, keys, false, place)
}

/// What comes out of a join, at the place of the row that made it: a pair's rows are at one place.
///
/// A row that was padded with NULLs is where its own key put it, not where NULL belongs: only columns of a side that is never padded tell
/// where rows are. All on one worker stays that.
pub(super) fn join(
    kind: JoinKind,
    left: &Properties,
    right: &Properties,
    left_keys: &[usize],
    right_keys: &[usize],
    left_columns: usize,
) -> Properties {
    let append_only = kind.only_grows() && left.append_only && right.append_only;
    if !kind.gives_pairs() {
        return Properties { append_only, ..left.clone() };
    }
    let unique =
        |key: &Option<Vec<usize>>, joined: &[usize]| key.as_ref().is_some_and(|key| key.iter().all(|column| joined.contains(column)));
    let moved = |columns: &Vec<usize>| columns.iter().map(|column| column + left_columns).collect::<Vec<_>>();
    let right_key = right.key.as_ref().map(moved);
    let [left_padded, right_padded] = kind.pads();
    // A side that is unique by the join's keys gives each row of the other side one partner at most. Both keys together are unique also
    // with padding on one side: a row has no partner or some, not both. With padding on both sides, rows of two sides could look alike.
    let key = if !left_padded && unique(&right.key, right_keys) && left.key.is_some() {
        left.key.clone()
    } else if !right_padded && unique(&left.key, left_keys) && right_key.is_some() {
        right_key
    } else if left_padded && right_padded {
        None
    } else {
        left.key.clone().zip(right_key).map(|(left, right)| left.into_iter().chain(right).collect())
    };
    let partitioning = match (left_padded, right_padded) {
        (false, _) => left.partitioning.clone(),
        (true, false) => right.partitioning.as_ref().map(moved),
        (true, true) => left.partitioning.clone().filter(Vec::is_empty),
    };
    Properties { append_only, key, partitioning }
}

/// All rows of all inputs.
pub(super) fn union<'a>(inputs: impl Iterator<Item = &'a Properties> + Clone) -> Properties {
    let mut partitionings = inputs.clone().map(|input| input.partitioning.as_ref());
    let first = partitionings.next().flatten();
    let same = partitionings.all(|other| other == first);
    Properties { append_only: inputs.clone().all(|input| input.append_only), key: None, partitioning: first.filter(|_| same).cloned() }
}

/// The rows of all iterations of a recursion, of so many columns. `grows`: neither base nor term ever retracts a row.
pub(super) fn recursion(distinct: bool, grows: bool, columns: usize) -> Properties {
    let all: Option<Vec<usize>> = distinct.then(|| (0..columns).collect());
    Properties { append_only: grows, key: all.clone(), partitioning: all }
}

/// The same with the number of the iteration behind so many columns. A row moves to another iteration, whatever happens to it as a whole.
pub(super) fn recurrence(distinct: bool, columns: usize) -> Properties {
    let key = distinct.then(|| (0..=columns).collect());
    Properties { append_only: false, key, partitioning: distinct.then(|| (0..columns).collect()) }
}

/// Rows that are final.
pub(super) fn closed(input: &Properties) -> Properties {
    Properties { append_only: true, ..input.clone() }
}

/// Whether rows that agree in `keys` are on one worker already.
pub(super) fn together(properties: &Properties, keys: &[usize]) -> bool {
    properties.partitioning.as_ref().is_some_and(|columns| columns.iter().all(|column| keys.contains(column)))
}

/// Whether equal keys of both sides of a join are on one worker already: both sides lie by all of their keys, in this order. (Some of the
/// keys would do to find pairs, but stored state is shared out by the hash of all.)
pub(super) fn met(left: &Properties, right: &Properties, left_keys: &[usize], right_keys: &[usize]) -> bool {
    let at = |columns: &Option<Vec<usize>>, keys: &[usize]| {
        columns.as_ref().and_then(|columns| places(columns, |wanted| keys.iter().position(|key| key == wanted)))
    };
    let all = Some((0..left_keys.len()).collect());
    at(&left.partitioning, left_keys) == all && at(&right.partitioning, right_keys) == all
}

fn places(columns: &[usize], place: impl Fn(&usize) -> Option<usize>) -> Option<Vec<usize>> {
    columns.iter().map(place).collect()
}
