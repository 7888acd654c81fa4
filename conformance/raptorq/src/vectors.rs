//! Symbols, objects and decode sets made by independent implementations.

use std::sync::Arc;

use asupersync_raptorq::{
    BlockDecoder, BlockEncoder, BlockShape, Code, DecodeError, DecodeOptions, ObjectDecoder,
    ObjectEncoder, ObjectOptions, Oti, PayloadId, PlanCache,
};

use crate::data::{self, DataError, Row};
use crate::{Context, Tally};

const PLAN_BYTES: usize = 64 << 20;

/// Whether a symbol has the row's digest, and its octets where the row prints them.
fn is_symbol(row: &Row, symbol: &[u8]) -> Result<bool, DataError> {
    let printed = row.octets("symbol_hex")?;
    let is_digest = data::sha256(symbol) == row.octets("symbol_sha256")?;
    Ok(is_digest && (printed.is_empty() || printed == symbol))
}

/// Every symbol of `vectors.csv`, then each block decoded from repair symbols alone.
pub(crate) fn blocks(context: &Context) -> Result<Tally, DataError> {
    let mut tally = Tally::default();
    let plans = PlanCache::new(PLAN_BYTES);
    let vectors = data::rows(&context.data, "vectors.csv")?;
    for block in data::rows(&context.data, "blocks.csv")? {
        let (k, t): (u32, u16) = (block.number("K")?, block.number("T")?);
        let name = format!("K = {k}, T = {t}");
        let bytes = data::source(k as usize * t as usize);
        let is_source = data::sha256(&bytes) == block.octets("block_sha256")?;
        tally.case(is_source, || format!("{name}: source data"));
        let oti = block
            .octets("oti_hex")?
            .first_chunk()
            .map(|bytes| Oti::from_bytes(*bytes));
        let Some(shape) = oti.and_then(|oti| BlockShape::of(&oti.ok()?, 0)) else {
            tally.case(false, || format!("{name}: OTI"));
            continue;
        };
        let plan = plans.encoding(*shape.code());
        let Ok(encoder) = BlockEncoder::new(shape, &bytes[..], &plan) else {
            tally.case(false, || format!("{name}: encoder"));
            continue;
        };
        for row in &vectors {
            if (row.number::<u32>("K")?, row.number::<u16>("T")?) != (k, t) {
                continue;
            }
            let esi: u32 = row.number("esi")?;
            let symbol = encoder.symbol(esi).unwrap_or_default();
            tally.case(is_symbol(row, &symbol)?, || format!("{name}: symbol {esi}"));
            let isi: u32 = row.number("isi")?;
            tally.case(shape.code().internal_id(esi) == isi, || {
                format!("{name}: ISI of {esi}")
            });
            let id = PayloadId::new(0, esi).map(PayloadId::to_bytes);
            let expected = row.octets("payload_id_hex")?;
            tally.case(id.is_ok_and(|id| id == *expected), || {
                format!("{name}: id of {esi}")
            });
        }
        tally.case(recovers(&encoder, &bytes), || {
            format!("{name}: decoding repair symbols")
        });
    }
    Ok(tally)
}

/// Whether repair symbols alone give the block back.
fn recovers(encoder: &BlockEncoder<'_>, block: &[u8]) -> bool {
    let shape = *encoder.shape();
    let mut decoder = BlockDecoder::new(shape, DecodeOptions::default());
    for esi in shape.symbols()..shape.symbols() * 2 + 8 {
        let Ok(symbol) = encoder.symbol(esi) else {
            return false;
        };
        if decoder.add(esi, &symbol).is_err() {
            return false;
        }
        if decoder.may_decode() && decoder.decode(None).is_ok() {
            return decoder.into_block().as_deref() == Some(block);
        }
    }
    false
}

/// Every packet of `objects.csv`, and each object decoded from 80 % of its source and repair packets.
pub(crate) fn objects(context: &Context) -> Result<Tally, DataError> {
    let mut tally = Tally::default();
    let plans = Arc::new(PlanCache::new(PLAN_BYTES));
    let rows = data::rows(&context.data, "objects.csv")?;
    let mut previous = Vec::new();
    for row in &rows {
        let len: usize = row.number("F")?;
        let object = data::source(len);
        let oti_bytes = row.octets("oti_hex")?;
        let oti = oti_bytes
            .first_chunk()
            .and_then(|bytes| Oti::from_bytes(*bytes).ok());
        let (block, esi): (u8, u32) = (row.number("sbn")?, row.number("esi")?);
        let name = format!("F = {len}, OTI {}, block {block}", row.text("oti_hex")?);
        let Some(oti) = oti else {
            tally.case(false, || format!("{name}: OTI"));
            continue;
        };
        let encoder = ObjectEncoder::new(oti, &object, Arc::clone(&plans));
        let encoder = encoder.and_then(|encoder| encoder.block(block));
        let Ok(Some(encoder)) = encoder else {
            tally.case(false, || format!("{name}: encoder"));
            continue;
        };
        let packet = encoder.packet(esi).unwrap_or_default();
        let is_same = packet.len() > 4
            && packet[..4] == row.octets("payload_id_hex")?
            && is_symbol(row, &packet[4..])?
            && encoder.shape().symbols() == row.number::<u32>("K")?;
        tally.case(is_same, || format!("{name}: packet {esi}"));
        if previous != oti_bytes {
            let is_source = data::sha256(&object) == row.octets("object_sha256")?;
            tally.case(is_source, || format!("{name}: source data"));
            tally.case(recovers_object(oti, &object, &plans), || {
                format!("{name}: decoding")
            });
            previous = oti_bytes;
        }
    }
    Ok(tally)
}

fn recovers_object(oti: Oti, object: &[u8], plans: &Arc<PlanCache>) -> bool {
    let Ok(encoder) = ObjectEncoder::new(oti, object, Arc::clone(plans)) else {
        return false;
    };
    let mut decoder = ObjectDecoder::new(oti, Arc::clone(plans), ObjectOptions::default());
    let mut recovered = vec![0; object.len()];
    for block in 0..oti.fields().source_blocks {
        let Ok(Some(encoder)) = encoder.block(block) else {
            return false;
        };
        let symbols = encoder.shape().symbols();
        for esi in (0..symbols)
            .filter(|esi| esi % 5 != 2)
            .chain(symbols..symbols * 2 + 8)
        {
            let packet = encoder.packet(esi);
            if !packet.is_ok_and(|packet| decoder.push(&packet).is_ok()) {
                return false;
            }
        }
        let Some(block) = decoder.take_block() else {
            return false;
        };
        recovered[block.offset as usize..][..block.bytes.len()].copy_from_slice(&block.bytes);
    }
    decoder.is_finished() && recovered == object
}

/// Every set of received symbols: the verdict, and the octets where it is decodable.
pub(crate) fn decode_sets(context: &Context) -> Result<Tally, DataError> {
    let mut tally = Tally::default();
    let plans = PlanCache::new(PLAN_BYTES);
    for row in data::rows(&context.data, "decode_sets.csv")? {
        let set: u32 = row.number("set_id")?;
        let k: u32 = row.number("K")?;
        let expected = row.number::<u8>("decodable")? == 1;
        let Ok(shape) = BlockShape::single(k, 24) else {
            tally.case(false, || format!("set {set}: K = {k}"));
            continue;
        };
        let block = data::source(shape.len());
        let plan = plans.encoding(Code::clone(shape.code()));
        let encoder = BlockEncoder::new(shape, &block[..], &plan);
        let options = DecodeOptions {
            extra_symbols_max: 1000,
            ..DecodeOptions::default()
        };
        let mut decoder = BlockDecoder::new(shape, options);
        let mut is_fed = encoder.is_ok();
        for esi in row.text("esis")?.split(' ') {
            let esi = esi.parse().unwrap_or(u32::MAX);
            let symbol = encoder
                .as_ref()
                .ok()
                .and_then(|encoder| encoder.symbol(esi).ok());
            is_fed &= symbol.is_some_and(|symbol| decoder.add(esi, &symbol).is_ok());
        }
        let verdict = decoder.decode(None);
        let held = match verdict {
            Ok(()) => expected && decoder.into_block() == Some(block),
            Err(DecodeError::Unsolved { .. }) => !expected,
            Err(_) => false,
        };
        tally.case(is_fed && held, || {
            format!("set {set}: expected {expected}, {verdict:?}")
        });
    }
    Ok(tally)
}
