//! The printed tables, as far as they show from outside, and the derivation of parameters.

use asupersync_raptorq::{Code, Derivation, Oti};

use crate::data::{self, DataError};
use crate::{Context, Tally};

/// Every row of Table 2; the other tables show through every vector.
pub(crate) fn tables(context: &Context) -> Result<Tally, DataError> {
    let mut tally = Tally::default();
    let mut previous = 0;
    for row in data::rows(&context.data, "systematic_indices.csv")? {
        let extended: u32 = row.number("K_prime")?;
        let (ldpc, hdpc): (u32, u32) = (row.number("S")?, row.number("H")?);
        // Both ends of the range of K that this row serves.
        for k in [previous + 1, extended] {
            let held = Code::new(k).is_ok_and(|code| {
                code.extended_symbols() == extended
                    && code.ldpc_symbols() == ldpc
                    && code.hdpc_symbols() == hdpc
                    && code.intermediate_symbols() == extended + ldpc + hdpc
            });
            tally.case(held, || format!("K = {k} should have K' = {extended}"));
        }
        previous = extended;
    }
    tally.case(Code::new(previous + 1).is_err(), || {
        format!("K = {} is refused", previous + 1)
    });
    Ok(tally)
}

/// Every derivation of Section 4.3, and its 12 octets.
pub(crate) fn parameters(context: &Context) -> Result<Tally, DataError> {
    let mut tally = Tally::default();
    for row in data::rows(&context.data, "oti.csv")? {
        let from = Derivation {
            transfer_length: row.number("F")?,
            payload_size: row.number("P_prime")?,
            memory_bytes: row.number("WS")?,
            alignment: row.number("Al")?,
            sub_symbol_units: row.number("SS")?,
        };
        let expected = row.octets("oti_hex")?;
        let oti = Oti::derive(from);
        let is_same = oti.is_ok_and(|oti| {
            oti.to_bytes().as_slice() == expected && Oti::from_bytes(oti.to_bytes()) == Ok(oti)
        });
        tally.case(is_same, || format!("{from:?} gave {oti:?}"));
        let symbols: u64 = row.number("Kt")?;
        tally.case(oti.is_ok_and(|oti| oti.symbols() == symbols), || {
            format!("{from:?}: Kt")
        });
    }
    // The RFC's formula leaves 8 bits here; a truncated Z would be 22.
    let from = Derivation {
        transfer_length: 20_000_000_000,
        payload_size: 1280,
        memory_bytes: 10_485_760,
        alignment: 8,
        sub_symbol_units: 8,
    };
    tally.case(Oti::derive(from).is_err(), || {
        "Z = 278 is refused".to_owned()
    });
    Ok(tally)
}
