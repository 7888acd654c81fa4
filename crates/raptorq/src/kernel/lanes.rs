//! The loops, written once for every vector width.
//!
//! A module that names `V`, `BYTES`, `Factor` and the functions `load`, `store`, `zero`, `xor`,
//! `factor`, `mul` and `double`, invokes [`vector_loops!`] with the attributes of those functions and
//! the widths, in vectors, of the widest inner blocks.
//! Blocks keep their sums in registers: each output octet is stored once.

/// Expands to `gather`, `gather_within`, `combine` and `fold`.
macro_rules! vector_loops {
    ([$($attribute:meta),*], $wide:literal, $mid:literal) => {
        use crate::kernel::{HEIGHTS_MAX, Strip};
        use crate::kernel::word::{double_word, word};
        use crate::octet;

        $(#[$attribute])*
        #[inline]
        fn gather_block<const N: usize>(
            at: usize,
            seed: &[u8],
            base: &[u8],
            slots: &[u16],
            strip: Strip,
        ) -> [V; N] {
            let mut sums = [zero(); N];
            if !seed.is_empty() {
                let chunks = seed[at..at + N * BYTES].as_chunks::<BYTES>().0;
                for (sum, chunk) in sums.iter_mut().zip(chunks) {
                    *sum = load(chunk);
                }
            }
            for &slot in slots {
                let from = slot as usize * strip.stride + strip.offset + at;
                let chunks = base[from..from + N * BYTES].as_chunks::<BYTES>().0;
                for (sum, chunk) in sums.iter_mut().zip(chunks) {
                    *sum = xor(*sum, load(chunk));
                }
            }
            sums
        }

        /// Eight octets at once, for what fills no vector.
        #[inline]
        fn gather_word(
            at: usize,
            seed: &[u8],
            base: &[u8],
            slots: &[u16],
            strip: Strip,
        ) -> u64 {
            let seed = if seed.is_empty() { 0 } else { word(seed, at) };
            slots.iter().fold(seed, |sum, &slot| {
                sum ^ word(base, slot as usize * strip.stride + strip.offset + at)
            })
        }

        fn gather_octet(
            at: usize,
            seed: &[u8],
            base: &[u8],
            slots: &[u16],
            strip: Strip,
        ) -> u8 {
            let seed = if seed.is_empty() { 0 } else { seed[at] };
            slots.iter().fold(seed, |sum, &slot| {
                sum ^ base[slot as usize * strip.stride + strip.offset + at]
            })
        }

        $(#[$attribute])*
        #[inline]
        fn store_block<const N: usize>(out: &mut [u8], sums: [V; N]) {
            let chunks = out[..N * BYTES].as_chunks_mut::<BYTES>().0;
            for (chunk, sum) in chunks.iter_mut().zip(sums) {
                store(chunk, sum);
            }
        }

        $(#[$attribute])*
        pub(in crate::kernel) fn gather(
            out: &mut [u8],
            seed: &[u8],
            base: &[u8],
            slots: &[u16],
            strip: Strip,
        ) {
            let len = out.len();
            let has_tail = len > BYTES && !len.is_multiple_of(BYTES);
            let mut at = 0;
            while at + $wide * BYTES <= len {
                store_block(&mut out[at..], gather_block::<$wide>(at, seed, base, slots, strip));
                at += $wide * BYTES;
            }
            while at + $mid * BYTES <= len {
                store_block(&mut out[at..], gather_block::<$mid>(at, seed, base, slots, strip));
                at += $mid * BYTES;
            }
            while at + 4 * BYTES <= len {
                store_block(&mut out[at..], gather_block::<4>(at, seed, base, slots, strip));
                at += 4 * BYTES;
            }
            while at + BYTES <= len {
                store_block(&mut out[at..], gather_block::<1>(at, seed, base, slots, strip));
                at += BYTES;
            }
            if has_tail {
                at = len - BYTES;
                store_block(&mut out[at..], gather_block::<1>(at, seed, base, slots, strip));
                return;
            }
            while at + 8 <= len {
                let sum = gather_word(at, seed, base, slots, strip);
                out[at..at + 8].copy_from_slice(&sum.to_le_bytes());
                at += 8;
            }
            for (rest, octet) in out[at..].iter_mut().enumerate() {
                *octet = gather_octet(at + rest, seed, base, slots, strip);
            }
        }

        $(#[$attribute])*
        pub(in crate::kernel) fn gather_within(
            arena: &mut [u8],
            (start, len): (usize, usize),
            seed: &[u8],
            slots: &[u16],
            strip: Strip,
        ) {
            // Read before anything is written, since the output may be a term; where it overlaps the
            // blocks, both store the same octets.
            let has_tail = len > BYTES && !len.is_multiple_of(BYTES);
            let tail = if has_tail {
                gather_block::<1>(len - BYTES, seed, arena, slots, strip)
            } else {
                [zero()]
            };
            let mut at = 0;
            while at + $wide * BYTES <= len {
                let sums = gather_block::<$wide>(at, seed, arena, slots, strip);
                store_block(&mut arena[start + at..], sums);
                at += $wide * BYTES;
            }
            while at + $mid * BYTES <= len {
                let sums = gather_block::<$mid>(at, seed, arena, slots, strip);
                store_block(&mut arena[start + at..], sums);
                at += $mid * BYTES;
            }
            while at + 4 * BYTES <= len {
                let sums = gather_block::<4>(at, seed, arena, slots, strip);
                store_block(&mut arena[start + at..], sums);
                at += 4 * BYTES;
            }
            while at + BYTES <= len {
                let sums = gather_block::<1>(at, seed, arena, slots, strip);
                store_block(&mut arena[start + at..], sums);
                at += BYTES;
            }
            if has_tail {
                store_block(&mut arena[start + len - BYTES..start + len], tail);
                return;
            }
            while at + 8 <= len {
                let sum = gather_word(at, seed, arena, slots, strip);
                arena[start + at..start + at + 8].copy_from_slice(&sum.to_le_bytes());
                at += 8;
            }
            while at < len {
                arena[start + at] = gather_octet(at, seed, arena, slots, strip);
                at += 1;
            }
        }

        $(#[$attribute])*
        #[inline]
        fn combine_block<const N: usize>(
            out: &mut [u8],
            at: usize,
            base: &[u8],
            (slots, factors): (&[u16], &[u8]),
            strip: Strip,
        ) {
            let mut sums = [zero(); N];
            let chunks = out[at..at + N * BYTES].as_chunks_mut::<BYTES>().0;
            for (sum, chunk) in sums.iter_mut().zip(&*chunks) {
                *sum = load(chunk);
            }
            for (&slot, &octet) in slots.iter().zip(factors) {
                let factor = factor(octet);
                let from = slot as usize * strip.stride + strip.offset + at;
                let terms = base[from..from + N * BYTES].as_chunks::<BYTES>().0;
                for (sum, term) in sums.iter_mut().zip(terms) {
                    *sum = xor(*sum, mul(factor, load(term)));
                }
            }
            for (chunk, sum) in chunks.iter_mut().zip(sums) {
                store(chunk, sum);
            }
        }

        $(#[$attribute])*
        pub(in crate::kernel) fn combine(
            out: &mut [u8],
            base: &[u8],
            slots: &[u16],
            factors: &[u8],
            strip: Strip,
        ) {
            let len = out.len();
            let mut at = 0;
            while at + $mid * BYTES <= len {
                combine_block::<$mid>(out, at, base, (slots, factors), strip);
                at += $mid * BYTES;
            }
            while at + 4 * BYTES <= len {
                combine_block::<4>(out, at, base, (slots, factors), strip);
                at += 4 * BYTES;
            }
            while at + BYTES <= len {
                combine_block::<1>(out, at, base, (slots, factors), strip);
                at += BYTES;
            }
            if at < len && len > BYTES {
                let mut end = [0; BYTES];
                let strip = Strip { offset: strip.offset + len - BYTES, ..strip };
                combine_block::<1>(&mut end, 0, base, (slots, factors), strip);
                for (octet, end) in out[at..].iter_mut().zip(&end[BYTES - (len - at)..]) {
                    *octet ^= end;
                }
                return;
            }
            for (rest, octet) in out[at..].iter_mut().enumerate() {
                for (&slot, &factor) in slots.iter().zip(factors) {
                    let from = slot as usize * strip.stride + strip.offset + at + rest;
                    *octet ^= octet::mul(factor, base[from]);
                }
            }
        }

        $(#[$attribute])*
        #[inline]
        fn add_to<const N: usize>(sums: &mut [u8], at: usize, terms: &[V; N]) {
            let chunks = sums[at..at + N * BYTES].as_chunks_mut::<BYTES>().0;
            for (chunk, &term) in chunks.iter_mut().zip(terms) {
                let sum = xor(load(chunk), term);
                store(chunk, sum);
            }
        }

        $(#[$attribute])*
        #[inline]
        fn fold_block<const N: usize>(
            sums: &mut [u8],
            (len, at): (usize, usize),
            base: &[u8],
            rows: &[u8],
            strip: Strip,
        ) {
            let mut running = [zero(); N];
            let last = rows.len().saturating_sub(1);
            for (column, &pair) in rows.iter().enumerate() {
                let from = column * strip.stride + strip.offset + at;
                let chunks = base[from..from + N * BYTES].as_chunks::<BYTES>().0;
                for (p, chunk) in running.iter_mut().zip(chunks) {
                    *p = xor(double(*p), load(chunk));
                }
                if column < last {
                    add_to(sums, (pair >> 4) as usize * len + at, &running);
                    add_to(sums, (pair & 15) as usize * len + at, &running);
                }
            }
            for start in (0..sums.len()).step_by(len) {
                add_to(sums, start + at, &running);
                for p in &mut running {
                    *p = double(*p);
                }
            }
        }

        $(#[$attribute])*
        pub(in crate::kernel) fn fold(
            sums: &mut [u8],
            len: usize,
            base: &[u8],
            rows: &[u8],
            strip: Strip,
        ) {
            let mut at = 0;
            while at + $mid * BYTES <= len {
                fold_block::<$mid>(sums, (len, at), base, rows, strip);
                at += $mid * BYTES;
            }
            while at + 4 * BYTES <= len {
                fold_block::<4>(sums, (len, at), base, rows, strip);
                at += 4 * BYTES;
            }
            while at + BYTES <= len {
                fold_block::<1>(sums, (len, at), base, rows, strip);
                at += BYTES;
            }
            if at < len && len > BYTES {
                // A whole vector that ends with the strip; only what is new is added.
                let mut ends = [0; HEIGHTS_MAX * BYTES];
                let ends = &mut ends[..sums.len() / len * BYTES];
                let strip = Strip { offset: strip.offset + len - BYTES, ..strip };
                fold_block::<1>(ends, (BYTES, 0), base, rows, strip);
                for (sum, end) in sums.chunks_exact_mut(len).zip(ends.chunks_exact(BYTES)) {
                    for (octet, end) in sum[at..].iter_mut().zip(&end[BYTES - (len - at)..]) {
                        *octet ^= end;
                    }
                }
                return;
            }
            while at + 8 <= len {
                fold_word(sums, (len, at), base, rows, strip);
                at += 8;
            }
            while at < len {
                fold_octet(sums, (len, at), base, rows, strip);
                at += 1;
            }
        }

        fn fold_word(
            sums: &mut [u8],
            (len, at): (usize, usize),
            base: &[u8],
            rows: &[u8],
            strip: Strip,
        ) {
            let mut running = 0;
            let last = rows.len().saturating_sub(1);
            let mut add = |at: usize, running: u64| {
                let sum = word(sums, at) ^ running;
                sums[at..at + 8].copy_from_slice(&sum.to_le_bytes());
            };
            for (column, &pair) in rows.iter().enumerate() {
                let from = column * strip.stride + strip.offset + at;
                running = double_word(running) ^ word(base, from);
                if column < last {
                    add((pair >> 4) as usize * len + at, running);
                    add((pair & 15) as usize * len + at, running);
                }
            }
            for start in (0..sums.len()).step_by(len) {
                let sum = word(sums, start + at) ^ running;
                sums[start + at..start + at + 8].copy_from_slice(&sum.to_le_bytes());
                running = double_word(running);
            }
        }

        fn fold_octet(
            sums: &mut [u8],
            (len, at): (usize, usize),
            base: &[u8],
            rows: &[u8],
            strip: Strip,
        ) {
            let mut running = 0;
            let last = rows.len().saturating_sub(1);
            for (column, &pair) in rows.iter().enumerate() {
                running = octet::double(running) ^ base[column * strip.stride + strip.offset + at];
                if column < last {
                    sums[(pair >> 4) as usize * len + at] ^= running;
                    sums[(pair & 15) as usize * len + at] ^= running;
                }
            }
            for start in (0..sums.len()).step_by(len) {
                sums[start + at] ^= running;
                running = octet::double(running);
            }
        }
    };
}
