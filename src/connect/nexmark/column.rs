//! Nexmark's three tables: their columns, and a column's values for a batch of events.
//!
//! A batch is made column by column, each a loop over event numbers; a column that nobody asked for is never looked at.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringBuilder, TimestampMicrosecondArray};

use crate::types::SqlType;

use super::event::{AUCTIONS, PERSONS, Sequence};

/// One of the tables that share the event sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// New people: the first event of 50.
    Person,
    /// New auctions: the next three.
    Auction,
    /// Bids: the other 46.
    Bid,
}

/// One column of one of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    PersonId,
    Name,
    EmailAddress,
    CreditCard,
    City,
    State,
    DateTime,
    PersonExtra,
    AuctionId,
    ItemName,
    Description,
    InitialBid,
    Reserve,
    Expires,
    Seller,
    Category,
    AuctionExtra,
    BidAuction,
    Bidder,
    Price,
    Channel,
    Url,
    BidExtra,
}

const PERSON: [(&str, Field); 8] = [
    ("id", Field::PersonId),
    ("name", Field::Name),
    ("email_address", Field::EmailAddress),
    ("credit_card", Field::CreditCard),
    ("city", Field::City),
    ("state", Field::State),
    ("date_time", Field::DateTime),
    ("extra", Field::PersonExtra),
];

const AUCTION: [(&str, Field); 10] = [
    ("id", Field::AuctionId),
    ("item_name", Field::ItemName),
    ("description", Field::Description),
    ("initial_bid", Field::InitialBid),
    ("reserve", Field::Reserve),
    ("date_time", Field::DateTime),
    ("expires", Field::Expires),
    ("seller", Field::Seller),
    ("category", Field::Category),
    ("extra", Field::AuctionExtra),
];

const BID: [(&str, Field); 7] = [
    ("auction", Field::BidAuction),
    ("bidder", Field::Bidder),
    ("price", Field::Price),
    ("channel", Field::Channel),
    ("url", Field::Url),
    ("date_time", Field::DateTime),
    ("extra", Field::BidExtra),
];

impl Table {
    /// All of them, in the order in which they first appear.
    pub const ALL: [Table; 3] = [Table::Person, Table::Auction, Table::Bid];

    /// Its name: `person`, `auction` or `bid`.
    pub fn name(self) -> &'static str {
        match self {
            Table::Person => "person",
            Table::Auction => "auction",
            Table::Bid => "bid",
        }
    }

    /// The table of this name, in whatever case.
    pub fn named(name: &str) -> Option<Table> {
        Table::ALL.into_iter().find(|table| table.name().eq_ignore_ascii_case(name))
    }

    /// Its columns as CREATE TABLE has them.
    pub fn declaration(self) -> String {
        let columns = self.fields().iter().map(|(name, field)| format!("{name} {}", field.sql_type()));
        columns.collect::<Vec<_>>().join(", ")
    }

    /// The table that the event at this place of a round belongs to.
    pub(super) fn of_slot(slot: u64) -> Table {
        if slot < PERSONS {
            Table::Person
        } else if slot < PERSONS + AUCTIONS {
            Table::Auction
        } else {
            Table::Bid
        }
    }

    /// Its columns, in order.
    pub(super) fn fields(self) -> &'static [(&'static str, Field)] {
        match self {
            Table::Person => &PERSON,
            Table::Auction => &AUCTION,
            Table::Bid => &BID,
        }
    }
}

impl Field {
    /// What SQL sees.
    pub(super) fn sql_type(self) -> SqlType {
        match self {
            Field::DateTime | Field::Expires => SqlType::Timestamp,
            Field::PersonId
            | Field::AuctionId
            | Field::InitialBid
            | Field::Reserve
            | Field::Seller
            | Field::Category
            | Field::BidAuction
            | Field::Bidder
            | Field::Price => SqlType::Int8,
            _ => SqlType::Text,
        }
    }

    /// The values for these events, as Int64, Timestamp (microseconds) or Utf8.
    pub(super) fn values(self, sequence: &Sequence, events: &[u64]) -> ArrayRef {
        match self {
            Field::PersonId => integers(events, Sequence::person_id),
            Field::Name => written(events, 16, |event, out| sequence.name(event, out)),
            Field::EmailAddress => written(events, 16, |event, out| sequence.email_address(event, out)),
            Field::CreditCard => written(events, 19, |event, out| sequence.credit_card(event, out)),
            Field::City => texts(events, 14, |event| sequence.city(event)),
            Field::State => texts(events, 2, |event| sequence.state(event)),
            Field::DateTime => timestamps(events, |event| sequence.date_time(event)),
            Field::PersonExtra => texts(events, 160, |event| sequence.person_extra(event)),
            Field::AuctionId => integers(events, Sequence::auction_id),
            Field::ItemName => texts(events, 20, |event| sequence.item_name(event)),
            Field::Description => texts(events, 60, |event| sequence.description(event)),
            Field::InitialBid => integers(events, |event| sequence.initial_bid(event)),
            Field::Reserve => integers(events, |event| sequence.reserve(event)),
            Field::Expires => timestamps(events, |event| sequence.expires(event)),
            Field::Seller => integers(events, |event| sequence.seller(event)),
            Field::Category => integers(events, |event| sequence.category(event)),
            Field::AuctionExtra => texts(events, 420, |event| sequence.auction_extra(event)),
            Field::BidAuction => integers(events, |event| sequence.bid_auction(event)),
            Field::Bidder => integers(events, |event| sequence.bidder(event)),
            Field::Price => integers(events, |event| sequence.price(event)),
            Field::Channel => texts(events, 12, |event| sequence.channel(event)),
            Field::Url => texts(events, 80, |event| sequence.url(event)),
            Field::BidExtra => texts(events, 72, |event| sequence.bid_extra(event)),
        }
    }
}

fn integers(events: &[u64], value: impl Fn(u64) -> i64) -> ArrayRef {
    Arc::new(Int64Array::from(events.iter().map(|&event| value(event)).collect::<Vec<i64>>()))
}

fn timestamps(events: &[u64], value: impl Fn(u64) -> i64) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(events.iter().map(|&event| value(event)).collect::<Vec<i64>>()))
}

/// `bytes`: about how long a text is, so that the buffer grows once.
fn texts(events: &[u64], bytes: usize, value: impl Fn(u64) -> &'static str) -> ArrayRef {
    let mut builder = StringBuilder::with_capacity(events.len(), events.len() * bytes);
    for &event in events {
        builder.append_value(value(event));
    }
    Arc::new(builder.finish())
}

/// As `texts`, for values that are put together from pieces.
fn written(events: &[u64], bytes: usize, write: impl Fn(u64, &mut StringBuilder)) -> ArrayRef {
    let mut builder = StringBuilder::with_capacity(events.len(), events.len() * bytes);
    for &event in events {
        write(event, &mut builder);
        builder.append_value("");
    }
    Arc::new(builder.finish())
}
