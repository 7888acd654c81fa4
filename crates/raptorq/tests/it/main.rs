//! The crate from outside: blocks, objects, authentication, proofs and hostile input.

#[cfg(test)]
mod auth;
#[cfg(test)]
mod block;
#[cfg(test)]
mod object;
#[cfg(test)]
mod proof;

#[cfg(test)]
#[path = "../../fuzz/entry.rs"]
mod entry;
#[cfg(test)]
mod hostile;

/// Octets that do not repeat.
#[cfg(test)]
fn stream(seed: u32, len: usize) -> Vec<u8> {
    let mut state = seed;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(len)
    .collect()
}
