use asupersync_raptorq::{
    BlockDecoder, BlockEncoder, BlockShape, DecodeOptions, Plan, ProofError, SolveOptions,
    Transcript, Verdict,
};

use crate::stream;

/// A block, the symbols received, and the transcript of decoding them.
fn attempt(k: u32, esis: &[u32], solve: SolveOptions) -> (Vec<u8>, Vec<Vec<u8>>, Transcript) {
    let shape = BlockShape::single(k, 12).unwrap();
    let block = stream(k, shape.len());
    let encoder = BlockEncoder::new(shape, &block[..], &Plan::encoding(*shape.code())).unwrap();
    let symbols: Vec<Vec<u8>> = esis
        .iter()
        .map(|&esi| encoder.symbol(esi).unwrap())
        .collect();
    let options = DecodeOptions {
        transcript: true,
        solve,
        ..DecodeOptions::default()
    };
    let mut decoder = BlockDecoder::new(shape, options);
    for (&esi, symbol) in esis.iter().zip(&symbols) {
        decoder.add(esi, symbol).unwrap();
    }
    let _ = decoder.decode(None);
    let transcript = decoder
        .transcript()
        .expect("a transcript was asked for")
        .clone();
    (block, symbols, transcript)
}

fn slices(symbols: &[Vec<u8>]) -> impl Iterator<Item = &[u8]> {
    symbols.iter().map(Vec::as_slice)
}

/// Ten symbols of `K = 10` that leave the block undetermined.
fn undecodable() -> Vec<u32> {
    let code = *BlockShape::single(10, 12).unwrap().code();
    let set = |first: u32| {
        (first..first + 10)
            .map(|i| 10 + i * 3)
            .collect::<Vec<u32>>()
    };
    let isis = |esis: &[u32]| {
        esis.iter()
            .map(|&e| code.internal_id(e))
            .collect::<Vec<u32>>()
    };
    (0..2000)
        .map(set)
        .find(|esis| Plan::solve(code, isis(esis).into_iter(), SolveOptions::default()).is_err())
        .expect("one set in 150 fails")
}

#[test]
fn a_recovery_is_confirmed_by_decisions_block_and_symbols() {
    let esis: Vec<u32> = (20..90).collect();
    let (block, symbols, transcript) = attempt(64, &esis, SolveOptions::default());
    assert!(matches!(
        transcript.verdict(),
        Verdict::Recovered { inactive: 1.., .. }
    ));
    assert_eq!(transcript.symbol_ids(), esis);
    assert_eq!(transcript.verify_decisions(), Ok(()));
    assert_eq!(transcript.verify_block(&block), Ok(()));
    assert_eq!(transcript.verify_symbols(slices(&symbols)), Ok(()));
}

#[test]
fn an_honest_failure_is_confirmed() {
    let esis = undecodable();
    let (block, symbols, transcript) = attempt(10, &esis, SolveOptions::default());
    assert!(matches!(
        transcript.verdict(),
        Verdict::Undecodable { missing: 1.. }
    ));
    assert_eq!(transcript.verify_decisions(), Ok(()));
    assert_eq!(transcript.verify_symbols(slices(&symbols)), Ok(()));
    assert_eq!(transcript.verify_block(&block), Err(ProofError::NoRecovery));
}

#[test]
fn a_refusal_to_work_is_confirmed() {
    let options = SolveOptions {
        inactive_max: 0,
        policy: None,
    };
    let esis: Vec<u32> = (500..600).collect();
    let (_, symbols, transcript) = attempt(100, &esis, options);
    assert_eq!(transcript.verdict(), &Verdict::TooDense);
    assert_eq!(transcript.verify_decisions(), Ok(()));
    assert_eq!(transcript.verify_symbols(slices(&symbols)), Ok(()));
}

#[test]
fn source_symbols_alone_are_confirmed_without_elimination() {
    let esis: Vec<u32> = (0..10).collect();
    let (block, symbols, transcript) = attempt(10, &esis, SolveOptions::default());
    assert_eq!(transcript.verify_decisions(), Ok(()));
    assert_eq!(transcript.verify_block(&block), Ok(()));
    assert_eq!(transcript.verify_symbols(slices(&symbols)), Ok(()));
}

#[test]
fn other_symbols_and_blocks_are_not_confirmed() {
    let esis: Vec<u32> = (20..90).collect();
    let (mut block, mut symbols, transcript) = attempt(64, &esis, SolveOptions::default());
    symbols[3][0] ^= 1;
    assert_eq!(
        transcript.verify_symbols(slices(&symbols)),
        Err(ProofError::Digest)
    );
    assert_eq!(
        transcript.verify_symbols(slices(&symbols[1..])),
        Err(ProofError::Digest)
    );
    block[0] ^= 1;
    assert_eq!(transcript.verify_block(&block), Err(ProofError::Digest));
}

#[test]
fn a_transcript_with_any_octet_changed_is_not_confirmed() {
    for esis in [(20..90).collect::<Vec<u32>>(), undecodable()] {
        let k = if esis.len() == 10 { 10 } else { 64 };
        let (_, symbols, transcript) = attempt(k, &esis, SolveOptions::default());
        let bytes = transcript.to_bytes();
        assert_eq!(Transcript::from_bytes(&bytes), Ok(transcript));
        for at in 0..bytes.len() {
            // The bound on work (octets 7 to 10) changes no verdict unless it is met.
            if (7..11).contains(&at) {
                continue;
            }
            let mut changed = bytes.clone();
            changed[at] ^= 0x55;
            let outcome = Transcript::from_bytes(&changed)
                .and_then(|changed| changed.verify_symbols(slices(&symbols)));
            assert!(outcome.is_err(), "octet {at} of {}", bytes.len());
        }
    }
}

#[test]
fn truncated_transcripts_are_malformed() {
    let (_, _, transcript) = attempt(10, &(30..41).collect::<Vec<u32>>(), SolveOptions::default());
    let bytes = transcript.to_bytes();
    for len in 0..bytes.len() {
        let outcome = Transcript::from_bytes(&bytes[..len]);
        assert!(
            matches!(outcome, Err(ProofError::Malformed { .. })),
            "{len} octets"
        );
    }
}

#[test]
fn a_transcript_that_demands_too_much_work_is_refused() {
    let code = *BlockShape::single(8000, 12).unwrap().code();
    let esis: Vec<u32> = (8000..1 << 24)
        .filter(|&esi| code.degree(code.internal_id(esi)) >= 20)
        .take(8010)
        .collect();
    let solve = SolveOptions {
        inactive_max: u32::MAX,
        policy: None,
    };
    let (block, symbols, transcript) = attempt(8000, &esis, solve);
    let limit = SolveOptions::default().inactive_max;
    assert!(matches!(transcript.verdict(), Verdict::Recovered { .. }));
    assert_eq!(
        transcript.verify_decisions(),
        Err(ProofError::TooDense { limit })
    );
    assert_eq!(
        transcript.verify_symbols(slices(&symbols)),
        Err(ProofError::TooDense { limit })
    );
    // Encoding anew is cheap whatever the symbols, so this check still serves.
    assert_eq!(transcript.verify_block(&block), Ok(()));
}
