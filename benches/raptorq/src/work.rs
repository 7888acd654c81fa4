//! The workloads, each in two implementations.
//!
//! Both sides get the same octets and the same symbols, in owned form where they consume them.
//! Time covers the operation alone: inputs are copied before, results are dropped after.

use std::hint::black_box;
use std::time::{Duration, Instant};

use asupersync_raptorq::{BlockDecoder, BlockEncoder, BlockShape, DecodeOptions, Plan};
use clap::ValueEnum;
use raptorq::{
    EncodingPacket, ObjectTransmissionInformation, PayloadId, SourceBlockDecoder,
    SourceBlockEncoder, SourceBlockEncodingPlan,
};

use crate::memory;

/// Octets of a symbol in every workload.
pub(crate) const SYMBOL: u16 = 1280;

/// Whose code runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Side {
    Ours,
    Peer,
}

/// What runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// Record the encoding plan.
    Plan,
    /// Encode a block and a tenth more repair symbols, with a recorded plan.
    EncodeWithPlan,
    /// The same, plan included.
    Encode,
    /// Recover a block from exactly K repair symbols.
    DecodeRepair,
    /// Recover a block from 90 % of its source symbols and as many repair symbols as were lost.
    DecodeLoss,
}

/// One process's result.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) nanoseconds: u64,
    pub(crate) peak_bytes: u64,
}

/// Symbols with their identifiers.
type Symbols = Vec<(u32, Vec<u8>)>;

/// Runs one workload on one side for about `budget`; the sample is the median of the runs.
pub(crate) fn run(side: Side, workload: Workload, k: u32, budget: Duration) -> Sample {
    let block = source(k as usize * SYMBOL as usize);
    let shape = BlockShape::single(k, SYMBOL).expect("every K of the bench has a code");
    let config = ObjectTransmissionInformation::new(block.len() as u64, SYMBOL, 1, 1, 8);
    let repair = k / 10 + 1;
    match (workload, side) {
        (Workload::Plan, Side::Ours) => repeat(budget, || (), |()| Plan::encoding(*shape.code())),
        (Workload::Plan, Side::Peer) => repeat(
            budget,
            || (),
            |()| SourceBlockEncodingPlan::generate(k as u16),
        ),
        (Workload::EncodeWithPlan, Side::Ours) => {
            let plan = Plan::encoding(*shape.code());
            repeat(budget, || (), |()| encode(shape, &block, &plan, repair))
        }
        (Workload::EncodeWithPlan, Side::Peer) => {
            let plan = SourceBlockEncodingPlan::generate(k as u16);
            repeat(
                budget,
                || (),
                |()| {
                    let encoder = SourceBlockEncoder::with_encoding_plan(0, &config, &block, &plan);
                    let packets = encoder.repair_packets(0, repair);
                    (encoder, packets)
                },
            )
        }
        (Workload::Encode, Side::Ours) => repeat(
            budget,
            || (),
            |()| encode(shape, &block, &Plan::encoding(*shape.code()), repair),
        ),
        (Workload::Encode, Side::Peer) => repeat(
            budget,
            || (),
            |()| {
                let encoder = SourceBlockEncoder::new(0, &config, &block);
                let packets = encoder.repair_packets(0, repair);
                (encoder, packets)
            },
        ),
        (Workload::DecodeRepair | Workload::DecodeLoss, _) => {
            let symbols = received(shape, &block, workload == Workload::DecodeLoss);
            decode(side, shape, &config, symbols, &block, budget)
        }
    }
}

fn encode<'a>(
    shape: BlockShape,
    block: &'a [u8],
    plan: &Plan,
    repair: u32,
) -> (BlockEncoder<'a>, Vec<u8>) {
    let encoder = BlockEncoder::new(shape, block, plan).expect("the block has its shape's length");
    let symbols = encoder
        .symbols(shape.symbols(), repair)
        .expect("the identifiers have 24 bits");
    (encoder, symbols)
}

fn decode(
    side: Side,
    shape: BlockShape,
    config: &ObjectTransmissionInformation,
    symbols: Symbols,
    block: &[u8],
    budget: Duration,
) -> Sample {
    let check = |recovered: Option<Vec<u8>>| {
        assert!(
            recovered.as_deref() == Some(block),
            "the block must be recovered"
        );
    };
    match side {
        Side::Ours => {
            let work = |symbols: Symbols| recover(shape, symbols);
            check(work(symbols.clone()));
            repeat(budget, || symbols.clone(), work)
        }
        Side::Peer => {
            let packet = |(esi, symbol)| EncodingPacket::new(PayloadId::new(0, esi), symbol);
            let packets: Vec<EncodingPacket> = symbols.into_iter().map(packet).collect();
            let work = |packets: Vec<EncodingPacket>| {
                SourceBlockDecoder::new(0, config, block.len() as u64).decode(packets)
            };
            check(work(packets.clone()));
            repeat(budget, || packets.clone(), work)
        }
    }
}

fn recover(shape: BlockShape, symbols: Symbols) -> Option<Vec<u8>> {
    let mut decoder = BlockDecoder::new(shape, DecodeOptions::default());
    for (esi, symbol) in symbols {
        decoder
            .add(esi, &symbol)
            .expect("the symbol has the shape's length");
    }
    decoder.decode(None).ok()?;
    decoder.into_block()
}

/// Exactly K symbols that determine the block: the first shift of the repair symbols that does.
fn received(shape: BlockShape, block: &[u8], with_source: bool) -> Symbols {
    let k = shape.symbols();
    let plan = Plan::encoding(*shape.code());
    let encoder = BlockEncoder::new(shape, block, &plan).expect("the block has its length");
    let mut state = 1_u32;
    let mut is_lost = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8).is_multiple_of(10)
    };
    let mut kept: Vec<u32> = (0..k).filter(|_| with_source && !is_lost()).collect();
    let source = kept.len();
    if source == k as usize {
        kept.pop();
    }
    let source = kept.len() as u32;
    for shift in 0..100 {
        kept.truncate(source as usize);
        let first = k + shift * k;
        kept.extend(first..first + (k - source));
        let symbol = |&esi| {
            (
                esi,
                encoder.symbol(esi).expect("the identifiers have 24 bits"),
            )
        };
        let symbols: Symbols = kept.iter().map(symbol).collect();
        if recover(shape, symbols.clone()).is_some() {
            return symbols;
        }
    }
    panic!("one set in a hundred fails, not a hundred in a row");
}

/// Repeats `work` on fresh inputs until `budget` is spent, at least once after one warm-up.
#[expect(clippy::disallowed_methods, reason = "a bench reads the clock")]
fn repeat<I, O>(budget: Duration, input: impl Fn() -> I, work: impl Fn(I) -> O) -> Sample {
    drop(black_box(work(input())));
    let mut times = Vec::with_capacity(RUNS_MAX);
    let start = Instant::now();
    let mut peak = 0;
    while times.len() < RUNS_MAX && (times.is_empty() || start.elapsed() < budget) {
        let before = memory::live();
        let input = input();
        memory::reset_peak();
        let begun = Instant::now();
        let output = black_box(work(black_box(input)));
        times.push(begun.elapsed().as_nanos() as u64);
        peak = memory::peak() - before;
        drop(output);
    }
    times.sort_unstable();
    Sample {
        nanoseconds: times[times.len() / 2],
        peak_bytes: peak as u64,
    }
}

/// Most runs in one process.
const RUNS_MAX: usize = 2000;

fn source(len: usize) -> Vec<u8> {
    let mut state = 25_392_u32;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(len)
    .collect()
}
