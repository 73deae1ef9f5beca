//! Functions of arrays.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, ListArray, UInt32Array, make_comparator, new_empty_array};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::{SortOptions, cast, concat, take};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::type_coercion::binary::comparison_coercion;

use super::call::Call;
use super::column::{Integer, List, map1, map2, too_long};
use super::misc::Printed;
use super::{Function, function};
use crate::error::{Error, Kind, Result};
use crate::types::{SqlType, order_key, sql_type_of};

/// Elements that a function makes in one array at the most.
const ELEMENTS_MAX: usize = 1 << 24;

/// The table.
#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn functions() -> Vec<Function> {
    vec![
        function("array_append", "with an element at the end; also `array || element`", "array_append(ARRAY[1, 2], 3)", "{1,2,3}")
            .known("array, any -> array"),
        function("array_prepend", "with an element at the start; also `element || array`", "array_prepend(1, ARRAY[2, 3])", "{1,2,3}")
            .known("any, array -> array"),
        function("array_cat", "both, one behind the other; also `array || array`", "array_cat(ARRAY[1, 2], ARRAY[3])", "{1,2,3}")
            .known("array, array -> array"),
        function("array_length", "the length of a dimension (1 is the outermost)", "array_length(ARRAY[1, 2, 3], 1)", "3")
            .form("array, integer -> integer", |call| {
                map2::<List, Integer, _>(call, |array, dimension| Ok(dimension_of(&array, dimension)))
            }),
        function("array_upper", "the last subscript of a dimension", "array_upper(ARRAY[1, 8], 1)", "2")
            .form("array, integer -> integer", |call| {
                map2::<List, Integer, _>(call, |array, dimension| Ok(dimension_of(&array, dimension)))
            }),
        function("array_lower", "the first subscript of a dimension: 1", "array_lower(ARRAY[1, 8], 1)", "1")
            .form("array, integer -> integer", |call| {
                map2::<List, Integer, _>(call, |array, dimension| Ok(dimension_of(&array, dimension).map(|_| 1)))
            }),
        function("array_ndims", "how many dimensions there are", "array_ndims(ARRAY[ARRAY[1, 2]])", "2").form("array -> integer", |call| {
            map1::<List, _>(call, |array| {
                let sizes = dimensions(&array);
                Ok((!sizes.is_empty()).then(|| super::text::count(sizes.len())))
            })
        }),
        function("array_dims", "the subscripts of all dimensions", "array_dims(ARRAY[ARRAY[1, 2, 3], ARRAY[4, 5, 6]])", "[1:2][1:3]").form(
            "array -> text",
            |call| {
                map1::<List, _>(call, |array| {
                    let sizes = dimensions(&array);
                    Ok((!sizes.is_empty()).then(|| sizes.iter().map(|size| format!("[1:{size}]")).collect::<String>()))
                })
            },
        ),
        function("cardinality", "how many elements there are in all dimensions", "cardinality(ARRAY[ARRAY[1, 2], ARRAY[3, 4]])", "4")
            .form("array -> integer", |call| map1::<List, _>(call, |array| Ok(cardinality(&array)))),
        function(
            "array_position",
            "where an element first is (from a place on); NULL if it is not",
            "array_position(ARRAY['a', 'b', 'a'], 'b')",
            "2",
        )
        .form("array, any -> integer", position)
        .form("array, any, integer -> integer", position)
        .example("array_position(ARRAY['a', 'b', 'a'], 'a', 2)", "3"),
        function("array_positions", "all places where an element is", "array_positions(ARRAY['A', 'A', 'B'], 'A')", "{1,2}")
            .form("array, any -> integer[]", positions),
        function("array_remove", "without all elements that are equal to one", "array_remove(ARRAY[1, 2, 3, 2], 2)", "{1,3}").form_of(
            "array, any -> array",
            as_first,
            remove,
        ),
        function(
            "array_replace",
            "with all elements that are equal to one replaced",
            "array_replace(ARRAY[1, 2, 5, 2], 2, 9)",
            "{1,9,5,9}",
        )
        .form_of("array, any, any -> array", as_first, replace),
        function(
            "array_to_string",
            "the elements with a separator between them; NULLs are left out, or written as the last argument",
            "array_to_string(ARRAY[1, 2, NULL], ',', '*')",
            "1,2,*",
        )
        .form("array, text -> text", to_string)
        .form("array, text, text -> text", to_string),
        function(
            "string_to_array",
            "the parts between separators (all characters if it is NULL); parts equal to the last argument are NULL",
            "string_to_array('xx~~yy~~zz', '~~', 'yy')",
            "{xx,NULL,zz}",
        )
        .form("text, text -> text[]", parts)
        .form("text, text, text -> text[]", parts),
        function("trim_array", "without the last n elements", "trim_array(ARRAY[1, 2, 3], 1)", "{1,2}").form_of(
            "array, integer -> array",
            as_first,
            trim,
        ),
        function(
            "array_fill",
            "an array of one element, as long as the first number of an array says",
            "array_fill(11, ARRAY[3])",
            "{11,11,11}",
        )
        .form_of("any, integer[] -> array", |fields, _| SqlType::Array(Box::new(sql_type_of(&fields[0]))), fill),
        function("array_overlap", "whether both have an element in common", "ARRAY[1, 2] && ARRAY[2, 3]", "t")
            .operator("&&")
            .known("array, array -> boolean"),
        function("array_sort", "in order", "array_sort(ARRAY[3, 1, 2])", "{1,2,3}").known("array -> array"),
        function("array_distinct", "each element once", "array_distinct(ARRAY[1, 2, 1])", "{1,2}").known("array -> array"),
        function("array_has_all", "whether the first has all elements of the second; also `@>`", "ARRAY[1, 2, 3] @> ARRAY[3, 1]", "t")
            .known("array, array -> boolean"),
        function("array_reverse", "backwards", "array_reverse(ARRAY[1, 2, 3])", "{3,2,1}").known("array -> array"),
    ]
}

/// The type of the first argument.
fn as_first(fields: &[FieldRef], _scalars: &[Option<&ScalarValue>]) -> SqlType {
    sql_type_of(&fields[0])
}

/// The sizes of all dimensions, the outermost first; none for an empty array.
fn dimensions(array: &ArrayRef) -> Vec<usize> {
    let mut sizes = Vec::new();
    let mut level = Arc::clone(array);
    while !level.is_empty() {
        sizes.push(level.len());
        level = match level.data_type() {
            DataType::List(_) if level.is_valid(0) => level.as_list::<i32>().value(0),
            _ => break,
        };
    }
    sizes
}

fn dimension_of(array: &ArrayRef, dimension: i64) -> Option<i32> {
    let sizes = dimensions(array);
    usize::try_from(dimension.checked_sub(1)?).ok().and_then(|place| sizes.get(place)).map(|size| super::text::count(*size))
}

fn cardinality(array: &ArrayRef) -> i32 {
    match array.data_type() {
        DataType::List(_) => {
            let lists = array.as_list::<i32>();
            (0..lists.len()).filter(|row| lists.is_valid(*row)).map(|row| cardinality(&lists.value(row))).fold(0, i32::saturating_add)
        }
        _ => super::text::count(array.len()),
    }
}

/// A column of arrays and one of elements that are looked for in them.
struct Search<'a> {
    lists: &'a ListArray,
    equal: Box<dyn Fn(usize, usize) -> bool>,
}

impl<'a> Search<'a> {
    fn new(lists: &'a ArrayRef, needles: &ArrayRef) -> Result<Self> {
        let lists = lists.as_list::<i32>();
        let DataType::List(element) = lists.data_type() else { return Err(Error::internal("a list was promised")) };
        // What is looked for may be a number of another type: neither loses digits.
        let common = common_number(element.data_type(), needles.data_type()).unwrap_or_else(|| element.data_type().clone());
        let sql_type =
            if common == *element.data_type() { sql_type_of(element) } else { sql_type_of(&Field::new("", common.clone(), true)) };
        let key = |values: &ArrayRef| order_key(&cast(values, &common)?, &sql_type);
        let order = make_comparator(&key(lists.values())?, &key(needles)?, SortOptions::default())?;
        Ok(Search { lists, equal: Box::new(move |element, row| order(element, row).is_eq()) })
    }

    /// The elements of a row, as places among all elements.
    fn elements(&self, row: usize) -> std::ops::Range<usize> {
        let offsets = self.lists.value_offsets();
        offsets[row] as usize..offsets[row + 1] as usize
    }
}

/// The type of two kinds of numbers in which neither loses digits.
fn common_number(one: &DataType, other: &DataType) -> Option<DataType> {
    if one.is_numeric() && other.is_numeric() { comparison_coercion(one, other) } else { None }
}

fn position(call: &Call<'_>) -> Result<ArrayRef> {
    let search = Search::new(&call.arguments[0], &call.arguments[1])?;
    let starts = call.arguments.get(2).map(|starts| starts.as_primitive::<arrow::datatypes::Int64Type>());
    let mut found = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        if search.lists.is_null(row) {
            found.push(None);
            continue;
        }
        let skipped = match starts {
            Some(starts) if starts.is_null(row) => return Err(Error::new(Kind::NullNotAllowed, "initial position must not be null")),
            Some(starts) => usize::try_from(starts.value(row).saturating_sub(1)).unwrap_or(0),
            None => 0,
        };
        let at = search.elements(row).enumerate().skip(skipped).find(|(_, element)| (search.equal)(*element, row));
        found.push(at.map(|(place, _)| super::text::count(place + 1)));
    }
    Ok(Arc::new(Int32Array::from(found)))
}

/// A column of lists from the elements of each row.
fn lists(result: &Field, rows: Vec<Option<ArrayRef>>) -> Result<ArrayRef> {
    let DataType::List(field) = result.data_type() else { return Err(Error::internal("a list was promised")) };
    let mut offsets = vec![0_i32];
    let mut total = 0_usize;
    for row in &rows {
        total += row.as_ref().map_or(0, |elements| elements.len());
        offsets.push(i32::try_from(total).map_err(|_| Error::new(Kind::LimitExceeded, "too many elements in one batch"))?);
    }
    let valid = NullBuffer::from_iter(rows.iter().map(Option::is_some));
    let pieces: Vec<&dyn Array> = rows.iter().flatten().map(AsRef::as_ref).collect();
    let elements = if pieces.is_empty() { new_empty_array(field.data_type()) } else { concat(&pieces)? };
    let elements = if elements.data_type() == field.data_type() { elements } else { cast(&elements, field.data_type())? };
    Ok(Arc::new(ListArray::try_new(Arc::clone(field), OffsetBuffer::new(ScalarBuffer::from(offsets)), elements, Some(valid))?))
}

fn positions(call: &Call<'_>) -> Result<ArrayRef> {
    let search = Search::new(&call.arguments[0], &call.arguments[1])?;
    let rows = (0..call.rows).map(|row| {
        let places = || {
            search
                .elements(row)
                .enumerate()
                .filter(|(_, element)| (search.equal)(*element, row))
                .map(|(place, _)| super::text::count(place + 1))
        };
        search.lists.is_valid(row).then(|| Arc::new(Int32Array::from_iter_values(places())) as ArrayRef)
    });
    lists(call.result, rows.collect())
}

fn remove(call: &Call<'_>) -> Result<ArrayRef> {
    let search = Search::new(&call.arguments[0], &call.arguments[1])?;
    let mut rows = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        let kept = search.elements(row).filter(|element| !(search.equal)(*element, row)).map(|element| element as u32);
        let kept = || take(search.lists.values(), &UInt32Array::from_iter_values(kept), None);
        rows.push(if search.lists.is_valid(row) { Some(kept()?) } else { None });
    }
    lists(call.result, rows)
}

fn replace(call: &Call<'_>) -> Result<ArrayRef> {
    let search = Search::new(&call.arguments[0], &call.arguments[1])?;
    let (new, element) = (&call.arguments[2], search.lists.values().data_type());
    if common_number(element, new.data_type()).is_some_and(|common| common != *element && !(common.is_decimal() && element.is_decimal())) {
        let error = Error::new(Kind::UndefinedFunction, "array_replace cannot put a number of a wider type into this array");
        return Err(error.hint("Cast the array to that type: array_replace(a::numeric[], …)."));
    }
    let new = cast(new, element)?;
    // New elements stand behind the old ones; each place takes from one or the other.
    let both = concat(&[search.lists.values(), &new])?;
    let first_new = search.lists.values().len();
    let mut rows = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        let source = |element: usize| if (search.equal)(element, row) { first_new + row } else { element } as u32;
        let places = || UInt32Array::from_iter_values(search.elements(row).map(source));
        rows.push(if search.lists.is_valid(row) { Some(take(&both, &places(), None)?) } else { None });
    }
    lists(call.result, rows)
}

/// Appends the elements of all dimensions, with a separator between them; those that are NULL as `null`, or not at all.
fn append_elements(array: &ArrayRef, field: &Field, joined: &mut Joined<'_>) -> Result<()> {
    if let DataType::List(inner) = array.data_type() {
        let nested = array.as_list::<i32>();
        return (0..nested.len())
            .filter(|row| nested.is_valid(*row))
            .try_for_each(|row| append_elements(&nested.value(row), inner, joined));
    }
    let column = Printed::new(array, field)?;
    for row in 0..array.len() {
        if column.is_null(row) {
            joined.null.map_or(Ok(()), |null| joined.append(null))?;
        } else {
            joined.append(&column.text(row))?;
        }
    }
    Ok(())
}

/// A text that elements are appended to.
struct Joined<'a> {
    text: String,
    any: bool,
    separator: &'a str,
    null: Option<&'a str>,
    /// Bytes that it may still have: those of a batch are in one array.
    room: usize,
}

impl Joined<'_> {
    fn append(&mut self, element: &str) -> Result<()> {
        let separator = if self.any { self.separator } else { "" };
        self.room = self.room.checked_sub(separator.len() + element.len()).ok_or_else(too_long)?;
        self.any = true;
        self.text.push_str(separator);
        self.text.push_str(element);
        Ok(())
    }
}

fn to_string(call: &Call<'_>) -> Result<ArrayRef> {
    let lists = call.arguments[0].as_list::<i32>();
    let DataType::List(field) = call.arguments[0].data_type() else { return Err(Error::internal("a list was promised")) };
    let separators = call.arguments[1].as_string::<i32>();
    let nulls = call.arguments.get(2).map(|nulls| nulls.as_string::<i32>());
    let mut texts = Vec::with_capacity(call.rows);
    let mut room = i32::MAX as usize;
    for row in 0..call.rows {
        if lists.is_null(row) || separators.is_null(row) {
            texts.push(None);
            continue;
        }
        let null = nulls.filter(|nulls| nulls.is_valid(row)).map(|nulls| nulls.value(row));
        let mut joined = Joined { text: String::new(), any: false, separator: separators.value(row), null, room };
        append_elements(&lists.value(row), field, &mut joined)?;
        room = joined.room;
        texts.push(Some(joined.text));
    }
    Ok(Arc::new(arrow::array::StringArray::from(texts)))
}

fn parts(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.arguments[0].as_string::<i32>();
    let separators = call.arguments[1].as_string::<i32>();
    let nulls = call.arguments.get(2).map(|nulls| nulls.as_string::<i32>());
    let split = |row: usize| -> Option<Vec<Option<String>>> {
        if texts.is_null(row) {
            return None;
        }
        let text = texts.value(row);
        let null = nulls.filter(|nulls| nulls.is_valid(row)).map(|nulls| nulls.value(row));
        let parts: Vec<&str> = match separators.is_valid(row).then(|| separators.value(row)) {
            _ if text.is_empty() => Vec::new(),
            Some("") => vec![text],
            Some(separator) => text.split(separator).collect(),
            None => text.split("").filter(|part| !part.is_empty()).collect(),
        };
        Some(parts.into_iter().map(|part| (Some(part) != null).then(|| part.to_owned())).collect())
    };
    <Vec<Option<String>> as super::column::Output>::array((0..call.rows).map(split).collect(), call.result)
}

fn trim(call: &Call<'_>) -> Result<ArrayRef> {
    let arrays = call.arguments[0].as_list::<i32>();
    let counts = call.arguments[1].as_primitive::<arrow::datatypes::Int64Type>();
    let mut rows = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        if arrays.is_null(row) || counts.is_null(row) {
            rows.push(None);
            continue;
        }
        let elements = arrays.value(row);
        let count = usize::try_from(counts.value(row)).ok().filter(|count| *count <= elements.len());
        let count = count.ok_or_else(|| {
            Error::new(Kind::ArraySubscript, format!("number of elements to trim must be between 0 and {}", elements.len()))
        })?;
        rows.push(Some(elements.slice(0, elements.len() - count)));
    }
    lists(call.result, rows)
}

fn fill(call: &Call<'_>) -> Result<ArrayRef> {
    let sizes = call.arguments[1].as_list::<i32>();
    let mut rows = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        if sizes.is_null(row) {
            return Err(Error::new(Kind::NullNotAllowed, "dimension array or low bound array cannot be null"));
        }
        let wanted = sizes.value(row);
        let wanted = wanted.as_primitive::<arrow::datatypes::Int32Type>();
        let length = match wanted.len() {
            0 => 0,
            1 if wanted.is_valid(0) => {
                usize::try_from(wanted.value(0)).map_err(|_| Error::new(Kind::LimitExceeded, "array size exceeds the maximum allowed"))?
            }
            1 => return Err(Error::new(Kind::NullNotAllowed, "dimension values cannot be null")),
            _ => return Err(Error::not_supported("array_fill makes arrays of one dimension")),
        };
        if length > ELEMENTS_MAX {
            return Err(Error::new(Kind::LimitExceeded, format!("array size exceeds the maximum allowed ({ELEMENTS_MAX})")));
        }
        let same = UInt32Array::from_iter_values(std::iter::repeat_n(row as u32, length));
        rows.push(Some(take(&call.arguments[0], &same, None)?));
    }
    lists(call.result, rows)
}
