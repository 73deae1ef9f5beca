//! The pieces of a long list, in blocks: found by row, by position and by number, without looking at all of them.
//!
//! Always: no piece and no block is empty, but for a piece that was pushed just now; `weights` are those of the pieces and blocks beside them.

use std::ops::Range;

use super::piece::{Payload, Piece};
use super::row::RowRef;
use super::sorted::Place;

/// Pieces per block: as many as a piece has rows, so that ten million rows are some 300 blocks of them.
const BLOCK_PIECES: usize = 256;

/// Pieces next to each other.
#[derive(Debug)]
struct Block<P: Payload, M> {
    pieces: Vec<Piece<P, M>>,
    weights: Vec<u64>,
}

/// All pieces of a list.
#[derive(Debug)]
pub(super) struct Directory<P: Payload, M> {
    blocks: Vec<Block<P, M>>,
    weights: Vec<u64>,
    weight: u64,
    entries: usize,
    pieces: usize,
    /// Bytes that the pieces have on the heap.
    heap: usize,
}

impl<P: Payload, M: Default> Directory<P, M> {
    /// Of one piece.
    pub(super) fn new(piece: Piece<P, M>) -> Self {
        let (weight, entries, heap) = (piece.weight(), piece.len(), piece.heap());
        let block = Block { pieces: vec![piece], weights: vec![weight] };
        Directory { blocks: vec![block], weights: vec![weight], weight, entries, pieces: 1, heap }
    }

    pub(super) fn weight(&self) -> u64 {
        self.weight
    }

    pub(super) fn len(&self) -> usize {
        self.entries
    }

    /// Bytes on the heap.
    pub(super) fn heap(&self) -> usize {
        let block = size_of::<Block<P, M>>() + size_of::<u64>();
        self.heap + self.pieces * (size_of::<Piece<P, M>>() + size_of::<u64>()) + self.blocks.len() * block + size_of::<Self>()
    }

    pub(super) fn blocks(&self) -> u32 {
        self.blocks.len() as u32
    }

    pub(super) fn pieces(&self, block: u32) -> u32 {
        self.blocks.get(block as usize).map_or(0, |block| block.pieces.len()) as u32
    }

    pub(super) fn piece(&self, place: Place) -> Option<&Piece<P, M>> {
        self.blocks.get(place.block as usize)?.pieces.get(place.piece as usize)
    }

    /// The start of the first piece from `from` on whose last row is not `before` the wanted ones.
    pub(super) fn seek(&self, from: Place, before: impl Fn(RowRef<'_>) -> bool) -> Option<Place> {
        let passed = |piece: &Piece<P, M>| piece.last().is_some_and(&before);
        let first = from.block as usize;
        let skipped = self.blocks.get(first..)?.partition_point(|block| block.pieces.last().is_some_and(passed));
        let block = self.blocks.get(first + skipped)?;
        let piece = block.pieces.partition_point(passed);
        Some(self.start(first + skipped, piece))
    }

    fn start(&self, block: usize, piece: usize) -> Place {
        let base = self.weights[..block].iter().sum::<u64>() + self.blocks[block].weights[..piece].iter().sum::<u64>();
        Place { block: block as u32, piece: piece as u32, index: 0, base }
    }

    /// The start of the piece that covers a position, which is below the weight of all.
    pub(super) fn at(&self, position: u64) -> Place {
        let (block, base) = covering(&self.weights, 0, position);
        let (piece, base) = covering(&self.blocks[block].weights, base, position);
        Place { block: block as u32, piece: piece as u32, index: 0, base }
    }

    /// Changes one piece.
    pub(super) fn change<R>(&mut self, place: Place, change: impl FnOnce(&mut Piece<P, M>) -> R) -> R {
        let (block, piece) = (place.block as usize, place.piece as usize);
        let held = &mut self.blocks[block].pieces[piece];
        self.heap -= held.heap();
        self.entries -= held.len();
        let before = held.weight();
        let result = change(held);
        self.heap += held.heap();
        self.entries += held.len();
        let after = held.weight();
        for weight in [&mut self.blocks[block].weights[piece], &mut self.weights[block], &mut self.weight] {
            *weight = *weight - before + after;
        }
        result
    }

    /// Adds an empty piece at the end; gives its start.
    pub(super) fn push(&mut self, piece: Piece<P, M>) -> Place {
        let base = self.weight;
        if self.blocks.last().is_none_or(|block| block.pieces.len() >= BLOCK_PIECES) {
            self.blocks.push(Block { pieces: Vec::new(), weights: Vec::new() });
            self.weights.push(0);
        }
        let block = self.blocks.len() - 1;
        let last = &mut self.blocks[block];
        last.pieces.push(piece);
        last.weights.push(0);
        self.pieces += 1;
        Place { block: block as u32, piece: last.pieces.len() as u32 - 1, index: 0, base }
    }

    /// Makes two pieces of one; gives the place anew.
    pub(super) fn split(&mut self, place: Place) -> Place {
        let (block, number) = (place.block as usize, place.piece as usize);
        let held = &mut self.blocks[block].pieces[number];
        self.heap -= held.heap();
        let half = held.len() / 2;
        let behind = held.split_off(half);
        self.heap += held.heap() + behind.heap();
        let (front, weight) = (held.weight(), behind.weight());
        let pieces = &mut self.blocks[block];
        pieces.weights[number] = front;
        pieces.pieces.insert(number + 1, behind);
        pieces.weights.insert(number + 1, weight);
        self.pieces += 1;
        let mut place = place;
        if place.index as usize > half {
            place = Place { piece: place.piece + 1, index: place.index - half as u32, base: place.base + front, ..place };
        }
        let middle = BLOCK_PIECES / 2;
        if self.blocks[block].pieces.len() > BLOCK_PIECES {
            self.split_block(block, middle);
            if place.piece as usize >= middle {
                place = Place { block: place.block + 1, piece: place.piece - middle as u32, ..place };
            }
        }
        place
    }

    fn split_block(&mut self, block: usize, middle: usize) {
        let front = &mut self.blocks[block];
        let behind = Block { pieces: front.pieces.split_off(middle), weights: front.weights.split_off(middle) };
        let weight = behind.weights.iter().sum::<u64>();
        self.weights[block] -= weight;
        self.weights.insert(block + 1, weight);
        self.blocks.insert(block + 1, behind);
    }

    /// After a row was taken out: drops the piece if it is empty, joins it with a neighbour if it is `small` and both `fit` in one. Gives the
    /// last piece back if no other is left.
    pub(super) fn tidy(
        &mut self,
        place: Place,
        small: impl Fn(&Piece<P, M>) -> bool,
        fits: impl Fn(&Piece<P, M>, &Piece<P, M>) -> bool,
    ) -> Option<Piece<P, M>> {
        let (block, piece) = (place.block as usize, place.piece as usize);
        let pieces = &self.blocks[block].pieces;
        if pieces[piece].len() == 0 {
            self.take(block, piece);
        } else if small(&pieces[piece]) {
            let neighbours: [Range<usize>; 2] = [piece..piece + 2, piece.saturating_sub(1)..piece + 1];
            let pair = neighbours.into_iter().find(|pair| match pieces.get(pair.clone()) {
                Some([left, right]) => fits(left, right),
                _ => false,
            });
            if let Some(pair) = pair {
                let behind = self.take(block, pair.start + 1);
                self.change(Place { block: place.block, piece: pair.start as u32, index: 0, base: 0 }, |front| front.append(behind));
            }
        }
        self.join_blocks(block);
        if self.pieces > 1 { None } else { Some(self.blocks.pop().and_then(|mut last| last.pieces.pop()).unwrap_or_default()) }
    }

    /// Takes a piece out, with all its rows.
    fn take(&mut self, block: usize, piece: usize) -> Piece<P, M> {
        let held = &mut self.blocks[block];
        let taken = held.pieces.remove(piece);
        held.weights.remove(piece);
        self.weights[block] -= taken.weight();
        self.weight -= taken.weight();
        self.entries -= taken.len();
        self.heap -= taken.heap();
        self.pieces -= 1;
        taken
    }

    /// Drops a block if it is empty, joins it with the next if both are small.
    fn join_blocks(&mut self, block: usize) {
        if self.blocks[block].pieces.is_empty() {
            self.blocks.remove(block);
            self.weights.remove(block);
            return;
        }
        let next = self.blocks.get(block + 1).map(|next| next.pieces.len());
        if next.is_some_and(|next| next + self.blocks[block].pieces.len() <= BLOCK_PIECES / 4) {
            let behind = self.blocks.remove(block + 1);
            self.weights[block] += self.weights.remove(block + 1);
            let front = &mut self.blocks[block];
            front.pieces.extend(behind.pieces);
            front.weights.extend(behind.weights);
        }
    }
}

/// Which weight covers a position, and the sum of those before it.
fn covering(weights: &[u64], mut base: u64, position: u64) -> (usize, u64) {
    for (number, weight) in weights.iter().enumerate() {
        if base + weight > position {
            return (number, base);
        }
        base += weight;
    }
    (weights.len().saturating_sub(1), base)
}
