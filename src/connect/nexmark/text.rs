//! The words that Nexmark's texts are made of, all of them made once: a row only copies.

use std::sync::LazyLock;

use arrow::array::StringArray;

use crate::connect::generator::Draw;

/// US states in which people live: few, so that the queries which filter on them find some.
pub(super) const STATES: [&str; 6] = ["AZ", "CA", "ID", "OR", "WA", "WY"];

/// US cities in which people live.
pub(super) const CITIES: [&str; 10] =
    ["Phoenix", "Los Angeles", "San Francisco", "Boise", "Portland", "Bend", "Redmond", "Seattle", "Kent", "Cheyenne"];

/// First names.
pub(super) const FIRST_NAMES: [&str; 11] = ["Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter"];

/// Last names.
pub(super) const LAST_NAMES: [&str; 9] = ["Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris"];

/// The channels through which half of all bids come.
pub(super) const HOT_CHANNELS: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];

/// How many other channels there are.
pub(super) const COLD_CHANNELS: usize = 10_000;

/// Places at which a random text may start. A power of two, so that a place costs a mask and no division.
const BLOCK_STARTS: usize = 1 << 16;

/// The longest text that is ever taken from a block.
const TEXT_BYTES_MAX: usize = 1_024;

/// The seed of the tables. They do not depend on the source's seed, so that all sources of a process share them.
const TABLE_SEED: u64 = 0x6E65_786D_6172_6B00;

/// Channels and their addresses: the hot ones first, then the cold ones.
pub(super) static CHANNELS: LazyLock<Channels> = LazyLock::new(Channels::new);

/// Random letters.
pub(super) static LETTERS: LazyLock<Block> = LazyLock::new(|| Block::new(1, false));

/// Random letters, every thirteenth character or so a blank.
pub(super) static WORDS: LazyLock<Block> = LazyLock::new(|| Block::new(2, true));

/// The names of channels and the address that belongs to each.
pub(super) struct Channels {
    pub(super) names: StringArray,
    pub(super) urls: StringArray,
}

impl Channels {
    fn new() -> Self {
        let count = HOT_CHANNELS.len() + COLD_CHANNELS;
        let path = Draw::new(TABLE_SEED, 3);
        let has_id = Draw::new(TABLE_SEED, 4);
        let mut names = Vec::with_capacity(count);
        let mut urls = Vec::with_capacity(count);
        for index in 0..count {
            let parts = path.nested(index as u64);
            let [first, second, third] = [0, 1, 2].map(|part| LETTERS.take(parts.bits(part), 3 + parts.below(part + 3, 3)));
            let mut url = format!("https://www.nexmark.com/{first}/{second}/{third}/item.htm?query=1");
            match HOT_CHANNELS.get(index) {
                Some(hot) => names.push((*hot).to_owned()),
                None => {
                    let cold = index - HOT_CHANNELS.len();
                    names.push(format!("channel-{cold}"));
                    // One address in ten carries no id, so that queries which look for it meet both cases.
                    if has_id.below(cold as u64, 10) > 0 {
                        let id = i64::from((cold as i32).reverse_bits()).abs();
                        url.push_str(&format!("&channel_id={id}"));
                    }
                }
            }
            urls.push(url);
        }
        Channels { names: StringArray::from(names), urls: StringArray::from(urls) }
    }
}

/// Random text, of which slices are taken.
pub(super) struct Block(String);

impl Block {
    fn new(column: u64, blanks: bool) -> Self {
        let (letter, blank) = (Draw::new(TABLE_SEED, column), Draw::new(TABLE_SEED, column + 100));
        let text = (0..(BLOCK_STARTS + TEXT_BYTES_MAX) as u64)
            .map(|number| if blanks && blank.below(number, 13) == 0 { ' ' } else { char::from(b'a' + letter.below(number, 26) as u8) });
        Block(text.collect())
    }

    /// `length` characters from a place that `bits` choose.
    #[inline]
    pub(super) fn take(&self, bits: u64, length: u64) -> &str {
        let start = bits as usize % BLOCK_STARTS;
        &self.0[start..start + (length as usize).min(TEXT_BYTES_MAX)]
    }
}
