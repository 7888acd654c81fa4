//! Random cases beside the `raptorq` crate: equal packets, and each decodes the other's.

use std::sync::Arc;

use asupersync_raptorq::{ObjectDecoder, ObjectEncoder, ObjectOptions, Oti, OtiFields, PlanCache};
use raptorq::{Decoder, EncodingPacket, ObjectTransmissionInformation, SourceBlockEncoder};

use crate::data::{DataError, Random};
use crate::{Context, Tally};

const CASES: u32 = 10_000;
/// The share that runs with `--quick`.
const SHORT: u32 = 10;

/// One random object and its loss.
#[derive(Debug)]
struct Case {
    fields: OtiFields,
    loss_percent: u32,
    seed: u64,
}

impl Case {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let alignment = [1, 2, 4, 8][random.below(4) as usize];
        let units = 1 + random.below(24);
        let symbol_size = (units * alignment) as u16;
        // Mostly small blocks, sometimes large ones.
        let bound = [12, 60, 300, 1500][(random.below(10) as usize).saturating_sub(6)];
        let symbols = 1 + random.below(bound);
        let padding = random.below(u32::from(symbol_size));
        Self {
            fields: OtiFields {
                transfer_length: u64::from(symbols * u32::from(symbol_size) - padding),
                symbol_size,
                source_blocks: 1 + random.below(symbols.min(3)) as u8,
                sub_blocks: 1 + random.below(units.min(4)) as u16,
                alignment: alignment as u8,
            },
            loss_percent: [0, 1, 10, 50, 100][random.below(5) as usize],
            seed,
        }
    }
}

/// Runs the cases.
pub(crate) fn cross(context: &Context) -> Result<Tally, DataError> {
    let mut tally = Tally::default();
    let plans = Arc::new(PlanCache::new(256 << 20));
    let count = if context.quick { CASES / SHORT } else { CASES };
    for number in 0..u64::from(count) {
        let case = Case::new(context.seed ^ (number << 20));
        let outcome = check(&case, &plans);
        tally.case(outcome.is_ok(), || {
            format!("{case:?}: {}", outcome.unwrap_or_default())
        });
    }
    Ok(tally)
}

/// Flips the result so that a failure carries its description.
fn check(case: &Case, plans: &Arc<PlanCache>) -> Result<String, String> {
    let mut random = Random(case.seed ^ 1);
    let fields = case.fields;
    let object: Vec<u8> = (0..fields.transfer_length)
        .map(|_| random.next() as u8)
        .collect();
    let oti = Oti::new(fields).map_err(|error| error.to_string())?;
    let ours = ObjectEncoder::new(oti, &object, Arc::clone(plans)).map_err(|e| e.to_string())?;
    let theirs_oti = ObjectTransmissionInformation::new(
        fields.transfer_length,
        fields.symbol_size,
        fields.source_blocks,
        fields.sub_blocks,
        fields.alignment,
    );
    if theirs_oti.serialize() != oti.to_bytes() {
        return Err("OTIs differ".to_owned());
    }
    let theirs = raptorq::Encoder::new(&object, theirs_oti);
    let mut their_decoder = Decoder::new(theirs_oti);
    let mut our_decoder = ObjectDecoder::new(oti, Arc::clone(plans), ObjectOptions::default());
    let mut their_object = None;
    let mut our_object = vec![0; object.len()];
    for (block, theirs) in (0..).zip(theirs.get_block_encoders()) {
        let ours = ours.block(block).map_err(|error| error.to_string())?;
        let ours = ours.ok_or("they have more blocks")?;
        let k = ours.shape().symbols();
        let shift = random.below(1 << 23);
        let source = theirs.source_packets();
        if source.len() != k as usize {
            return Err("block sizes differ".to_owned());
        }
        let source = source
            .into_iter()
            .filter(|_| random.below(100) >= case.loss_percent);
        let mut packets: Vec<EncodingPacket> = source.collect();
        // What they cannot decode at +0 they must decode with a few more.
        packets.extend(repairs(theirs, shift, k + 8));
        for packet in packets {
            let bytes = packet.serialize();
            let esi = packet.payload_id().encoding_symbol_id();
            if ours.packet(esi).ok().as_deref() != Some(&bytes[..]) {
                return Err(format!("packet {esi} of block {block} differs"));
            }
            if our_decoder.push(&bytes).is_err() {
                return Err(format!("packet {esi} of block {block} refused"));
            }
            if their_object.is_none() {
                let packet = ours.packet(esi).map_err(|error| error.to_string())?;
                their_object = their_decoder.decode(EncodingPacket::deserialize(&packet));
            }
        }
        let block = our_decoder.take_block().ok_or("we do not decode theirs")?;
        our_object[block.offset as usize..][..block.bytes.len()].copy_from_slice(&block.bytes);
    }
    if our_object != object {
        return Err("we decode another object".to_owned());
    }
    if their_object != Some(object) {
        return Err("they do not decode ours".to_owned());
    }
    Ok(String::new())
}

fn repairs(encoder: &SourceBlockEncoder, shift: u32, count: u32) -> Vec<EncodingPacket> {
    encoder.repair_packets(shift, count)
}
