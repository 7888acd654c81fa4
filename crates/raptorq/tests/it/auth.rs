use std::sync::Arc;

use asupersync_raptorq::{
    AuthError, ObjectDecoder, ObjectEncoder, ObjectError, ObjectOptions, Oti, OtiFields,
    PacketError, PlanCache, Progress, SymbolKey, TAG_BYTES,
};

use crate::stream;

fn oti(transfer_length: u64) -> Oti {
    Oti::new(OtiFields {
        transfer_length,
        symbol_size: 16,
        source_blocks: 2,
        sub_blocks: 1,
        alignment: 1,
    })
    .unwrap()
}

/// A sealed packet of symbols 3 and 4 of block 1.
fn sealed(key: &SymbolKey) -> (Oti, Vec<u8>) {
    let oti = oti(1000);
    let object = stream(1, 1000);
    let encoder = ObjectEncoder::new(oti, &object, Arc::new(PlanCache::new(1 << 20))).unwrap();
    let block = encoder.block(1).unwrap().unwrap();
    (oti, key.seal(&oti, &block, 3, 2).unwrap())
}

#[test]
fn every_flipped_bit_is_rejected_before_the_decoder() {
    let key = SymbolKey::new([1; 32]);
    let (oti, packet) = sealed(&key);
    let plans = Arc::new(PlanCache::new(1 << 20));
    let mut decoder = ObjectDecoder::new(oti, plans, ObjectOptions::default());
    for bit in 0..packet.len() * 8 {
        let mut forged = packet.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        assert!(decoder.push_sealed(&key, &forged).is_err(), "bit {bit}");
        assert_eq!(decoder.memory_bytes(), 0, "bit {bit} reached the decoder");
    }
    assert_eq!(decoder.push_sealed(&key, &packet), Ok(Progress::Collecting));
}

#[test]
fn tags_bind_the_key_the_object_and_the_place() {
    let key = SymbolKey::new([1; 32]);
    let (oti_one, packet) = sealed(&key);
    let forged = Err(AuthError::Forged { block: 1, esi: 3 });
    assert_eq!(SymbolKey::new([2; 32]).open(&oti_one, &packet), forged);
    assert_eq!(key.open(&oti(999), &packet), forged);
    // The second record in the first place.
    let record = 16 + TAG_BYTES;
    let mut swapped = packet[..4].to_vec();
    swapped.extend(&packet[4 + record..]);
    assert_eq!(key.open(&oti_one, &swapped), forged);
}

#[test]
fn malformed_sealed_packets_have_their_errors() {
    let key = SymbolKey::new([1; 32]);
    let (oti, packet) = sealed(&key);
    let error = |actual| AuthError::Packet(PacketError::PartialSymbol { actual, symbol: 32 });
    assert_eq!(key.open(&oti, &packet[..packet.len() - 1]), Err(error(63)));
    assert_eq!(key.open(&oti, &packet[..4]), Err(error(0)));
    assert_eq!(
        key.open(&oti, &[]),
        Err(PacketError::NoPayloadId { actual: 0 }.into())
    );
    let mut decoder =
        ObjectDecoder::new(oti, Arc::new(PlanCache::new(0)), ObjectOptions::default());
    let got = decoder.push_sealed(&key, &[9, 0, 0, 0]);
    let expected = PacketError::UnknownBlock {
        block: 9,
        blocks: 2,
    };
    assert_eq!(got, Err(ObjectError::Auth(AuthError::Packet(expected))));
}

#[test]
fn a_key_does_not_show_itself() {
    assert_eq!(
        format!("{:?}", SymbolKey::new([7; 32])),
        "SymbolKey(secret)"
    );
}
