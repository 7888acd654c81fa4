//! `asupersync raptorq encode`.

use std::fs::File;
use std::io::{BufReader, BufWriter, IntoInnerError, Write};
use std::path::PathBuf;
use std::sync::Arc;

use asupersync_raptorq::{Derivation, Oti, PlanCache, StreamEncoder};
use clap::Args;

use super::file::{self, Header, Partial};
use super::{CommandError, about, progress};

/// What to encode, and how.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The file to encode.
    input: PathBuf,
    /// The packet file to write.
    #[arg(short, long)]
    output: PathBuf,
    /// Octets of a symbol.
    #[arg(long, default_value_t = 1280, value_parser = clap::value_parser!(u16).range(8..))]
    symbol_size: u16,
    /// Repair symbols for each hundred source symbols.
    #[arg(long, default_value_t = 10)]
    repair_percent: u32,
    /// Seal every symbol with this key, a file of 32 octets.
    #[arg(long)]
    key: Option<PathBuf>,
}

/// Plans kept while encoding: an object has at most two block sizes.
const PLAN_BYTES: usize = 64 << 20;

pub(super) fn run(options: &Options) -> Result<(), CommandError> {
    let input = about(File::open(&options.input), "open", &options.input)?;
    let found = about(input.metadata(), "examine", &options.input)?;
    if !found.is_file() {
        let path = options.input.clone();
        return Err(CommandError::NoFile { path });
    }
    let len = found.len();
    if len == 0 {
        return Err(CommandError::Empty {
            path: options.input.clone(),
        });
    }
    let payload_size = options.symbol_size;
    let oti = Oti::derive(Derivation {
        payload_size,
        sub_symbol_units: 1,
        ..Derivation::file(len)
    })?;
    let key = file::key(options.key.as_deref())?;
    let header = Header {
        oti,
        is_sealed: key.is_some(),
    };
    let mut output = BufWriter::new(Partial::create(&options.output)?);
    let write = |output: &mut BufWriter<Partial>, bytes: &[u8]| {
        about(output.write_all(bytes), "write", &options.output)
    };
    write(&mut output, &header.to_bytes())?;
    let plans = Arc::new(PlanCache::new(PLAN_BYTES));
    let mut blocks = StreamEncoder::new(oti, BufReader::new(input), plans);
    let bar = progress(len, "encoding");
    let mut packets = 0_u64;
    while let Some(block) = blocks.next_block()? {
        let source = block.shape().symbols();
        let repair = u64::from(source) * u64::from(options.repair_percent);
        let count = source.saturating_add(u32::try_from(repair.div_ceil(100)).unwrap_or(u32::MAX));
        for esi in 0..count {
            let packet = match &key {
                None => block.packet(esi)?,
                Some(key) => key.seal(&oti, &block, esi, 1)?,
            };
            write(&mut output, &packet)?;
        }
        packets += u64::from(count);
        bar.inc(block.shape().len() as u64);
    }
    let output = output.into_inner().map_err(IntoInnerError::into_error);
    about(output, "write", &options.output)?.finish()?;
    bar.finish_and_clear();
    say!("{packets} packets in {} blocks", oti.fields().source_blocks);
    Ok(())
}
