//! Rows that an operator holds: appended by copying, read back by row number, compared in place.
//!
//! Each column is a list of chunks of 16 Ki values: the newest in its natural layout, so that its rows can be read while it grows, numbers of full ones
//! [in as few bytes as they need](super::narrow). Nothing pins the batches that rows came in. Rows are never removed: whoever
//! holds a store counts its dead rows and copies the live ones to a new store when there are too many.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, BooleanArray, BooleanBufferBuilder, GenericByteArray, NullArray,
    PrimitiveArray, UInt32Array, downcast_primitive,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer};
use arrow::compute::take;
use arrow::datatypes::{BinaryType, ByteArrayType, DataType, Schema, Utf8Type};
use arrow::row::{RowConverter, SortField};

use super::narrow::{Differ, Narrow};
use crate::error::{Error, Kind, Result};
use crate::types::{IntoBits, decode_rows, hash_null, hash_rows, hash_value, rows_equal};

/// Rows per chunk, a power of two. Smaller chunks cost a pointer more often; larger ones waste more when a chunk is half full.
const CHUNK_ROWS: usize = 1 << CHUNK_BITS;
const CHUNK_BITS: u32 = 14;

/// Rows that are read back at once at the most: columns of so many stay in the second-level cache.
pub const PART_ROWS: usize = 16_384;

/// Bytes that are read back at once, about. Above it a batch gains nothing from being larger, and no column comes near the 2 GiB that Arrow's
/// offsets can count.
pub const PART_BYTES: usize = 8 << 20;

/// Cuts so many rows, each with its `bytes`, into ranges that can be columns at once: `PART_ROWS` and about `PART_BYTES` at the most.
pub fn part_ranges(rows: usize, bytes: impl Fn(usize) -> usize) -> Vec<Range<usize>> {
    let (mut parts, mut start, mut sum) = (Vec::new(), 0, 0);
    for row in 0..rows {
        let more = bytes(row);
        if row > start && (row - start == PART_ROWS || sum + more > PART_BYTES) {
            parts.push(start..row);
            (start, sum) = (row, 0);
        }
        sum += more;
    }
    if start < rows {
        parts.push(start..rows);
    }
    parts
}

/// The first chunk of a small state starts this small: there may be thousands of views with a few rows each.
const FIRST_CAPACITY: usize = 64;

/// Rows of one schema, numbered from 0 in the order of their arrival.
pub struct RowStore {
    columns: Vec<Box<dyn ColumnStore>>,
    rows: usize,
    /// Bytes of a row in the columns whose values all have one length.
    fixed_bytes: usize,
    /// The positions of the others.
    variable: Vec<usize>,
}

impl RowStore {
    /// No rows yet. Fails for a type that cannot be held.
    pub fn new(schema: &Schema) -> Result<Self> {
        let columns = schema.fields().iter().map(|field| column_store(field.data_type())).collect::<Result<Vec<_>>>()?;
        let fixed_bytes = columns.iter().filter_map(|column| column.width()).sum();
        let variable = (0..columns.len()).filter(|column| columns[*column].width().is_none()).collect();
        Ok(RowStore { columns, rows: 0, fixed_bytes, variable })
    }

    /// How many rows were appended.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The number of the next row. Fails unless `count` more rows can be numbered: the last number of all stands for no row.
    pub fn next_number(&self, count: usize) -> Result<u32> {
        match u32::try_from(self.rows + count) {
            Ok(end) if end < u32::MAX => Ok(self.rows as u32),
            _ => Err(Error::new(Kind::LimitExceeded, "an operator holds more than 4294967294 rows on one worker")),
        }
    }

    /// Bytes of a row as it is read back, about.
    pub fn row_bytes(&self, row: u32) -> usize {
        self.fixed_bytes + self.variable.iter().map(|column| self.columns[*column].value_bytes(row)).sum::<usize>()
    }

    /// Cuts a list of things, of which each has a row, into parts that can be read back at once: `PART_ROWS` and about `PART_BYTES` at the most.
    pub fn parts<'a, T>(&self, items: &'a [T], row: impl Fn(&T) -> u32) -> Vec<&'a [T]> {
        part_ranges(items.len(), |at| self.row_bytes(row(&items[at]))).into_iter().map(|range| &items[range]).collect()
    }

    /// Copies these rows of `columns`, which get the next numbers.
    pub fn append(&mut self, columns: &[ArrayRef], rows: &[u32]) -> Result<()> {
        self.next_number(rows.len())?;
        for (store, values) in self.columns.iter_mut().zip(columns) {
            store.append(values, rows)?;
        }
        self.rows += rows.len();
        Ok(())
    }

    /// One column of the rows with these numbers, in this order.
    pub fn gather(&self, column: usize, rows: &[u32]) -> Result<ArrayRef> {
        self.columns[column].gather(rows)
    }

    /// All columns of the rows with these numbers, in this order.
    pub fn gather_all(&self, rows: &[u32]) -> Result<Vec<ArrayRef>> {
        self.columns.iter().map(|column| column.gather(rows)).collect()
    }

    /// Whether a stored row is the same as row `other` of `columns`, as `rows_equal` means it.
    pub fn equal(&self, row: u32, columns: &[ArrayRef], other: usize) -> bool {
        self.columns.iter().zip(columns).all(|(store, values)| store.equal(row, values, other))
    }

    /// The hash of one value, as `hash_rows` has it.
    pub fn hash(&self, column: usize, row: u32) -> u64 {
        self.columns[column].hash(row)
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        self.columns.iter().map(|column| column.bytes()).sum()
    }
}

/// One column of a store. Arrays handed in have the type that the column was made for.
trait ColumnStore {
    fn append(&mut self, values: &ArrayRef, rows: &[u32]) -> Result<()>;
    fn gather(&self, rows: &[u32]) -> Result<ArrayRef>;
    fn equal(&self, row: u32, values: &ArrayRef, other: usize) -> bool;
    /// The hash of a value, as `hash_rows` has it.
    fn hash(&self, row: u32) -> u64 {
        let value = self.gather(&[row]).expect("one value, which has been held, is no more than a batch can hold");
        hash_rows(&[value], 1)[0]
    }
    /// Bytes of every value, if all have as many.
    fn width(&self) -> Option<usize>;
    /// Bytes of one value, where they differ.
    fn value_bytes(&self, row: u32) -> usize;
    fn bytes(&self) -> usize;
}

macro_rules! fixed_store {
    ($value:ty, $data_type:expr) => {
        Box::new(Fixed::<$value> { data_type: $data_type.clone(), full: Vec::new(), open: Vec::new(), validity: Validity::default() })
    };
}

fn column_store(data_type: &DataType) -> Result<Box<dyn ColumnStore>> {
    Ok(downcast_primitive! {
        data_type => (fixed_store, data_type),
        DataType::Utf8 => Box::new(Bytes::<Utf8Type>::default()),
        DataType::Binary => Box::new(Bytes::<BinaryType>::default()),
        DataType::Boolean => Box::new(Booleans::default()),
        DataType::Null => Box::new(Nulls),
        _ => Box::new(Encoded::new(data_type)?),
    })
}

/// Where a row is: chunk and place in it.
fn place(row: u32) -> (usize, usize) {
    ((row >> CHUNK_BITS) as usize, row as usize & (CHUNK_ROWS - 1))
}

/// Which rows are not NULL; nothing at all as long as every row is.
#[derive(Default)]
struct Validity {
    rows: usize,
    bits: Option<BooleanBufferBuilder>,
}

impl Validity {
    fn append(&mut self, values: &dyn Array, rows: &[u32]) {
        match (&mut self.bits, values.nulls()) {
            (None, None) => {}
            (Some(bits), None) => bits.append_n(rows.len(), true),
            (bits, Some(nulls)) => {
                let bits = bits.get_or_insert_with(|| {
                    let mut bits = BooleanBufferBuilder::new(self.rows + rows.len());
                    bits.append_n(self.rows, true);
                    bits
                });
                rows.iter().for_each(|row| bits.append(nulls.is_valid(*row as usize)));
            }
        }
        self.rows += rows.len();
    }

    fn is_null(&self, row: u32) -> bool {
        self.bits.as_ref().is_some_and(|bits| !bits.get_bit(row as usize))
    }

    fn gather(&self, rows: &[u32]) -> Option<NullBuffer> {
        let bits = self.bits.as_ref()?;
        let nulls = NullBuffer::new(BooleanBuffer::collect_bool(rows.len(), |i| bits.get_bit(rows[i] as usize)));
        (nulls.null_count() > 0).then_some(nulls)
    }

    fn bytes(&self) -> usize {
        self.bits.as_ref().map_or(0, |bits| bits.capacity() / 8)
    }
}

/// Makes room in the chunk that still has some for as many of `wanted` rows as it takes; how many those are.
fn make_room<C: Chunk>(chunk: &mut C, is_first: bool, wanted: usize) -> usize {
    let count = wanted.min(CHUNK_ROWS - chunk.rows());
    let needed = chunk.rows() + count;
    let doubled = if is_first { (chunk.rows() * 2).max(FIRST_CAPACITY) } else { CHUNK_ROWS };
    chunk.reserve(needed.max(doubled).min(CHUNK_ROWS));
    count
}

trait Chunk {
    fn rows(&self) -> usize;
    /// Makes room for `rows` rows in all.
    fn reserve(&mut self, rows: usize);
}

impl<N> Chunk for Vec<N> {
    fn rows(&self) -> usize {
        self.len()
    }

    fn reserve(&mut self, rows: usize) {
        if rows > self.capacity() {
            self.reserve_exact(rows - self.len());
        }
    }
}

/// Numbers, times, decimals, intervals.
struct Fixed<T: ArrowPrimitiveType> {
    data_type: DataType,
    /// Chunks that are full.
    full: Vec<Narrow<T::Native>>,
    open: Vec<T::Native>,
    validity: Validity,
}

impl<T: ArrowPrimitiveType> Fixed<T>
where
    T::Native: Differ,
{
    fn value(&self, row: u32) -> T::Native {
        let (chunk, offset) = place(row);
        self.full.get(chunk).map_or_else(|| self.open[offset], |full| full.get(offset))
    }
}

impl<T: ArrowPrimitiveType> ColumnStore for Fixed<T>
where
    T::Native: IntoBits + Differ,
{
    fn append(&mut self, values: &ArrayRef, rows: &[u32]) -> Result<()> {
        let source = values.as_primitive::<T>().values();
        self.validity.append(values.as_ref(), rows);
        let mut rest = rows;
        while !rest.is_empty() {
            if self.open.len() == CHUNK_ROWS {
                self.full.push(Narrow::new(&self.open));
                self.open.clear();
            }
            let (now, later) = rest.split_at(make_room(&mut self.open, self.full.is_empty(), rest.len()));
            match values.nulls() {
                None => self.open.extend(now.iter().map(|row| source[*row as usize])),
                // In the place of a NULL the value before it: what stands there otherwise, zero, may be far from the others.
                Some(nulls) => {
                    for row in now.iter().map(|row| *row as usize) {
                        let before = self.open.last().copied().unwrap_or_default();
                        self.open.push(if nulls.is_valid(row) { source[row] } else { before });
                    }
                }
            }
            rest = later;
        }
        Ok(())
    }

    fn gather(&self, rows: &[u32]) -> Result<ArrayRef> {
        let values: Vec<T::Native> = rows.iter().map(|row| self.value(*row)).collect();
        let array = PrimitiveArray::<T>::new(values.into(), self.validity.gather(rows));
        Ok(Arc::new(array.with_data_type(self.data_type.clone())))
    }

    fn equal(&self, row: u32, values: &ArrayRef, other: usize) -> bool {
        match (self.validity.is_null(row), values.is_null(other)) {
            (true, true) => return true,
            (false, false) => {}
            _ => return false,
        }
        if self.value(row).is_eq(values.as_primitive::<T>().value(other)) {
            return true;
        }
        // Both zeros are one value, and so are all NaNs: rare enough to take the long way.
        self.data_type.is_floating() && self.gather(&[row]).is_ok_and(|held| rows_equal(&[held], 0, std::slice::from_ref(values), other))
    }

    fn hash(&self, row: u32) -> u64 {
        if self.validity.is_null(row) { hash_null() } else { hash_value(self.value(row)) }
    }

    fn width(&self) -> Option<usize> {
        Some(size_of::<T::Native>())
    }

    fn value_bytes(&self, _row: u32) -> usize {
        0
    }

    fn bytes(&self) -> usize {
        let full: usize = self.full.iter().map(Narrow::bytes).sum();
        full + self.full.capacity() * size_of::<Narrow<T::Native>>() + self.open.capacity() * size_of::<T::Native>() + self.validity.bytes()
    }
}

/// Strings one after the other, and where each ends.
#[derive(Default)]
struct BytesChunk {
    ends: Vec<u32>,
    data: Vec<u8>,
}

impl BytesChunk {
    fn value(&self, offset: usize) -> &[u8] {
        let start = if offset == 0 { 0 } else { self.ends[offset - 1] };
        &self.data[start as usize..self.ends[offset] as usize]
    }

    fn push(&mut self, value: &[u8]) -> Result<()> {
        let end = u32::try_from(self.data.len() + value.len())
            .map_err(|_| Error::new(Kind::LimitExceeded, format!("{CHUNK_ROWS} values of one column are more than 4 GiB")))?;
        self.data.extend_from_slice(value);
        self.ends.push(end);
        Ok(())
    }
}

impl Chunk for BytesChunk {
    fn rows(&self) -> usize {
        self.ends.len()
    }

    fn reserve(&mut self, rows: usize) {
        Chunk::reserve(&mut self.ends, rows);
    }
}

/// Text and binary strings.
struct Bytes<T: ByteArrayType<Offset = i32>> {
    chunks: Vec<BytesChunk>,
    validity: Validity,
    value: std::marker::PhantomData<T>,
}

impl<T: ByteArrayType<Offset = i32>> Default for Bytes<T> {
    fn default() -> Self {
        Bytes { chunks: Vec::new(), validity: Validity::default(), value: std::marker::PhantomData }
    }
}

impl<T: ByteArrayType<Offset = i32>> Bytes<T> {
    fn value(&self, row: u32) -> &[u8] {
        let (chunk, offset) = place(row);
        self.chunks[chunk].value(offset)
    }
}

impl<T: ByteArrayType<Offset = i32>> ColumnStore for Bytes<T> {
    fn append(&mut self, values: &ArrayRef, rows: &[u32]) -> Result<()> {
        let source = values.as_bytes::<T>();
        self.validity.append(values.as_ref(), rows);
        let mut rest = rows;
        while !rest.is_empty() {
            if self.chunks.last().is_none_or(|chunk| chunk.rows() == CHUNK_ROWS) {
                self.chunks.last_mut().into_iter().for_each(|full| full.data.shrink_to_fit());
                self.chunks.push(BytesChunk::default());
            }
            let is_first = self.chunks.len() == 1;
            let chunk = self.chunks.last_mut().expect("pushed above if there was none");
            let (now, later) = rest.split_at(make_room(chunk, is_first, rest.len()));
            for row in now {
                chunk.push(source.value(*row as usize).as_ref())?;
            }
            rest = later;
        }
        Ok(())
    }

    fn gather(&self, rows: &[u32]) -> Result<ArrayRef> {
        let mut ends = Vec::with_capacity(rows.len() + 1);
        ends.push(0_i32);
        let mut length = 0;
        for row in rows {
            length += self.value(*row).len();
            ends.push(i32::try_from(length).map_err(|_| Error::new(Kind::LimitExceeded, "one batch holds more than 2 GiB of text"))?);
        }
        let mut data = Vec::with_capacity(length);
        rows.iter().for_each(|row| data.extend_from_slice(self.value(*row)));
        let offsets = OffsetBuffer::new(ends.into());
        Ok(Arc::new(GenericByteArray::<T>::try_new(offsets, Buffer::from(data), self.validity.gather(rows))?))
    }

    fn equal(&self, row: u32, values: &ArrayRef, other: usize) -> bool {
        match (self.validity.is_null(row), values.is_null(other)) {
            (false, false) => {
                let value: &[u8] = values.as_bytes::<T>().value(other).as_ref();
                self.value(row) == value
            }
            (held, other) => held == other,
        }
    }

    fn width(&self) -> Option<usize> {
        None
    }

    fn value_bytes(&self, row: u32) -> usize {
        self.value(row).len()
    }

    fn bytes(&self) -> usize {
        let chunks: usize = self.chunks.iter().map(|chunk| chunk.ends.capacity() * size_of::<u32>() + chunk.data.capacity()).sum();
        chunks + self.validity.bytes()
    }
}

/// Booleans, a bit each.
struct Booleans {
    values: BooleanBufferBuilder,
    validity: Validity,
}

impl Default for Booleans {
    fn default() -> Self {
        Booleans { values: BooleanBufferBuilder::new(0), validity: Validity::default() }
    }
}

impl ColumnStore for Booleans {
    fn append(&mut self, values: &ArrayRef, rows: &[u32]) -> Result<()> {
        let source = values.as_boolean();
        self.validity.append(values.as_ref(), rows);
        rows.iter().for_each(|row| self.values.append(source.value(*row as usize)));
        Ok(())
    }

    fn gather(&self, rows: &[u32]) -> Result<ArrayRef> {
        let values = BooleanBuffer::collect_bool(rows.len(), |i| self.values.get_bit(rows[i] as usize));
        Ok(Arc::new(BooleanArray::new(values, self.validity.gather(rows))))
    }

    fn equal(&self, row: u32, values: &ArrayRef, other: usize) -> bool {
        match (self.validity.is_null(row), values.is_null(other)) {
            (false, false) => self.values.get_bit(row as usize) == values.as_boolean().value(other),
            (held, other) => held == other,
        }
    }

    fn width(&self) -> Option<usize> {
        Some(1)
    }

    fn value_bytes(&self, _row: u32) -> usize {
        0
    }

    fn bytes(&self) -> usize {
        self.values.capacity() / 8 + self.validity.bytes()
    }
}

/// A column of the type of an untyped NULL.
struct Nulls;

impl ColumnStore for Nulls {
    fn append(&mut self, _values: &ArrayRef, _rows: &[u32]) -> Result<()> {
        Ok(())
    }

    fn gather(&self, rows: &[u32]) -> Result<ArrayRef> {
        Ok(Arc::new(NullArray::new(rows.len())))
    }

    fn equal(&self, _row: u32, _values: &ArrayRef, _other: usize) -> bool {
        true
    }

    fn width(&self) -> Option<usize> {
        Some(0)
    }

    fn value_bytes(&self, _row: u32) -> usize {
        0
    }

    fn bytes(&self) -> usize {
        0
    }
}

/// Lists, structs and other rare types: as the bytes of Arrow's row format.
struct Encoded {
    converter: RowConverter,
    bytes: Bytes<BinaryType>,
}

impl Encoded {
    fn new(data_type: &DataType) -> Result<Self> {
        let converter = RowConverter::new(vec![SortField::new(data_type.clone())])
            .map_err(|_| Error::not_supported(format!("keeping columns of type {data_type} in a materialised view's state")))?;
        Ok(Encoded { converter, bytes: Bytes::default() })
    }
}

impl ColumnStore for Encoded {
    fn append(&mut self, values: &ArrayRef, rows: &[u32]) -> Result<()> {
        let taken = take(values, &UInt32Array::from(rows.to_vec()), None)?;
        let encoded: ArrayRef = Arc::new(self.converter.convert_columns(&[taken])?.try_into_binary()?);
        let all: Vec<u32> = (0..rows.len() as u32).collect();
        self.bytes.append(&encoded, &all)
    }

    fn gather(&self, rows: &[u32]) -> Result<ArrayRef> {
        let columns = decode_rows(&self.converter, rows.iter().map(|row| self.bytes.value(*row)))?;
        columns.into_iter().next().ok_or_else(|| Error::internal("a converter of one column gives one column"))
    }

    fn equal(&self, row: u32, values: &ArrayRef, other: usize) -> bool {
        self.gather(&[row]).is_ok_and(|held| rows_equal(&[held], 0, std::slice::from_ref(values), other))
    }

    fn width(&self) -> Option<usize> {
        None
    }

    fn value_bytes(&self, row: u32) -> usize {
        self.bytes.value_bytes(row)
    }

    fn bytes(&self) -> usize {
        self.bytes.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::{CHUNK_ROWS, PART_BYTES, RowStore, hash_rows};
    use arrow::array::{Array, ArrayRef, BooleanArray, Float64Array, Int64Array, ListArray, StringArray};
    use arrow::datatypes::{Field, Int32Type, Schema};
    use std::sync::Arc;

    fn columns(rows: usize) -> Vec<ArrayRef> {
        let sparse = |row: usize| (!row.is_multiple_of(3)).then_some(row);
        vec![
            Arc::new(Int64Array::from_iter((0..rows).map(|row| sparse(row).map(|row| row as i64)))),
            Arc::new(StringArray::from_iter((0..rows).map(|row| sparse(row + 1).map(|row| "x".repeat(row % 7))))),
            Arc::new(BooleanArray::from_iter((0..rows).map(|row| sparse(row + 2).map(|row| row % 2 == 0)))),
            Arc::new(Float64Array::from_iter_values((0..rows).map(|row| row as f64))),
            Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(
                (0..rows).map(|row| sparse(row).map(|row| vec![Some(row as i32), None])),
            )),
        ]
    }

    fn store(columns: &[ArrayRef]) -> RowStore {
        let fields: Vec<Field> = columns.iter().map(|column| Field::new("c", column.data_type().clone(), true)).collect();
        RowStore::new(&Schema::new(fields)).unwrap()
    }

    #[test]
    fn rows_come_back_across_chunks_and_null_beginnings() {
        let rows = CHUNK_ROWS + 100;
        let columns = columns(rows);
        let mut store = store(&columns);
        let (first, second): (Vec<u32>, Vec<u32>) = ((0..1).collect(), (1..rows as u32).collect());
        store.append(&columns, &first).unwrap();
        store.append(&columns, &second).unwrap();
        let wanted: Vec<u32> = (0..rows as u32).rev().collect();
        for (position, column) in columns.iter().enumerate() {
            let gathered = store.gather(position, &wanted).unwrap();
            assert_eq!(gathered.len(), rows);
            let expected = arrow::compute::take(column, &arrow::array::UInt32Array::from(wanted.clone()), None).unwrap();
            assert_eq!(gathered.as_ref(), expected.as_ref());
        }
        for (position, column) in columns.iter().enumerate() {
            let hashes = hash_rows(std::slice::from_ref(column), rows);
            assert!([0, 1, 2, rows - 1].iter().all(|row| store.hash(position, *row as u32) == hashes[*row]), "column {position}");
        }
        assert!(store.equal(rows as u32 - 1, &columns, rows - 1));
        assert!(!store.equal(3, &columns, 4));
        assert!(store.bytes() < rows * 80, "most of the second chunk is room to grow");
    }

    #[test]
    fn a_few_long_texts_are_a_batch_of_their_own() {
        let texts: Vec<ArrayRef> = vec![Arc::new(StringArray::from_iter_values((0..100).map(|row| "x".repeat(1 + 300_000 * (row % 2)))))];
        let mut store = store(&texts);
        let all: Vec<u32> = (0..100).collect();
        store.append(&texts, &all).unwrap();
        let parts = store.parts(&all, |row| *row);
        assert_eq!(parts.concat(), all);
        assert!(parts.len() > 1);
        for part in parts {
            assert!(part.iter().map(|row| store.row_bytes(*row)).sum::<usize>() <= PART_BYTES);
        }
    }

    #[test]
    fn the_last_number_is_not_given_out() {
        let mut store = store(&[]);
        let many = vec![0; 1 << 24];
        for _ in 0..255 {
            store.append(&[], &many).unwrap();
        }
        store.append(&[], &many[..(1 << 24) - 2]).unwrap();
        assert_eq!(store.next_number(0).unwrap(), u32::MAX - 1);
        assert!(store.append(&[], &[0]).is_err());
    }

    #[test]
    fn both_zeros_are_equal() {
        let zero: Vec<ArrayRef> = vec![Arc::new(Float64Array::from(vec![0.0, -0.0]))];
        let mut store = store(&zero);
        store.append(&zero, &[0]).unwrap();
        assert!(store.equal(0, &zero, 1));
    }
}
