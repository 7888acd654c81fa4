//! Reading the tables, and the source data of all vectors.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// A data file that cannot be used.
#[derive(Debug)]
pub(crate) struct DataError(String);

impl fmt::Display for DataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One row of a table, by column name.
#[derive(Debug)]
pub(crate) struct Row {
    name: String,
    fields: BTreeMap<String, String>,
}

impl Row {
    pub(crate) fn text(&self, column: &str) -> Result<&str, DataError> {
        let field = self.fields.get(column).map(String::as_str);
        field.ok_or_else(|| DataError(format!("{}: no column {column}", self.name)))
    }

    pub(crate) fn number<T: FromStr>(&self, column: &str) -> Result<T, DataError> {
        let text = self.text(column)?;
        let error = || DataError(format!("{}: {column} is {text}", self.name));
        text.parse().map_err(|_| error())
    }

    pub(crate) fn octets(&self, column: &str) -> Result<Vec<u8>, DataError> {
        let text = self.text(column)?;
        let error = || DataError(format!("{}: {column} is {text}", self.name));
        let pairs = text.as_bytes().as_chunks::<2>().0;
        let octet = |pair: &[u8; 2]| {
            let pair = std::str::from_utf8(pair).map_err(|_| error())?;
            u8::from_str_radix(pair, 16).map_err(|_| error())
        };
        pairs.iter().map(octet).collect()
    }
}

/// The rows of a comma-separated file with a header.
pub(crate) fn rows(folder: &Path, file: &str) -> Result<Vec<Row>, DataError> {
    let path = folder.join(file);
    let text = fs::read_to_string(&path)
        .map_err(|error| DataError(format!("{}: {error}", path.display())))?;
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    let row = |(number, line): (usize, &str)| {
        let fields = header.iter().zip(line.split(','));
        let fields = fields
            .map(|(&name, field)| (name.to_owned(), field.to_owned()))
            .collect();
        Row {
            name: format!("{file} row {}", number + 1),
            fields,
        }
    };
    Ok(lines.enumerate().map(row).collect())
}

/// The first `len` octets of the stream that every vector's source is a prefix of.
pub(crate) fn source(len: usize) -> Vec<u8> {
    let mut state = 25_392_u32;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(len)
    .collect()
}

pub(crate) fn sha256(octets: &[u8]) -> Vec<u8> {
    Sha256::digest(octets).to_vec()
}

/// A small generator for test cases (SplitMix64).
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        (((self.next() >> 32) * u64::from(bound)) >> 32) as u32
    }
}
