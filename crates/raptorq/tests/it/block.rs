use asupersync_raptorq::{
    BlockDecoder, BlockEncoder, BlockShape, Code, CodeError, DecodeError, DecodeOptions, ESI_MAX,
    Plan, PlanCache, SymbolError, Taken,
};
use proptest::prelude::*;

use crate::stream;

fn encoder(shape: BlockShape, block: &[u8]) -> BlockEncoder<'_> {
    BlockEncoder::new(shape, block, &Plan::encoding(*shape.code())).unwrap()
}

/// Feeds symbols in the order given until the block is recovered, then compares.
fn check(k: u32, t: u16, esis: impl IntoIterator<Item = u32>) -> BlockDecoder {
    let shape = BlockShape::single(k, t).unwrap();
    let block = stream(k, shape.len());
    let encoder = encoder(shape, &block);
    let mut decoder = BlockDecoder::new(shape, DecodeOptions::default());
    for esi in esis {
        assert_eq!(
            decoder.add(esi, &encoder.symbol(esi).unwrap()),
            Ok(Taken::Stored)
        );
        if decoder.may_decode() && decoder.decode(None).is_ok() {
            break;
        }
    }
    assert!(decoder.is_recovered(), "K {k}, T {t}");
    let mut again = BlockDecoder::new(shape, DecodeOptions::default());
    assert_eq!(again.add(0, &block[..t as usize]), Ok(Taken::Stored));
    decoder
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_loss_in_any_order_is_recovered(
        k in 1_u32..300, t in 1_u16..200, seed: u32, lost in 0_u32..=100,
    ) {
        let shape = BlockShape::single(k, t).unwrap();
        let block = stream(seed, shape.len());
        let encoder = encoder(shape, &block);
        let draws = stream(seed ^ 1, 4 * k as usize + 64);
        let mut esis: Vec<u32> =
            (0..k).filter(|&i| u32::from(draws[i as usize]) * 100 >= lost * 256).collect();
        esis.extend((0..k + 6).map(|i| k + i * 7 % (1 << 20)));
        // A shuffle by the stream.
        for i in (1..esis.len()).rev() {
            let draw = usize::from(draws[i]) << 8 | usize::from(draws[2 * i]);
            esis.swap(i, draw % (i + 1));
        }
        let options = DecodeOptions { extra_symbols_max: k + 100, ..DecodeOptions::default() };
        let mut decoder = BlockDecoder::new(shape, options);
        for esi in esis {
            decoder.add(esi, &encoder.symbol(esi).unwrap()).unwrap();
        }
        prop_assert_eq!(decoder.decode(None), Ok(()));
        prop_assert_eq!(decoder.into_block(), Some(block));
    }
}

#[test]
fn all_source_symbols_need_no_solving() {
    let decoder = check(100, 16, 0..100);
    assert_eq!(decoder.stats().plan, None);
    assert_eq!(decoder.stats().computed, 0);
}

#[test]
fn a_source_symbol_whose_place_is_taken_still_counts() {
    // The first repair symbol takes the last place, which source symbol 49 then finds taken.
    let decoder = check(50, 16, std::iter::once(60).chain((0..50).rev()));
    assert!(decoder.is_recovered());
    let block = stream(50, 800);
    assert_eq!(decoder.into_block(), Some(block));
}

#[test]
fn the_largest_block_is_recovered_from_repair_symbols() {
    let k = 56_403;
    let decoder = check(k, 2, 1_000_000..1_000_000 + k + 10);
    assert_eq!(decoder.into_block(), Some(stream(k, 2 * k as usize)));
}

#[test]
fn the_order_of_arrival_does_not_change_the_plan() {
    let cache = PlanCache::new(1 << 20);
    let shape = BlockShape::single(40, 8).unwrap();
    let block = stream(1, 320);
    let encoder = encoder(shape, &block);
    let esis: Vec<u32> = (10..55).collect();
    for (run, order) in [esis.clone(), esis.iter().rev().copied().collect()]
        .iter()
        .enumerate()
    {
        let mut decoder = BlockDecoder::new(shape, DecodeOptions::default());
        for &esi in order {
            decoder.add(esi, &encoder.symbol(esi).unwrap()).unwrap();
        }
        decoder.decode(Some(&cache)).unwrap();
        assert_eq!(decoder.stats().cache_hits, run as u32);
        assert_eq!(decoder.into_block().as_deref(), Some(&block[..]));
    }
}

#[test]
fn duplicates_change_nothing() {
    let shape = BlockShape::single(10, 8).unwrap();
    let mut decoder = BlockDecoder::new(shape, DecodeOptions::default());
    assert_eq!(decoder.add(77, &[1; 8]), Ok(Taken::Stored));
    assert_eq!(decoder.add(77, &[2; 8]), Ok(Taken::Redundant));
    assert_eq!((decoder.received(), decoder.stats().redundant), (1, 1));
}

#[test]
fn refused_symbols_leave_the_decoder_unchanged() {
    let shape = BlockShape::single(10, 8).unwrap();
    let options = DecodeOptions {
        extra_symbols_max: 1,
        ..DecodeOptions::default()
    };
    let mut decoder = BlockDecoder::new(shape, options);
    let check = |decoder: &mut BlockDecoder, esi, len, expected| {
        let before = decoder.received();
        assert_eq!(decoder.add(esi, &vec![0; len]), Err(expected));
        assert_eq!(decoder.received(), before);
    };
    check(
        &mut decoder,
        ESI_MAX + 1,
        8,
        SymbolError::SymbolId { esi: ESI_MAX + 1 },
    );
    check(
        &mut decoder,
        0,
        7,
        SymbolError::Length {
            expected: 8,
            actual: 7,
        },
    );
    check(
        &mut decoder,
        0,
        9,
        SymbolError::Length {
            expected: 8,
            actual: 9,
        },
    );
    check(
        &mut decoder,
        9,
        0,
        SymbolError::Length {
            expected: 8,
            actual: 0,
        },
    );
    for esi in 100..111 {
        decoder.add(esi, &[0; 8]).unwrap();
    }
    check(&mut decoder, 111, 8, SymbolError::Full { limit: 11 });
}

#[test]
fn a_corrupt_symbol_among_redundant_ones_is_found_out() {
    let shape = BlockShape::single(30, 8).unwrap();
    let block = stream(3, 240);
    let encoder = encoder(shape, &block);
    for corrupt in 40..75 {
        let mut decoder = BlockDecoder::new(shape, DecodeOptions::default());
        for esi in 40..75 {
            let mut symbol = encoder.symbol(esi).unwrap();
            symbol[5] ^= u8::from(esi == corrupt);
            decoder.add(esi, &symbol).unwrap();
        }
        assert_eq!(
            decoder.decode(None),
            Err(DecodeError::Inconsistent),
            "symbol {corrupt}"
        );
        assert_eq!(decoder.into_block(), None);
    }
}

#[test]
fn a_failed_attempt_keeps_the_symbols() {
    let shape = BlockShape::single(10, 8).unwrap();
    let block = stream(4, 80);
    let encoder = encoder(shape, &block);
    let mut failures = 0;
    // Among these sets some have a singular matrix at +0.
    for first in 0..400 {
        let mut decoder = BlockDecoder::new(shape, DecodeOptions::default());
        for esi in 10 + first * 10..20 + first * 10 {
            decoder.add(esi, &encoder.symbol(esi).unwrap()).unwrap();
        }
        let mut next = 100_000;
        while decoder.decode(None).is_err() {
            failures += 1;
            decoder.add(next, &encoder.symbol(next).unwrap()).unwrap();
            next += 1;
        }
        assert_eq!(decoder.into_block().as_deref(), Some(&block[..]));
    }
    assert!(failures > 0, "no set of this test was undecodable");
}

#[test]
fn encoders_refuse_wrong_lengths_plans_and_identifiers() {
    let shape = BlockShape::single(20, 8).unwrap();
    let plan = Plan::encoding(*shape.code());
    let short = BlockEncoder::new(shape, &[0; 159][..], &plan).unwrap_err();
    assert_eq!(
        short,
        CodeError::Length {
            expected: 160,
            actual: 159
        }
    );
    let other = Plan::encoding(Code::new(21).unwrap());
    let error = BlockEncoder::new(shape, &[0; 160][..], &other).unwrap_err();
    assert_eq!(error, CodeError::Plan { expected: 20 });
    let decoding = Plan::solve(*shape.code(), 100..125, Default::default()).unwrap();
    let error = BlockEncoder::new(shape, &[0; 160][..], &decoding).unwrap_err();
    assert_eq!(error, CodeError::Plan { expected: 20 });
    let block = [0; 160];
    let encoder = encoder(shape, &block);
    assert_eq!(
        encoder.symbol(ESI_MAX + 1),
        Err(CodeError::SymbolId { actual: 1 << 24 })
    );
    assert!(encoder.symbols(ESI_MAX, 1).is_ok());
    assert_eq!(
        encoder.symbols(ESI_MAX, 2),
        Err(CodeError::SymbolId { actual: 1 << 24 })
    );
}
