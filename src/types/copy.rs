//! How COPY data looks: said in SQL, written by the wire.

/// How COPY writes values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyFormat {
    /// Text, CSV or binary.
    pub kind: CopyKind,
    /// Between columns: a tab, a comma, or as said.
    pub delimiter: u8,
    /// What stands for NULL: `\N` in text, nothing in CSV, or as said.
    pub null: String,
    /// The first line names the columns.
    pub header: bool,
    /// CSV: around values that need it.
    pub quote: u8,
    /// CSV: before a quote within a value.
    pub escape: u8,
}

/// The forms of COPY data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyKind {
    /// PostgreSQL's own text format.
    Text,
    /// Comma-separated values.
    Csv,
    /// PostgreSQL's binary format.
    Binary,
}
