//! `tidemill generate tpch`: the eight tables of TPC-H as CSV files, row for row what the benchmark's own dbgen makes.
//!
//! Each file has a header, so that COPY and the file connector take it as it is. The tables are declared in `sql/tpch/schema.sql`.

use std::fmt::Display;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use tpchgen::csv::{CustomerCsv, LineItemCsv, NationCsv, OrderCsv, PartCsv, PartSuppCsv, RegionCsv, SupplierCsv};
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator, RegionGenerator,
    SupplierGenerator,
};

use crate::error::{Error, Kind, Result};

/// Scale factors of the specification end here; beyond, keys would no longer fit their text.
const SCALE_MAX: f64 = 100_000.0;

#[derive(Args, Clone, Debug)]
pub(super) struct TpchOptions {
    /// The folder for region.csv, nation.csv, …; it is made if it is not there.
    #[arg(long)]
    to: PathBuf,
    /// The scale factor: 1 is 6 million line items, about a gigabyte.
    #[arg(long, default_value_t = 0.01)]
    scale: f64,
}

/// Writes the files and says how many rows there were.
pub(super) fn generate(options: &TpchOptions) -> Result<()> {
    let scale = options.scale;
    if !(scale > 0.0 && scale <= SCALE_MAX) {
        return Err(Error::new(Kind::InvalidParameter, format!("--scale must be above 0 and at most {SCALE_MAX}")));
    }
    std::fs::create_dir_all(&options.to).map_err(|cause| not_written(&options.to, cause))?;
    let started = Instant::now();
    let write = |name: &str, header: &str, rows: &mut dyn Iterator<Item = Box<dyn Display>>| {
        let path = options.to.join(format!("{name}.csv"));
        write_file(&path, header, rows).map_err(|cause| not_written(&path, cause))
    };
    // One part of one: all rows.
    let (part, parts) = (1, 1);
    let mut count = 0;
    macro_rules! table {
        ($name:literal, $generator:ty, $csv:ident) => {
            let generator = <$generator>::new(scale, part, parts);
            count += write($name, $csv::header(), &mut generator.iter().map(|row| Box::new($csv::new(row)) as Box<dyn Display>))?;
        };
    }
    table!("region", RegionGenerator<'_>, RegionCsv);
    table!("nation", NationGenerator<'_>, NationCsv);
    table!("supplier", SupplierGenerator<'_>, SupplierCsv);
    table!("part", PartGenerator<'_>, PartCsv);
    table!("partsupp", PartSuppGenerator<'_>, PartSuppCsv);
    table!("customer", CustomerGenerator<'_>, CustomerCsv);
    table!("orders", OrderGenerator<'_>, OrderCsv);
    table!("lineitem", LineItemGenerator<'_>, LineItemCsv);
    eprintln!("{count} rows in {:.1} s to {}", started.elapsed().as_secs_f64(), options.to.display());
    Ok(())
}

fn write_file(path: &Path, header: &str, rows: &mut dyn Iterator<Item = Box<dyn Display>>) -> std::io::Result<u64> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    writeln!(file, "{header}")?;
    let mut count = 0;
    for row in rows {
        writeln!(file, "{row}")?;
        count += 1;
    }
    file.flush()?;
    Ok(count)
}

fn not_written(path: &Path, cause: std::io::Error) -> Error {
    Error::external(&format!("cannot write \"{}\"", path.display()), cause)
}
