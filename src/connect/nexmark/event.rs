//! What each event of the Nexmark sequence holds, as a function of its number.
//!
//! Of 50 events the first is a person, the next three are auctions, the other 46 bids; ids follow from the event's number alone, so any
//! event can refer to any other without having seen it. The distributions are those of the Nexmark suite (Tucker et al., "NEXMark: A
//! Benchmark for Queries over Data Streams", 2002; the Apache Beam and Flink suites): half of the bids go to a hot auction, three
//! quarters come from a hot bidder, three quarters of the auctions belong to a hot seller, the rest spread over what is active.

use std::fmt::Write;
use std::sync::LazyLock;

use crate::connect::generator::Draw;

use super::text::{CHANNELS, CITIES, COLD_CHANNELS, FIRST_NAMES, HOT_CHANNELS, LAST_NAMES, LETTERS, STATES, WORDS};

/// Events of one round: 1 person, 3 auctions, 46 bids.
pub(super) const ROUND: u64 = 50;
pub(super) const PERSONS: u64 = 1;
pub(super) const AUCTIONS: u64 = 3;

/// Ids start here, so that no id is mistaken for a count.
pub(super) const FIRST_PERSON_ID: u64 = 1_000;
pub(super) const FIRST_AUCTION_ID: u64 = 1_000;
const FIRST_CATEGORY_ID: u64 = 10;
const CATEGORIES: u64 = 5;

/// One in so many bids goes to an auction that is not hot.
const HOT_AUCTION_RATIO: u64 = 2;
/// One in so many bids comes from a bidder who is not hot.
const HOT_BIDDER_RATIO: u64 = 4;
/// One in so many auctions belongs to a seller who is not hot.
const HOT_SELLER_RATIO: u64 = 4;
/// One in so many bids comes through a channel that is not hot.
const HOT_CHANNEL_RATIO: u64 = 2;
/// Of so many people (or auctions) in a row one is hot, until the next so many.
const HOT_STRIDE: u64 = 100;
const ACTIVE_PEOPLE: u64 = 1_000;
const AUCTIONS_IN_FLIGHT: u64 = 100;
/// How far ahead of the newest id a reference may be: such an event seems to have overtaken the one it refers to.
pub(super) const ID_LEAD: u64 = 10;

/// Bytes of an average event of each kind; `extra` fills up to them.
const PERSON_BYTES: u64 = 200;
const AUCTION_BYTES: u64 = 500;
const BID_BYTES: u64 = 100;

/// The sequence's parameters, and one source of random values for each thing that is drawn.
#[derive(Clone, Debug)]
pub(super) struct Sequence {
    base_micros: i64,
    gap_nanos: u64,
    name: Draw,
    email: Draw,
    card: Draw,
    city: Draw,
    state: Draw,
    item: Draw,
    description: Draw,
    initial_bid: Draw,
    reserve: Draw,
    expires: Draw,
    seller: Draw,
    category: Draw,
    auction: Draw,
    bidder: Draw,
    price: Draw,
    channel: Draw,
    extra: Draw,
}

impl Sequence {
    /// `base_micros`: event 0's time, since 1970; `gap_nanos`: event time between two events.
    pub(super) fn new(seed: u64, base_micros: i64, gap_nanos: u64) -> Self {
        let draw = |column| Draw::new(seed, column);
        Sequence {
            base_micros,
            gap_nanos,
            name: draw(1),
            email: draw(2),
            card: draw(3),
            city: draw(4),
            state: draw(5),
            item: draw(6),
            description: draw(7),
            initial_bid: draw(8),
            reserve: draw(9),
            expires: draw(10),
            seller: draw(11),
            category: draw(12),
            auction: draw(13),
            bidder: draw(14),
            price: draw(15),
            channel: draw(16),
            extra: draw(17),
        }
    }

    /// The event's time, in microseconds since 1970.
    #[inline]
    pub(super) fn date_time(&self, event: u64) -> i64 {
        self.base_micros.saturating_add((event.saturating_mul(self.gap_nanos) / 1_000) as i64)
    }

    #[inline]
    pub(super) fn person_id(event: u64) -> i64 {
        (FIRST_PERSON_ID + newest_person(event)) as i64
    }

    #[inline]
    pub(super) fn auction_id(event: u64) -> i64 {
        (FIRST_AUCTION_ID + newest_auction(event)) as i64
    }

    pub(super) fn name(&self, event: u64, out: &mut impl Write) {
        let (first, last) = self.names(event);
        append(out, first);
        append(out, " ");
        append(out, last);
    }

    fn names(&self, event: u64) -> (&'static str, &'static str) {
        let choice = self.name.below(event, (FIRST_NAMES.len() * LAST_NAMES.len()) as u64) as usize;
        (FIRST_NAMES[choice / LAST_NAMES.len()], LAST_NAMES[choice % LAST_NAMES.len()])
    }

    pub(super) fn email_address(&self, event: u64, out: &mut impl Write) {
        let (user, domain) = self.email_parts(event);
        append(out, user);
        append(out, "@");
        append(out, domain);
        append(out, ".com");
    }

    fn email_parts(&self, event: u64) -> (&'static str, &'static str) {
        let draw = self.email.nested(event);
        (LETTERS.take(draw.bits(0), 3 + draw.below(1, 4)), LETTERS.take(draw.bits(2), 3 + draw.below(3, 2)))
    }

    pub(super) fn credit_card(&self, event: u64, out: &mut impl Write) {
        let mut digits = self.card.below(event, 10_000_000_000_000_000);
        let mut card = *b"0000 0000 0000 0000";
        for byte in card.iter_mut().rev().filter(|byte| **byte != b' ') {
            *byte = b'0' + (digits % 10) as u8;
            digits /= 10;
        }
        append(out, std::str::from_utf8(&card).expect("digits and blanks are ASCII"));
    }

    pub(super) fn city(&self, event: u64) -> &'static str {
        CITIES[self.city.below(event, CITIES.len() as u64) as usize]
    }

    pub(super) fn state(&self, event: u64) -> &'static str {
        STATES[self.state.below(event, STATES.len() as u64) as usize]
    }

    pub(super) fn person_extra(&self, event: u64) -> &'static str {
        let (first, last) = self.names(event);
        let (user, domain) = self.email_parts(event);
        let texts = first.len() + 1 + last.len() + user.len() + domain.len() + "@.com".len() + 19 + self.city(event).len() + 2;
        self.extra(event, 8 + texts as u64, PERSON_BYTES)
    }

    pub(super) fn item_name(&self, event: u64) -> &'static str {
        words(self.item, event, 20)
    }

    pub(super) fn description(&self, event: u64) -> &'static str {
        words(self.description, event, 100)
    }

    #[inline]
    pub(super) fn initial_bid(&self, event: u64) -> i64 {
        price(self.initial_bid, event)
    }

    #[inline]
    pub(super) fn reserve(&self, event: u64) -> i64 {
        self.initial_bid(event) + price(self.reserve, event)
    }

    /// When the auction closes: on average when `AUCTIONS_IN_FLIGHT` more have been opened.
    #[inline]
    pub(super) fn expires(&self, event: u64) -> i64 {
        let events_ahead = AUCTIONS_IN_FLIGHT * ROUND / AUCTIONS;
        let horizon_millis = events_ahead.saturating_mul(self.gap_nanos) / 1_000_000;
        let millis = 1 + self.expires.below(event, horizon_millis.saturating_mul(2).max(1));
        self.date_time(event).saturating_add(millis.saturating_mul(1_000) as i64)
    }

    #[inline]
    pub(super) fn seller(&self, event: u64) -> i64 {
        let newest = newest_person(event);
        let draw = self.seller.bits(event);
        let seller = if is_hot(draw, HOT_SELLER_RATIO) { newest / HOT_STRIDE * HOT_STRIDE } else { active_person(newest, draw) };
        (FIRST_PERSON_ID + seller) as i64
    }

    #[inline]
    pub(super) fn category(&self, event: u64) -> i64 {
        (FIRST_CATEGORY_ID + self.category.below(event, CATEGORIES)) as i64
    }

    pub(super) fn auction_extra(&self, event: u64) -> &'static str {
        let texts = (self.item_name(event).len() + self.description(event).len()) as u64;
        self.extra(event, 6 * 8 + texts, AUCTION_BYTES)
    }

    #[inline]
    pub(super) fn bid_auction(&self, event: u64) -> i64 {
        let newest = newest_auction(event);
        let draw = self.auction.bits(event);
        // Both are computed, so that the choice needs no branch that nobody can predict.
        let hot = newest / HOT_STRIDE * HOT_STRIDE;
        let oldest = newest.saturating_sub(AUCTIONS_IN_FLIGHT);
        let other = oldest + below(draw, newest - oldest + 1 + ID_LEAD);
        let auction = if is_hot(draw, HOT_AUCTION_RATIO) { hot } else { other };
        (FIRST_AUCTION_ID + auction) as i64
    }

    #[inline]
    pub(super) fn bidder(&self, event: u64) -> i64 {
        let newest = newest_person(event);
        let draw = self.bidder.bits(event);
        // One beside the hot seller, so that hot bidders do not bid for their own.
        let hot = newest / HOT_STRIDE * HOT_STRIDE + 1;
        let other = active_person(newest, draw);
        let bidder = if is_hot(draw, HOT_BIDDER_RATIO) { hot } else { other };
        (FIRST_PERSON_ID + bidder) as i64
    }

    #[inline]
    pub(super) fn price(&self, event: u64) -> i64 {
        price(self.price, event)
    }

    #[inline]
    pub(super) fn channel(&self, event: u64) -> &'static str {
        CHANNELS.names.value(self.channel_index(event))
    }

    #[inline]
    pub(super) fn url(&self, event: u64) -> &'static str {
        CHANNELS.urls.value(self.channel_index(event))
    }

    fn channel_index(&self, event: u64) -> usize {
        let draw = self.channel.bits(event);
        if is_hot(draw, HOT_CHANNEL_RATIO) {
            below(draw, HOT_CHANNELS.len() as u64) as usize
        } else {
            HOT_CHANNELS.len() + below(draw, COLD_CHANNELS as u64) as usize
        }
    }

    pub(super) fn bid_extra(&self, event: u64) -> &'static str {
        self.extra(event, 4 * 8, BID_BYTES)
    }

    /// Padding that brings an event of `size` bytes to `average`, give or take a fifth of what is missing.
    fn extra(&self, event: u64, size: u64, average: u64) -> &'static str {
        let missing = average.saturating_sub(size);
        let slack = (missing + 2) / 5;
        let draw = self.extra.bits(event);
        LETTERS.take(draw, missing - slack + below(draw, 2 * slack))
    }
}

/// The newest person (counted from 0) when `event` happens; the event's own if it is one.
#[inline]
fn newest_person(event: u64) -> u64 {
    event / ROUND
}

/// The newest auction (counted from 0) when `event` happens; the event's own if it is one.
#[inline]
fn newest_auction(event: u64) -> u64 {
    let (round, slot) = (event / ROUND, event % ROUND);
    // Clamped: during a round's person, the newest auction is the last of the round before.
    (round * AUCTIONS + slot.min(AUCTIONS)).saturating_sub(1)
}

/// Someone of the newest people, or of the next few.
#[inline]
fn active_person(newest: u64, draw: u64) -> u64 {
    let people = newest + 1;
    let active = people.min(ACTIVE_PEOPLE);
    people - active + below(draw, active + ID_LEAD)
}

/// Whether a draw falls on the hot side: all but one in `ratio`. Looks at the lowest bits; `below` at the highest.
#[inline]
fn is_hot(draw: u64, ratio: u64) -> bool {
    !(draw & 0xFFFF).is_multiple_of(ratio)
}

#[inline]
fn below(draw: u64, bound: u64) -> u64 {
    ((u128::from(draw) * u128::from(bound)) >> 64) as u64
}

/// Steps of the table of prices: with a straight line between two of them, prices are off by less than 1 in 40,000.
const PRICE_STEPS: usize = 1_024;

/// `100 * 10^(6 * i / PRICE_STEPS)`. A table, since the exponential would cost more than all else about a bid together.
static PRICES: LazyLock<Vec<f64>> =
    LazyLock::new(|| (0..=PRICE_STEPS).map(|step| 100.0 * 10_f64.powf(6.0 * step as f64 / PRICE_STEPS as f64)).collect());

/// A price in cents: from 100 to 100 million, each order of magnitude equally likely.
#[inline]
fn price(draw: Draw, event: u64) -> i64 {
    let place = draw.unit(event) * PRICE_STEPS as f64;
    let step = place as usize;
    let (low, high) = (PRICES[step], PRICES[step + 1]);
    (low + (high - low) * (place - step as f64) + 0.5) as i64
}

/// Words of 3 to `max - 1` characters, without blanks around them.
fn words(draw: Draw, event: u64, max: u64) -> &'static str {
    let draw = draw.bits(event);
    WORDS.take(draw, 3 + below(draw, max - 3)).trim()
}

fn append(out: &mut impl Write, text: &str) {
    out.write_str(text).expect("writing to memory does not fail");
}
