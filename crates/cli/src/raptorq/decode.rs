//! `asupersync raptorq decode`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use asupersync_raptorq::{ObjectDecoder, ObjectError, ObjectOptions, PlanCache, SymbolKey};
use clap::Args;

use super::file::{self, Packets, Partial};
use super::{CommandError, progress};

/// What to decode, and how.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The packet file.
    packets: PathBuf,
    /// The file to write; it appears only when it is whole.
    #[arg(short, long)]
    output: PathBuf,
    /// The key that the packets were sealed with, a file of 32 octets.
    #[arg(long)]
    key: Option<PathBuf>,
    /// Most memory to use, in MiB.
    #[arg(long, default_value_t = 1024)]
    memory_mib: u64,
    /// Lose this share of the packets, as a network might.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100))]
    drop_percent: u32,
    /// Which packets are lost.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What decoding met.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Summary {
    pub(super) used: u64,
    pub(super) dropped: u64,
    pub(super) rejected: u64,
    pub(super) computed: u32,
}

/// Loses packets at random, repeatably.
#[derive(Debug)]
pub(super) struct Loss {
    pub(super) percent: u32,
    pub(super) state: u64,
}

impl Loss {
    pub(super) fn strikes(&mut self) -> bool {
        self.state = self
            .state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        ((self.state >> 33) * 100) >> 31 < u64::from(self.percent)
    }
}

pub(super) fn run(options: &Options) -> Result<(), CommandError> {
    let key = file::key(options.key.as_deref())?;
    let loss = Loss {
        percent: options.drop_percent,
        state: options.seed,
    };
    let summary = recover(
        &options.packets,
        &options.output,
        key.as_ref(),
        loss,
        options.memory_mib,
    )?;
    say!(
        "recovered from {} packets ({} dropped, {} rejected); {} source symbols computed",
        summary.used,
        summary.dropped,
        summary.rejected,
        summary.computed,
    );
    Ok(())
}

/// Recovers `output` from a packet file.
pub(super) fn recover(
    packets: &Path,
    output: &Path,
    key: Option<&SymbolKey>,
    loss: Loss,
    memory_mib: u64,
) -> Result<Summary, CommandError> {
    let packets = Packets::open(packets)?;
    match (packets.header.is_sealed, key) {
        (true, None) => return Err(CommandError::KeyNeeded),
        (false, Some(_)) => return Err(CommandError::KeyUnneeded),
        _ => {}
    }
    let mut file = Partial::create(output)?;
    let summary = recover_into(packets, &mut file, key, loss, memory_mib)?;
    file.finish()?;
    Ok(summary)
}

fn recover_into(
    mut packets: Packets,
    file: &mut Partial,
    key: Option<&SymbolKey>,
    mut loss: Loss,
    memory_mib: u64,
) -> Result<Summary, CommandError> {
    let oti = packets.header.oti;
    let options = ObjectOptions {
        memory_bytes_max: memory_mib << 20,
        ..ObjectOptions::default()
    };
    let mut decoder = ObjectDecoder::new(oti, Arc::new(PlanCache::new(0)), options);
    file.set_len(oti.fields().transfer_length)?;
    let bar = progress(oti.fields().transfer_length, "decoding");
    let mut summary = Summary::default();
    let mut recovered = 0;
    while !decoder.is_finished() {
        let Some(packet) = packets.next()? else {
            let blocks = oti.fields().source_blocks.into();
            return Err(CommandError::Incomplete {
                recovered,
                blocks,
                used: summary.used,
                dropped: summary.dropped,
                rejected: summary.rejected,
            });
        };
        if loss.strikes() {
            summary.dropped += 1;
            continue;
        }
        let outcome = match key {
            None => decoder.push(packet),
            Some(key) => decoder.push_sealed(key, packet),
        };
        match outcome {
            Ok(_) => summary.used += 1,
            Err(error @ ObjectError::Memory { .. }) => return Err(error.into()),
            Err(_) => summary.rejected += 1,
        }
        while let Some(block) = decoder.take_block() {
            file.write_at(block.offset, &block.bytes)?;
            bar.inc(block.bytes.len() as u64);
            recovered += 1;
        }
    }
    bar.finish_and_clear();
    summary.computed = decoder.stats().computed;
    Ok(summary)
}
