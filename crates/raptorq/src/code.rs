//! The code's parameters and its random choices: which intermediate symbols make an encoding symbol.
//!
//! Everything here is a pure function of the number of source symbols and of a symbol's number.
//! An *ESI* numbers the symbols that are sent; an *ISI* numbers those of the extended source block,
//! where the padding symbols stand between the source and the repair symbols.
//!
//! # Source
//! RFC 6330, Sections 5.3.1, 5.3.3.3, 5.3.5 and 5.6.

use thiserror::Error;

use crate::tables::{DEGREE, SYSTEMATIC, V0, V1, V2, V3};

/// The largest number of source symbols in a block (RFC 6330, Section 5.1.2).
pub const SOURCE_SYMBOLS_MAX: u32 = 56_403;

/// The largest encoding symbol identifier: it has 24 bits.
pub const ESI_MAX: u32 = (1 << 24) - 1;

/// A block size or symbol number that the code does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CodeError {
    /// The number of source symbols is outside `1..=56403`.
    #[error("a source block holds 1 to {SOURCE_SYMBOLS_MAX} symbols, not {actual}")]
    SourceSymbols {
        /// What was asked for.
        actual: u64,
    },
    /// An encoding symbol identifier does not fit 24 bits.
    #[error("an encoding symbol identifier is at most {ESI_MAX}, not {actual}")]
    SymbolId {
        /// What was asked for.
        actual: u64,
    },
    /// A plan is not the encoding plan of the block's size.
    #[error("the block needs the encoding plan of K' = {expected}")]
    Plan {
        /// The `K'` of the block.
        expected: u32,
    },
    /// A buffer does not have the length that the symbols need.
    #[error("expected {expected} octets, got {actual}")]
    Length {
        /// Octets needed.
        expected: u64,
        /// Octets given.
        actual: u64,
    },
}

/// The parameters of the code for one number of source symbols.
///
/// # Examples
/// ```
/// let code = asupersync_raptorq::Code::new(11)?;
/// assert_eq!(code.extended_symbols(), 12); // K'
/// assert_eq!(code.intermediate_symbols(), 12 + 7 + 10); // L = K' + S + H
/// # Ok::<(), asupersync_raptorq::CodeError>(())
/// ```
/// # Source
/// RFC 6330, Section 5.3.3.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Code {
    source: u32,
    pub(crate) extended: u32,
    index: u32,
    pub(crate) ldpc: u32,
    pub(crate) hdpc: u32,
    pub(crate) lt: u32,
    pub(crate) pi: u32,
    pi_prime: u32,
}

/// 30 LT symbols and 3 permanently inactive ones.
const TERMS_MAX: usize = 33;

/// The terms of one encoding symbol.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    columns: [u16; TERMS_MAX],
    lt: usize,
    all: usize,
}

impl Terms {
    /// Every term; LT symbols come first.
    pub(crate) fn all(&self) -> &[u16] {
        &self.columns[..self.all]
    }

    /// How many are LT symbols.
    pub(crate) const fn lt(&self) -> usize {
        self.lt
    }
}

/// The six numbers that choose the terms of an encoding symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tuple {
    d: u32,
    a: u32,
    b: u32,
    d1: u32,
    a1: u32,
    b1: u32,
}

impl Code {
    /// The parameters for `source_symbols` source symbols.
    ///
    /// # Errors
    /// [`CodeError::SourceSymbols`] unless `source_symbols` is in `1..=56403`.
    pub fn new(source_symbols: u32) -> Result<Self, CodeError> {
        let at = SYSTEMATIC.partition_point(|row| u32::from(row.0) < source_symbols);
        let error = CodeError::SourceSymbols {
            actual: source_symbols.into(),
        };
        let &(extended, index, ldpc, hdpc, lt) = SYSTEMATIC.get(at).ok_or(error)?;
        if source_symbols == 0 {
            return Err(error);
        }
        let (extended, ldpc, hdpc, lt) = (
            u32::from(extended),
            u32::from(ldpc),
            u32::from(hdpc),
            u32::from(lt),
        );
        let pi = extended + ldpc + hdpc - lt;
        Ok(Self {
            source: source_symbols,
            extended,
            index: index.into(),
            ldpc,
            hdpc,
            lt,
            pi,
            pi_prime: prime_from(pi),
        })
    }

    /// `K`: source symbols.
    #[must_use]
    pub const fn source_symbols(&self) -> u32 {
        self.source
    }

    /// `K'`: symbols of the extended block, padding included.
    #[must_use]
    pub const fn extended_symbols(&self) -> u32 {
        self.extended
    }

    /// `L`: intermediate symbols.
    #[must_use]
    pub const fn intermediate_symbols(&self) -> u32 {
        self.extended + self.ldpc + self.hdpc
    }

    /// `S`: LDPC symbols.
    #[must_use]
    pub const fn ldpc_symbols(&self) -> u32 {
        self.ldpc
    }

    /// `H`: HDPC symbols.
    #[must_use]
    pub const fn hdpc_symbols(&self) -> u32 {
        self.hdpc
    }

    /// The ISI of an ESI: repair symbols come after the padding.
    ///
    /// It may pass 24 bits.
    #[must_use]
    pub const fn internal_id(&self, esi: u32) -> u32 {
        if esi < self.source {
            esi
        } else {
            esi + (self.extended - self.source)
        }
    }

    /// How many LT symbols the encoding symbol `isi` is the sum of: 1 to 30.
    ///
    /// Rows of low degree are what makes solving cheap; a sender that avoids them makes it dear.
    #[must_use]
    pub fn degree(&self, isi: u32) -> u32 {
        self.tuple(isi).d
    }

    /// The intermediate symbols that the encoding symbol `isi` is the sum of.
    pub(crate) fn terms(&self, isi: u32) -> Terms {
        let tuple = self.tuple(isi);
        let mut columns = [0; TERMS_MAX];
        let mut b = tuple.b;
        let lt = tuple.d as usize;
        for column in &mut columns[..lt] {
            *column = b as u16;
            b += tuple.a;
            if b >= self.lt {
                b -= self.lt;
            }
        }
        let all = lt + tuple.d1 as usize;
        let mut b1 = tuple.b1;
        for column in &mut columns[lt..all] {
            while b1 >= self.pi {
                b1 = (b1 + tuple.a1) % self.pi_prime;
            }
            *column = (self.lt + b1) as u16;
            b1 = (b1 + tuple.a1) % self.pi_prime;
        }
        Terms { columns, lt, all }
    }

    //= https://www.rfc-editor.org/rfc/rfc6330#section-5.3.5.4
    //# The tuple generator Tuple[K',X] takes the following inputs:
    fn tuple(&self, isi: u32) -> Tuple {
        let a = (53_591 + self.index * 997) | 1;
        let b = 10_267 * (self.index + 1);
        let y = isi.wrapping_mul(a).wrapping_add(b);
        let d = degree(random(y, 0, 1 << 20), self.lt);
        Tuple {
            d,
            a: 1 + random(y, 1, self.lt - 1),
            b: random(y, 2, self.lt),
            d1: if d < 4 { 2 + random(isi, 3, 2) } else { 2 },
            a1: 1 + random(isi, 4, self.pi_prime - 1),
            b1: random(isi, 5, self.pi_prime),
        }
    }

    /// For each of the first `K' + S` columns: the two HDPC rows that its running sum is added to,
    /// one in each nibble.
    ///
    /// The last column is not of this form; the fold treats it apart.
    pub(crate) fn hdpc_pairs(&self) -> Vec<u8> {
        (1..=self.extended + self.ldpc)
            .map(|j| {
                let first = random(j, 6, self.hdpc);
                let second = (first + random(j, 7, self.hdpc - 1) + 1) % self.hdpc;
                (first << 4 | second) as u8
            })
            .collect()
    }

    /// The LDPC rows that column `i` of the first `B = W - S` belongs to.
    pub(crate) fn ldpc_rows(&self, i: u32) -> [u32; 3] {
        let step = 1 + i / self.ldpc;
        let first = i % self.ldpc;
        let second = (first + step) % self.ldpc;
        [first, second, (second + step) % self.ldpc]
    }
}

//= https://www.rfc-editor.org/rfc/rfc6330#section-5.3.5.1
//# Rand[y, i, m] = (V0[x0] ^ V1[x1] ^ V2[x2] ^ V3[x3]) % m
fn random(y: u32, i: u8, m: u32) -> u32 {
    let [x0, x1, x2, x3] = y.to_le_bytes().map(|x| x.wrapping_add(i) as usize);
    (V0[x0] ^ V1[x1] ^ V2[x2] ^ V3[x3]) % m
}

//= https://www.rfc-editor.org/rfc/rfc6330#section-5.3.5.2
//# Deg[v] = min(d, W-2)
fn degree(v: u32, lt: u32) -> u32 {
    let d = DEGREE.partition_point(|&bound| bound <= v) as u32;
    d.min(lt - 2)
}

fn prime_from(n: u32) -> u32 {
    let is_prime = |n: u32| {
        n >= 2
            && (2..)
                .take_while(|d| d * d <= n)
                .all(|d| !n.is_multiple_of(d))
    };
    (n..)
        .find(|&n| is_prime(n))
        .expect("there is a prime above every number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_outside_the_table_are_refused() {
        assert_eq!(Code::new(0), Err(CodeError::SourceSymbols { actual: 0 }));
        assert_eq!(
            Code::new(56_404),
            Err(CodeError::SourceSymbols { actual: 56_404 })
        );
        assert_eq!(Code::new(56_403).map(|c| c.extended_symbols()), Ok(56_403));
        assert_eq!(Code::new(1).map(|c| c.extended_symbols()), Ok(10));
    }

    #[test]
    fn the_columns_of_a_row_are_distinct_and_in_range() {
        for row in &SYSTEMATIC {
            let code = Code::new(row.0.into()).unwrap();
            for isi in (0..200).chain([1 << 24, (1 << 24) + 99, u32::MAX]) {
                let (mut terms, lt) = (code.terms(isi).all().to_vec(), code.terms(isi).lt());
                assert!(terms[..lt].iter().all(|&c| u32::from(c) < code.lt));
                assert!(terms[lt..].iter().all(|&c| u32::from(c) >= code.lt));
                assert!(
                    terms
                        .iter()
                        .all(|&c| u32::from(c) < code.intermediate_symbols())
                );
                terms.sort_unstable();
                assert!(
                    terms.windows(2).all(|pair| pair[0] < pair[1]),
                    "K' {}",
                    row.0
                );
            }
        }
    }

    #[test]
    fn ldpc_and_hdpc_rows_of_a_column_are_distinct() {
        for row in &SYSTEMATIC {
            let code = Code::new(row.0.into()).unwrap();
            for i in 0..code.lt - code.ldpc {
                let [a, b, c] = code.ldpc_rows(i);
                assert!(a != b && b != c && a != c, "K' {} column {i}", row.0);
            }
            for pair in code.hdpc_pairs() {
                assert_ne!(pair >> 4, pair & 15);
                assert!(u32::from(pair >> 4) < code.hdpc);
                assert!(u32::from(pair & 15) < code.hdpc);
            }
        }
    }

    #[test]
    fn degrees_follow_the_cumulative_table() {
        assert_eq!(degree(0, 1000), 1);
        assert_eq!(degree(5242, 1000), 1);
        assert_eq!(degree(5243, 1000), 2);
        assert_eq!(degree(1_017_662, 1000), 30);
        assert_eq!(degree(1_048_575, 1000), 30);
        assert_eq!(degree(1_048_575, 17), 15);
    }
}
