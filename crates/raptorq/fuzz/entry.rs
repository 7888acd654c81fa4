//! What the fuzz targets run: any octets, no panic, and the promises kept.
//!
//! The file is compiled twice: by the fuzz targets, and by the integration tests, which feed it from
//! proptest on stable Rust.

use std::sync::Arc;

use asupersync_raptorq::{
    BlockDecoder, BlockEncoder, BlockShape, DecodeError, DecodeOptions, Derivation, ObjectDecoder,
    ObjectOptions, Oti, OtiFields, Packet, Plan, PlanCache, SolveOptions, SymbolKey, Transcript,
};

/// Octets, taken from the front; zeros when they have run out.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        let count = self.0.len().min(N);
        out[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        out
    }

    fn number(&mut self) -> u32 {
        u32::from_be_bytes(self.take())
    }
}

/// Transmission information and derivations: consistent or refused.
pub(crate) fn oti(octets: &[u8]) {
    let mut input = Input(octets);
    if let Ok(oti) = Oti::from_bytes(input.take()) {
        assert_eq!(Oti::from_bytes(oti.to_bytes()), Ok(oti));
        let blocks = oti.fields().source_blocks;
        let mut end = 0;
        for number in 0..blocks {
            let shape = BlockShape::of(&oti, number).expect("the object has this block");
            assert_eq!(shape.offset(), end);
            assert!(shape.len() <= shape.padded_len());
            assert!(shape.padded_len() - shape.len() < shape.symbol_size());
            end += shape.len() as u64;
        }
        assert_eq!(end, oti.fields().transfer_length);
        assert_eq!(BlockShape::of(&oti, blocks), None);
    }
    let [f0, f1, f2, f3, f4, f5] = input.take();
    let derivation = Derivation {
        transfer_length: u64::from_be_bytes([0, 0, f0, f1, f2, f3, f4, f5]),
        payload_size: u16::from_be_bytes(input.take()),
        memory_bytes: u64::from_be_bytes(input.take()),
        alignment: input.take::<1>()[0],
        sub_symbol_units: input.take::<1>()[0],
    };
    if let Ok(oti) = Oti::derive(derivation) {
        assert_eq!(oti.fields().transfer_length, derivation.transfer_length);
        assert!(oti.fields().symbol_size <= derivation.payload_size);
    }
}

/// Packets of a small object, plain and sealed: memory stays bounded.
pub(crate) fn packets(octets: &[u8]) {
    const MEMORY_BYTES_MAX: u64 = 1 << 21;
    let mut input = Input(octets);
    let [size, units, blocks, parts, al] = input.take();
    let alignment = 1 + al % 4;
    let fields = OtiFields {
        transfer_length: 1 + u64::from(u16::from_be_bytes(input.take())),
        symbol_size: u16::from(alignment) * (1 + u16::from(units % 16)),
        source_blocks: 1 + blocks % 8,
        sub_blocks: 1 + u16::from(parts % 4),
        alignment,
    };
    let Ok(oti) = Oti::new(fields) else { return };
    let options = ObjectOptions {
        memory_bytes_max: MEMORY_BYTES_MAX,
        block: DecodeOptions {
            extra_symbols_max: 8,
            solve: SolveOptions {
                inactive_max: 512,
                policy: None,
            },
            transcript: false,
        },
    };
    let mut decoder = ObjectDecoder::new(oti, Arc::new(PlanCache::new(1 << 16)), options);
    let key = SymbolKey::new([size; 32]);
    while !input.0.is_empty() {
        let len =
            (4 + usize::from(size) * usize::from(input.take::<1>()[0] % 4)).min(input.0.len());
        let (packet, rest) = input.0.split_at(len);
        input.0 = rest;
        if let Ok(packet) = Packet::parse(&oti, packet) {
            assert!(
                packet
                    .symbols()
                    .all(|(id, _)| id.block() == packet.id().block())
            );
        }
        let _ = decoder.push(packet);
        assert!(
            decoder.push_sealed(&key, packet).is_err(),
            "a tag was forged"
        );
        assert!(decoder.memory_bytes() <= MEMORY_BYTES_MAX);
        let _ = decoder.take_block();
    }
}

/// Any symbols of a real block, some corrupt: recovered right, or an error.
pub(crate) fn symbols(octets: &[u8]) {
    let mut input = Input(octets);
    let k = 1 + input.number() % 48;
    let shape = BlockShape::single(k, 4).expect("a small block has a code");
    let block: Vec<u8> = (0..shape.len()).map(|i| (i * 29 + 7) as u8).collect();
    let plan = Plan::encoding(*shape.code());
    let encoder = BlockEncoder::new(shape, &block[..], &plan).expect("the block has its length");
    let options = DecodeOptions {
        extra_symbols_max: 16,
        transcript: true,
        ..Default::default()
    };
    let mut decoder = BlockDecoder::new(shape, options);
    let mut is_corrupt = false;
    while !input.0.is_empty() {
        let word = input.number();
        // Few identifiers, so that duplicates and undecodable sets are frequent.
        let esi = if word & 1 == 0 {
            (word >> 8) % 64
        } else {
            word >> 8
        };
        let mut symbol = encoder.symbol(esi).expect("the identifier has 24 bits");
        if word >> 1 & 0x7F == 0 {
            symbol[0] ^= 1;
            is_corrupt |= decoder.add(esi, &symbol).is_ok();
        } else {
            let _ = decoder.add(esi, &symbol);
        }
    }
    let verdict = decoder.decode(None);
    let transcript = decoder.transcript().cloned();
    if let Some(transcript) = &transcript {
        assert_eq!(transcript.verify_decisions(), Ok(()));
        assert_eq!(
            Transcript::from_bytes(&transcript.to_bytes()).as_ref(),
            Ok(transcript)
        );
    }
    if verdict.is_ok() && !is_corrupt {
        let transcript = transcript.expect("the options ask for one");
        assert_eq!(transcript.verify_block(&block), Ok(()));
        assert_eq!(decoder.into_block(), Some(block));
    } else if !is_corrupt {
        assert!(matches!(verdict, Err(DecodeError::Unsolved { .. })));
    }
}

/// Transcripts: read back as written, or refused.
pub(crate) fn transcript(octets: &[u8]) {
    if let Ok(transcript) = Transcript::from_bytes(octets) {
        let again = Transcript::from_bytes(&transcript.to_bytes());
        assert_eq!(again.as_ref(), Ok(&transcript));
        if transcript.symbol_ids().len() < 64 {
            let _ = transcript.verify_decisions();
        }
    }
}
