use std::sync::Arc;

use asupersync_raptorq::{
    BlockDecoder, BlockEncoder, BlockShape, CodeError, DecodeOptions, ObjectDecoder, ObjectEncoder,
    ObjectError, ObjectOptions, Oti, OtiFields, PayloadId, Plan, PlanCache, Progress, SolveOptions,
    StreamEncoder, StreamError, SymbolError,
};

use crate::stream;

fn oti(transfer_length: u64, symbol_size: u16, source_blocks: u8, sub_blocks: u16) -> Oti {
    Oti::new(OtiFields {
        transfer_length,
        symbol_size,
        source_blocks,
        sub_blocks,
        alignment: 2,
    })
    .unwrap()
}

fn plans() -> Arc<PlanCache> {
    Arc::new(PlanCache::new(1 << 22))
}

#[test]
fn objects_of_every_shape_survive_loss() {
    for (len, symbol, blocks, parts) in [
        (1, 2, 1, 1),
        (999, 10, 3, 5),
        (5000, 50, 7, 1),
        (70_001, 64, 9, 8),
        (100, 100, 1, 50),
    ] {
        let oti = oti(len, symbol, blocks, parts);
        let object = stream(9, len as usize);
        let encoder = ObjectEncoder::new(oti, &object, plans()).unwrap();
        let mut decoder = ObjectDecoder::new(oti, plans(), ObjectOptions::default());
        let mut recovered = vec![0; object.len()];
        for number in (0..blocks).rev() {
            let block = encoder.block(number).unwrap().unwrap();
            let k = block.shape().symbols();
            for esi in (0..2 * k + 5).filter(|esi| esi % 3 != 0) {
                decoder.push(&block.packet(esi).unwrap()).unwrap();
            }
        }
        while let Some(block) = decoder.take_block() {
            recovered[block.offset as usize..][..block.bytes.len()].copy_from_slice(&block.bytes);
        }
        assert!(decoder.is_finished());
        assert_eq!(decoder.memory_bytes(), 0);
        assert_eq!(recovered, object, "{len} octets");
    }
}

#[test]
fn a_stream_encodes_as_the_whole_object_does() {
    let oti = oti(3001, 20, 4, 3);
    let object = stream(2, 3001);
    let whole = ObjectEncoder::new(oti, &object, plans()).unwrap();
    let mut streamed = StreamEncoder::new(oti, &object[..], plans());
    for number in 0..4 {
        let one = whole.block(number).unwrap().unwrap();
        let two = streamed.next_block().unwrap().unwrap();
        for esi in [0, 1, 37, 38, 500] {
            assert_eq!(one.packet(esi), two.packet(esi));
        }
    }
    assert!(streamed.next_block().unwrap().is_none());
    assert!(whole.block(4).unwrap().is_none());
}

#[test]
fn a_stream_that_ends_early_is_an_error_of_its_block() {
    let object = stream(2, 2000);
    let mut streamed = StreamEncoder::new(oti(3001, 20, 4, 3), &object[..], plans());
    assert!(streamed.next_block().is_ok());
    assert!(streamed.next_block().is_ok());
    assert!(matches!(
        streamed.next_block(),
        Err(StreamError::Read { block: 2, .. })
    ));
}

#[test]
fn an_object_of_another_length_is_refused() {
    let error = ObjectEncoder::new(oti(100, 20, 1, 1), &[0; 99], plans()).unwrap_err();
    assert_eq!(
        error,
        CodeError::Length {
            expected: 100,
            actual: 99
        }
    );
}

#[test]
fn packets_may_hold_many_symbols_and_a_short_last_one() {
    let oti = oti(95, 10, 2, 1);
    let object = stream(5, 95);
    let encoder = ObjectEncoder::new(oti, &object, plans()).unwrap();
    let mut decoder = ObjectDecoder::new(oti, plans(), ObjectOptions::default());
    for number in 0..2 {
        let block = encoder.block(number).unwrap().unwrap();
        let mut packet = PayloadId::new(number, 0).unwrap().to_bytes().to_vec();
        packet.extend(&block.symbols(0, 5).unwrap()[..block.shape().len()]);
        assert_eq!(decoder.push(&packet), Ok(Progress::Recovered(number)));
        assert_eq!(decoder.push(&packet), Ok(Progress::Redundant));
    }
    let blocks: Vec<u8> = std::iter::from_fn(|| decoder.take_block())
        .flat_map(|b| b.bytes)
        .collect();
    assert_eq!(blocks, object);
}

#[test]
fn memory_is_refused_before_it_is_taken() {
    let oti = oti(1 << 20, 64, 8, 1);
    let object = stream(6, 1 << 20);
    let encoder = ObjectEncoder::new(oti, &object, plans()).unwrap();
    let shape = *encoder.block(0).unwrap().unwrap().shape();
    let options = DecodeOptions::default();
    let stored = BlockDecoder::stored_bytes_max(&shape, &options);
    let limit = 3 * stored + BlockDecoder::solving_bytes_max(&shape, &options);
    let options = ObjectOptions {
        memory_bytes_max: limit,
        block: options,
    };
    let mut decoder = ObjectDecoder::new(oti, plans(), options);
    for number in 0..8 {
        let packet = encoder.block(number).unwrap().unwrap().packet(3).unwrap();
        let expected = if number < 3 {
            Ok(Progress::Collecting)
        } else {
            Err(ObjectError::Memory {
                block: number,
                needed: limit + stored,
                limit,
            })
        };
        assert_eq!(decoder.push(&packet), expected);
        assert!(decoder.memory_bytes() <= limit);
    }
    // A block that is recovered and taken makes room for another.
    let block = encoder.block(1).unwrap().unwrap();
    for esi in 0..block.shape().symbols() {
        decoder.push(&block.packet(esi).unwrap()).unwrap();
    }
    assert!(decoder.take_block().is_some());
    let packet = encoder.block(7).unwrap().unwrap().packet(3).unwrap();
    assert_eq!(decoder.push(&packet), Ok(Progress::Collecting));
}

#[test]
fn a_corrupt_block_starts_afresh() {
    let oti = oti(600, 10, 1, 1);
    let object = stream(7, 600);
    let encoder = ObjectEncoder::new(oti, &object, plans()).unwrap();
    let block = encoder.block(0).unwrap().unwrap();
    let mut decoder = ObjectDecoder::new(oti, plans(), ObjectOptions::default());
    let mut forged = PayloadId::new(0, 70).unwrap().to_bytes().to_vec();
    for esi in 70..140 {
        forged.extend(block.symbol(esi).unwrap());
    }
    forged[100] ^= 1;
    assert!(matches!(
        decoder.push(&forged),
        Err(ObjectError::Corrupt { block: 0, .. })
    ));
    assert_eq!(decoder.memory_bytes(), 0);
    for esi in 70..134 {
        decoder.push(&block.packet(esi).unwrap()).unwrap();
    }
    assert_eq!(decoder.take_block().map(|block| block.bytes), Some(object));
}

#[test]
fn blocks_are_encoded_and_decoded_on_threads_of_the_caller() {
    let oti = oti(40_000, 40, 4, 2);
    let object = stream(8, 40_000);
    let plans = plans();
    let recover = |number| {
        let shape = BlockShape::of(&oti, number).unwrap();
        let part = &object[shape.offset() as usize..][..shape.len()];
        let encoder = BlockEncoder::new(shape, part, &plans.encoding(*shape.code())).unwrap();
        let mut decoder = BlockDecoder::new(shape, DecodeOptions::default());
        for esi in (0..)
            .filter(|esi| esi % 4 != 1)
            .take(shape.symbols() as usize + 3)
        {
            decoder.add(esi, &encoder.symbol(esi).unwrap()).unwrap();
        }
        decoder.decode(Some(&plans)).unwrap();
        decoder.into_block().unwrap() == part
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|number| scope.spawn(move || recover(number)))
            .collect();
        for thread in threads {
            assert!(thread.join().unwrap());
        }
    });
}

#[test]
fn a_plan_serves_every_k_of_its_extended_size() {
    let plan = Plan::encoding(*BlockShape::single(12, 4).unwrap().code());
    for k in [11, 12] {
        let shape = BlockShape::single(k, 4).unwrap();
        let block = stream(k, shape.len());
        let encoder = BlockEncoder::new(shape, &block[..], &plan).unwrap();
        let mut decoder = BlockDecoder::new(shape, DecodeOptions::default());
        for esi in 50..50 + k + 3 {
            decoder.add(esi, &encoder.symbol(esi).unwrap()).unwrap();
        }
        decoder.decode(None).unwrap();
        assert_eq!(decoder.into_block(), Some(block));
    }
}

#[test]
fn a_packet_that_overfills_its_block_still_recovers_it() {
    let oti = oti(600, 10, 1, 1);
    let object = stream(7, 600);
    let encoder = ObjectEncoder::new(oti, &object, plans()).unwrap();
    let block = encoder.block(0).unwrap().unwrap();
    let block_options = DecodeOptions {
        extra_symbols_max: 3,
        ..DecodeOptions::default()
    };
    let options = ObjectOptions {
        block: block_options,
        ..ObjectOptions::default()
    };
    let mut decoder = ObjectDecoder::new(oti, plans(), options);
    let mut packet = PayloadId::new(0, 70).unwrap().to_bytes().to_vec();
    packet.extend(block.symbols(70, 100).unwrap());
    assert_eq!(decoder.push(&packet), Ok(Progress::Recovered(0)));
    assert_eq!(decoder.take_block().map(|block| block.bytes), Some(object));
}

#[test]
fn a_full_block_that_is_undecodable_says_so() {
    let oti = oti(100, 10, 1, 1);
    let object = stream(7, 100);
    let encoder = ObjectEncoder::new(oti, &object, plans()).unwrap();
    let block = encoder.block(0).unwrap().unwrap();
    let solve = SolveOptions {
        inactive_max: 0,
        policy: None,
    };
    let block_options = DecodeOptions {
        extra_symbols_max: 0,
        solve,
        transcript: false,
    };
    let options = ObjectOptions {
        block: block_options,
        ..ObjectOptions::default()
    };
    let mut decoder = ObjectDecoder::new(oti, plans(), options);
    let mut packet = PayloadId::new(0, 70).unwrap().to_bytes().to_vec();
    packet.extend(block.symbols(70, 11).unwrap());
    let full = ObjectError::Symbol(SymbolError::Full { limit: 10 });
    assert_eq!(decoder.push(&packet), Err(full));
    assert_eq!(decoder.push(&block.packet(90).unwrap()), Err(full));
}
