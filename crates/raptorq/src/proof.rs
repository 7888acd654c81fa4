//! Transcripts: what a decoder did, compactly enough to keep and to check.
//!
//! A transcript names the symbols that were used, a digest of their octets, and the verdict: either a
//! digest of the elimination's decisions and one of the recovered block, or an honest failure.
//! Solving is deterministic, so a verifier can replay it:
//!
//! | check | needs | confirms |
//! | --- | --- | --- |
//! | [`Transcript::verify_decisions`] | nothing | the symbols lead to that verdict, by those decisions |
//! | [`Transcript::verify_block`] | the block | its symbols are the ones that were used: recovery is right |
//! | [`Transcript::verify_symbols`] | the symbols | they are the ones used, and they give that block |
//!
//! A transcript is not signed; it is evidence only together with a channel that is.

use thiserror::Error;

use crate::code::{Code, CodeError, ESI_MAX};
use crate::decoder::{BlockDecoder, DecodeError, DecodeOptions};
use crate::encoder::BlockEncoder;
use crate::layout::BlockShape;
use crate::solve::{Plan, Policy, SolveError, SolveOptions};

const VERSION: u8 = 1;

/// A decoder's record of one attempt.
///
/// Symbols take one to four octets each: gaps between ascending identifiers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Transcript {
    source_symbols: u32,
    symbol_size: u16,
    options: SolveOptions,
    esis: Vec<u32>,
    symbols: [u8; 32],
    verdict: Verdict,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// The block was recovered.
    Recovered {
        /// Digest of every row and column chosen, in order; zero if all source symbols had come.
        decisions: [u8; 32],
        /// Columns made inactive.
        inactive: u32,
        /// Digest of the block, in the order of its symbols, with padding.
        block: [u8; 32],
    },
    /// The symbols do not determine the block.
    Undecodable {
        /// A lower bound on the symbols still needed.
        missing: u32,
    },
    /// The bound on work was met.
    TooDense,
}

/// Why a transcript is not confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProofError {
    /// The octets are no transcript.
    #[error("malformed transcript at octet {at}")]
    Malformed {
        /// Where reading stopped.
        at: usize,
    },
    /// The transcript's sizes are those of no code.
    #[error("the transcript describes no code")]
    Code(#[from] CodeError),
    /// Replaying ends otherwise than the transcript says.
    #[error("replaying the elimination gives another verdict")]
    Verdict,
    /// The octets given are not the ones that the transcript's digest is of.
    #[error("the octets are not those of the transcript")]
    Digest,
    /// Replaying would take more work than a verifier does: the transcript allows more inactive columns
    /// than [`SolveOptions::default`], and needs them.
    #[error("replaying needs more than {limit} inactive columns")]
    TooDense {
        /// The verifier's bound.
        limit: u32,
    },
    /// The transcript tells of a failure, so it confirms no block.
    #[error("the transcript records no recovery")]
    NoRecovery,
}

/// One digest of octet strings in order.
pub(crate) fn digest<'a>(parts: impl Iterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut hash = blake3::Hasher::new();
    for part in parts {
        hash.update(part);
    }
    *hash.finalize().as_bytes()
}

impl Transcript {
    pub(crate) fn new(
        shape: &BlockShape,
        options: SolveOptions,
        esis: Vec<u32>,
        symbols: [u8; 32],
        outcome: Result<(Option<&Plan>, &[u8]), SolveError>,
    ) -> Self {
        let verdict = match outcome {
            Ok((plan, block)) => Verdict::Recovered {
                decisions: plan.map_or([0; 32], Plan::digest),
                inactive: plan.map_or(0, |plan| plan.stats().inactive),
                block: digest([block].into_iter()),
            },
            Err(error) => Verdict::of(error),
        };
        Self {
            source_symbols: shape.symbols(),
            symbol_size: shape.symbol_size() as u16,
            options,
            esis,
            symbols,
            verdict,
        }
    }

    /// How the attempt ended.
    #[must_use]
    pub const fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// The symbols that were used, ascending.
    #[must_use]
    pub fn symbol_ids(&self) -> &[u32] {
        &self.esis
    }

    /// Replays the elimination, without any symbol.
    ///
    /// # Errors
    /// [`ProofError::Verdict`] if it ends otherwise, or decides otherwise on the way;
    /// [`ProofError::TooDense`] if that would take too much work.
    pub fn verify_decisions(&self) -> Result<(), ProofError> {
        let code = Code::new(self.source_symbols)?;
        let k = code.source_symbols();
        if let Verdict::Recovered { decisions, .. } = self.verdict
            && decisions == [0; 32]
        {
            let is_source = self.esis.iter().copied().eq(0..k);
            return if is_source {
                Ok(())
            } else {
                Err(ProofError::Verdict)
            };
        }
        let received = self.esis.iter().map(|&esi| code.internal_id(esi));
        let isis: Vec<u32> = received.chain(k..code.extended_symbols()).collect();
        let is_same = match Plan::solve(code, isis.into_iter(), self.bounded()) {
            Ok(plan) => self.is_verdict_of(&plan),
            Err(SolveError::TooDense { limit }) if limit < self.options.inactive_max => {
                return Err(ProofError::TooDense { limit });
            }
            Err(error) => Verdict::of(error) == self.verdict,
        };
        if is_same {
            Ok(())
        } else {
            Err(ProofError::Verdict)
        }
    }

    fn is_verdict_of(&self, plan: &Plan) -> bool {
        let Verdict::Recovered {
            decisions,
            inactive,
            ..
        } = self.verdict
        else {
            return false;
        };
        plan.digest() == decisions && plan.stats().inactive == inactive
    }

    /// The transcript's options, with no more work than a verifier does.
    fn bounded(&self) -> SolveOptions {
        let limit = SolveOptions::default().inactive_max;
        SolveOptions {
            inactive_max: self.options.inactive_max.min(limit),
            ..self.options
        }
    }

    /// Encodes `block` anew and compares the symbols that were used; shares nothing with decoding.
    ///
    /// # Shape and units
    /// `block` holds the source symbols one after another, with padding.
    /// # Errors
    /// [`ProofError::Digest`] if the block or one of its symbols is another; [`ProofError::NoRecovery`]
    /// if the transcript tells of a failure; [`ProofError::Code`] if the block has another length.
    pub fn verify_block(&self, block: &[u8]) -> Result<(), ProofError> {
        let Verdict::Recovered {
            block: expected, ..
        } = self.verdict
        else {
            return Err(ProofError::NoRecovery);
        };
        let shape = BlockShape::single(self.source_symbols, self.symbol_size)?;
        if digest([block].into_iter()) != expected {
            return Err(ProofError::Digest);
        }
        let encoder = BlockEncoder::new(shape, block, &Plan::encoding(*shape.code()))?;
        let mut hash = blake3::Hasher::new();
        let mut symbol = vec![0; shape.symbol_size()];
        for &esi in &self.esis {
            encoder.write_symbol(esi, &mut symbol)?;
            hash.update(&symbol);
        }
        if hash.finalize() == self.symbols {
            Ok(())
        } else {
            Err(ProofError::Digest)
        }
    }

    /// Replays the whole attempt on the symbols, given in the order of
    /// [`symbol_ids`](Self::symbol_ids), and compares every digest.
    ///
    /// # Errors
    /// [`ProofError::Digest`] if the symbols are others, or one is missing; [`ProofError::Verdict`] if
    /// the replay ends otherwise.
    pub fn verify_symbols<'a>(
        &self,
        symbols: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(), ProofError> {
        let shape = BlockShape::single(self.source_symbols, self.symbol_size)?;
        let options = DecodeOptions {
            extra_symbols_max: self.esis.len() as u32,
            solve: self.bounded(),
            transcript: true,
        };
        let mut decoder = BlockDecoder::new(shape, options);
        let mut symbols = symbols.into_iter();
        let mut hash = blake3::Hasher::new();
        for &esi in &self.esis {
            let symbol = symbols.next().ok_or(ProofError::Digest)?;
            decoder.add(esi, symbol).map_err(|_| ProofError::Digest)?;
            hash.update(symbol);
        }
        if hash.finalize() != self.symbols {
            return Err(ProofError::Digest);
        }
        // What this attempt records is compared; an error is a verdict like another.
        let outcome = decoder.decode(None);
        if let Err(DecodeError::Unsolved {
            source: SolveError::TooDense { limit },
            ..
        }) = outcome
            && limit < self.options.inactive_max
        {
            return Err(ProofError::TooDense { limit });
        }
        match decoder.transcript() {
            Some(replayed) if replayed.verdict == self.verdict => Ok(()),
            _ => Err(ProofError::Verdict),
        }
    }

    /// The transcript as octets.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend(self.source_symbols.to_be_bytes());
        out.extend(self.symbol_size.to_be_bytes());
        out.extend(self.options.inactive_max.to_be_bytes());
        out.push(policy_code(self.options.policy));
        out.extend(self.symbols);
        match self.verdict {
            Verdict::Recovered {
                decisions,
                inactive,
                block,
            } => {
                out.push(0);
                out.extend(inactive.to_be_bytes());
                out.extend(decisions);
                out.extend(block);
            }
            Verdict::Undecodable { missing } => {
                out.push(1);
                out.extend(missing.to_be_bytes());
            }
            Verdict::TooDense => out.push(2),
        }
        out.extend((self.esis.len() as u32).to_be_bytes());
        let mut next = 0;
        for &esi in &self.esis {
            let mut gap = esi - next;
            next = esi + 1;
            while gap >= 0x80 {
                out.push(gap as u8 | 0x80);
                gap >>= 7;
            }
            out.push(gap as u8);
        }
        out
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote; memory is bounded by the octets given.
    ///
    /// # Errors
    /// [`ProofError::Malformed`], or [`ProofError::Code`] if the sizes are those of no code.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ProofError> {
        let mut reader = Reader { bytes, at: 0 };
        if reader.take::<1>()? != [VERSION] {
            return Err(ProofError::Malformed { at: 0 });
        }
        let source_symbols = reader.word()?;
        let symbol_size = u16::from_be_bytes(reader.take()?);
        BlockShape::single(source_symbols, symbol_size)?;
        let inactive_max = reader.word()?;
        let policy = match reader.take::<1>()? {
            [0] => None,
            [1] => Some(Policy::Baseline),
            [2] => Some(Policy::HighSupport),
            _ => return Err(reader.malformed()),
        };
        let symbols = reader.take()?;
        let verdict = match reader.take::<1>()? {
            [0] => {
                let inactive = reader.word()?;
                Verdict::Recovered {
                    inactive,
                    decisions: reader.take()?,
                    block: reader.take()?,
                }
            }
            [1] => Verdict::Undecodable {
                missing: reader.word()?,
            },
            [2] => Verdict::TooDense,
            _ => return Err(reader.malformed()),
        };
        let count = reader.word()? as usize;
        if count > bytes.len() - reader.at {
            return Err(reader.malformed());
        }
        let mut esis = Vec::with_capacity(count);
        let mut next = 0;
        for _ in 0..count {
            let esi = next + reader.gap()?;
            if esi > ESI_MAX {
                return Err(reader.malformed());
            }
            esis.push(esi);
            next = esi + 1;
        }
        if reader.at != bytes.len() {
            return Err(reader.malformed());
        }
        let options = SolveOptions {
            inactive_max,
            policy,
        };
        Ok(Self {
            source_symbols,
            symbol_size,
            options,
            esis,
            symbols,
            verdict,
        })
    }
}

impl Verdict {
    fn of(error: SolveError) -> Self {
        match error {
            SolveError::RankDeficient { missing } => Self::Undecodable { missing },
            SolveError::TooDense { .. } => Self::TooDense,
        }
    }
}

fn policy_code(policy: Option<Policy>) -> u8 {
    match policy {
        None => 0,
        Some(Policy::HighSupport) => 2,
        // Planning begins with one of two policies; the third only ever follows.
        Some(Policy::Baseline | Policy::BlockSchur) => 1,
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn malformed(&self) -> ProofError {
        ProofError::Malformed { at: self.at }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], ProofError> {
        let chunk = self.bytes[self.at..]
            .first_chunk()
            .ok_or(self.malformed())?;
        self.at += N;
        Ok(*chunk)
    }

    fn word(&mut self) -> Result<u32, ProofError> {
        self.take().map(u32::from_be_bytes)
    }

    /// A gap of at most 28 bits, least significant group first.
    fn gap(&mut self) -> Result<u32, ProofError> {
        let mut gap = 0;
        for shift in [0, 7, 14, 21] {
            let [octet] = self.take()?;
            gap |= u32::from(octet & 0x7F) << shift;
            if octet < 0x80 {
                return Ok(gap);
            }
        }
        Err(self.malformed())
    }
}
