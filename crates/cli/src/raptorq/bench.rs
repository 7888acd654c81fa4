//! `asupersync raptorq bench`: how fast this machine encodes and decodes.

use std::hint::black_box;
use std::time::Instant;

use asupersync_raptorq::{Backend, BlockDecoder, BlockEncoder, BlockShape, DecodeOptions, Plan};
use clap::Args;

use super::CommandError;

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Block sizes, in symbols.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 100, 1000, 10_000, 50_000])]
    k: Vec<u32>,
    /// Octets of a symbol.
    #[arg(long, default_value_t = 1280, value_parser = clap::value_parser!(u16).range(1..))]
    symbol_size: u16,
    /// Runs of each, of which the median counts.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
}

pub(super) fn run(options: &Options) -> Result<(), CommandError> {
    say!(
        "{} loops, {}-octet symbols, median of {}",
        Backend::chosen(),
        options.symbol_size,
        options.runs
    );
    say!(
        "{:>6} {:>12} {:>14} {:>14} {:>10}",
        "K",
        "plan",
        "encode",
        "decode",
        "inactive"
    );
    for &k in &options.k {
        let shape = BlockShape::single(k, options.symbol_size)?;
        let block: Vec<u8> = (0..shape.len())
            .map(|i| (i ^ i >> 8 ^ i >> 16) as u8)
            .collect();
        let plan_ns = median(options.runs, || Plan::encoding(*shape.code()));
        let plan = Plan::encoding(*shape.code());
        let encode_ns = median(options.runs, || BlockEncoder::new(shape, &block[..], &plan));
        let encoder = BlockEncoder::new(shape, &block[..], &plan)?;
        // A tenth of the source symbols is lost.
        let esis = (0..k).filter(|esi| esi % 10 != 7).chain(k..k + k / 10 + 3);
        let symbols = esis.map(|esi| Ok((esi, encoder.symbol(esi)?)));
        let symbols: Vec<(u32, Vec<u8>)> = symbols.collect::<Result<_, CommandError>>()?;
        let decode_ns = median(options.runs, || {
            let mut decoder = BlockDecoder::new(shape, DecodeOptions::default());
            for (esi, symbol) in &symbols {
                let _ = decoder.add(*esi, symbol);
            }
            decoder.decode(None).map(|()| decoder.into_block())
        });
        let rate = |ns: u64| format!("{:.0} MB/s", shape.len() as f64 * 1e3 / ns as f64);
        say!(
            "{k:>6} {:>9} us {:>14} {:>14} {:>10}",
            plan_ns / 1000,
            rate(encode_ns),
            rate(decode_ns),
            plan.stats().inactive,
        );
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a bench reads the clock")]
fn median<T>(runs: u32, work: impl Fn() -> T) -> u64 {
    let mut times: Vec<u64> = (0..runs)
        .map(|_| {
            let start = Instant::now();
            let output = black_box(work());
            let time = start.elapsed().as_nanos() as u64;
            drop(output);
            time
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2].max(1)
}
