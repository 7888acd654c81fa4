//! `asupersync raptorq demo`: packets are lost, the file is not.

use std::path::PathBuf;
use std::sync::Arc;

use asupersync_raptorq::{
    Derivation, ObjectDecoder, ObjectEncoder, ObjectOptions, Oti, PlanCache, Progress,
};
use clap::Args;

use super::decode::Loss;
use super::{CommandError, about, progress};

/// What to lose.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// A file; without one, a megabyte of numbers.
    input: Option<PathBuf>,
    /// Packets lost of each hundred.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=95))]
    drop_percent: u32,
    /// Which packets are lost.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

const DEFAULT_BYTES: u32 = 1 << 20;
const PLAN_BYTES: usize = 64 << 20;

pub(super) fn run(options: &Options) -> Result<(), CommandError> {
    let object = match &options.input {
        Some(path) => about(std::fs::read(path), "read", path)?,
        None => (0..DEFAULT_BYTES / 4).flat_map(u32::to_be_bytes).collect(),
    };
    let Some(len) = u64::try_from(object.len()).ok().filter(|&len| len > 0) else {
        return Err(CommandError::Empty {
            path: options.input.clone().unwrap_or_default(),
        });
    };
    let oti = Oti::derive(Derivation::file(len))?;
    let plans = Arc::new(PlanCache::new(PLAN_BYTES));
    let encoder = ObjectEncoder::new(oti, &object, Arc::clone(&plans))?;
    let mut decoder = ObjectDecoder::new(oti, plans, ObjectOptions::default());
    let mut loss = Loss {
        percent: options.drop_percent,
        state: options.seed,
    };
    let bar = progress(len, "sending");
    let mut recovered = vec![0; object.len()];
    say!(
        "{len} octets, {} packets lost of each hundred",
        options.drop_percent
    );
    for number in 0..oti.fields().source_blocks {
        let Some(block) = encoder.block(number)? else {
            break;
        };
        let (mut sent, mut lost) = (0_u32, 0_u32);
        loop {
            let packet = block.packet(sent)?;
            sent += 1;
            if loss.strikes() {
                lost += 1;
                continue;
            }
            if matches!(decoder.push(&packet)?, Progress::Recovered(_)) {
                break;
            }
        }
        let symbols = block.shape().symbols();
        let received = sent - lost;
        say!(
            "block {number}: {symbols} symbols, {sent} sent, {lost} lost, recovered from {received}"
        );
        while let Some(block) = decoder.take_block() {
            recovered[block.offset as usize..][..block.bytes.len()].copy_from_slice(&block.bytes);
            bar.inc(block.bytes.len() as u64);
        }
    }
    bar.finish_and_clear();
    if recovered != object {
        return Err(CommandError::Differs);
    }
    say!("the file came through whole");
    Ok(())
}
