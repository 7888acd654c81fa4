//! The four loops that touch symbols, for each vector unit.
//!
//! | loop | meaning |
//! | --- | --- |
//! | gather | `out = seed + sum of symbols`, written once whatever the number of terms |
//! | gather within | the same, where `out` lies in the arena that holds the terms |
//! | combine | `out += sum of octet * symbol` |
//! | fold | the HDPC running sum: `p = alpha * p + symbol`, added to two accumulators |
//!
//! A backend is chosen once per process, the widest that the processor has; [`Backend::select`]
//! overrides that before the first use.
//! Each backend gives exactly the scalar's octets.
//!
//! Unsafe code is here alone, and is of two kinds: a vector load or store through a reference to an
//! array of exactly that many octets, and the call of a function whose processor features were
//! checked when the [`Kernel`] was made.
//! All index arithmetic goes through checked slices.
#![expect(
    unsafe_code,
    reason = "vector loads, stores and feature-gated calls of the GF(256) loops"
)]

#[macro_use]
mod lanes;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
mod word;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::fmt;
use std::sync::OnceLock;

use thiserror::Error;

/// A set of vector instructions for the symbol loops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Backend {
    /// Eight octets at a time, on any processor.
    Scalar,
    /// 16 octets, table look-up by `PSHUFB` (x86-64).
    Ssse3,
    /// 32 octets, table look-up by `VPSHUFB` (x86-64).
    Avx2,
    /// 64 octets, AVX-512BW (x86-64).
    Avx512,
    /// 64 octets, AVX-512BW with `GF2P8AFFINEQB` (x86-64).
    Gfni,
    /// 16 octets, table look-up by `TBL` (AArch64).
    Neon,
}

/// Why a [`Backend`] could not be selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BackendError {
    /// This processor lacks the instructions.
    #[error("the processor has no {0} instructions")]
    Unsupported(Backend),
    /// The process has already chosen, and does not change.
    #[error("the process already uses {chosen}, so {asked} cannot be selected")]
    AlreadyChosen {
        /// What the process uses.
        chosen: Backend,
        /// What was asked for.
        asked: Backend,
    },
}

static CHOSEN: OnceLock<Kernel> = OnceLock::new();

impl Backend {
    /// Every backend, narrow to wide.
    pub const ALL: [Self; 6] = [
        Self::Scalar,
        Self::Ssse3,
        Self::Avx2,
        Self::Avx512,
        Self::Gfni,
        Self::Neon,
    ];

    /// Whether this processor has the instructions.
    ///
    /// # Examples
    /// ```
    /// # use asupersync_raptorq::Backend;
    /// assert!(Backend::Scalar.is_supported());
    /// ```
    #[must_use]
    pub fn is_supported(self) -> bool {
        Kernel::of(self).is_some()
    }

    /// The backend that this process uses; the first call chooses the widest supported.
    #[must_use]
    pub fn chosen() -> Self {
        Kernel::chosen().backend
    }

    /// Makes this the backend of the process.
    ///
    /// # Errors
    /// [`BackendError::Unsupported`] if the processor lacks it; [`BackendError::AlreadyChosen`] if
    /// another has been chosen, by an earlier call or by first use.
    pub fn select(self) -> Result<(), BackendError> {
        let kernel = Kernel::of(self).ok_or(BackendError::Unsupported(self))?;
        let chosen = CHOSEN.get_or_init(|| kernel).backend;
        if chosen == self {
            return Ok(());
        }
        Err(BackendError::AlreadyChosen {
            chosen,
            asked: self,
        })
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scalar => "scalar",
            Self::Ssse3 => "SSSE3",
            Self::Avx2 => "AVX2",
            Self::Avx512 => "AVX-512BW",
            Self::Gfni => "GFNI",
            Self::Neon => "NEON",
        })
    }
}

/// Symbols in one buffer: symbol `slot` is the `stride` octets from `slot * stride`.
///
/// A loop works on a strip of each symbol, which begins `offset` octets into it; the strip's length
/// is that of the output.
#[derive(Clone, Copy)]
pub(crate) struct Strip {
    pub(crate) stride: usize,
    pub(crate) offset: usize,
}

/// Most accumulators of a fold: there are 10 to 16 HDPC rows.
const HEIGHTS_MAX: usize = 16;

type Gather = unsafe fn(&mut [u8], &[u8], &[u8], &[u16], Strip);
type GatherWithin = unsafe fn(&mut [u8], (usize, usize), &[u8], &[u16], Strip);
type Combine = unsafe fn(&mut [u8], &[u8], &[u16], &[u8], Strip);
type Fold = unsafe fn(&mut [u8], usize, &[u8], &[u8], Strip);

/// The loops of one backend.
#[derive(Clone, Copy)]
pub(crate) struct Kernel {
    backend: Backend,
    gather: Gather,
    gather_within: GatherWithin,
    combine: Combine,
    fold: Fold,
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.backend.fmt(f)
    }
}

/// Fills a [`Kernel`] with the loops of one module.
macro_rules! kernel_of {
    ($backend:ident, $module:path) => {{
        use $module as m;
        Some(Kernel {
            backend: Backend::$backend,
            gather: m::gather,
            gather_within: m::gather_within,
            combine: m::combine,
            fold: m::fold,
        })
    }};
}

impl Kernel {
    /// The loops of the process.
    pub(crate) fn chosen() -> &'static Self {
        CHOSEN.get_or_init(|| {
            Backend::ALL
                .into_iter()
                .rev()
                .find_map(Self::of)
                .expect("the scalar backend is always supported")
        })
    }

    /// The loops of `backend`, if the processor has its instructions.
    ///
    /// This is the only place that makes a [`Kernel`]; the calls below rely on its checks.
    pub(crate) fn of(backend: Backend) -> Option<Self> {
        match backend {
            Backend::Scalar => kernel_of!(Scalar, self::scalar),
            #[cfg(target_arch = "x86_64")]
            Backend::Ssse3 if x86::has_ssse3() => kernel_of!(Ssse3, self::x86::ssse3),
            #[cfg(target_arch = "x86_64")]
            Backend::Avx2 if x86::has_avx2() => kernel_of!(Avx2, self::x86::avx2),
            #[cfg(target_arch = "x86_64")]
            Backend::Avx512 if x86::has_avx512() => kernel_of!(Avx512, self::x86::avx512),
            #[cfg(target_arch = "x86_64")]
            Backend::Gfni if x86::has_gfni() => kernel_of!(Gfni, self::x86::gfni),
            #[cfg(target_arch = "aarch64")]
            Backend::Neon => kernel_of!(Neon, self::neon),
            _ => None,
        }
    }

    /// `out = seed + sum over slots of the strip in base`; an empty seed counts as zero.
    ///
    /// # Panics
    /// If a strip does not lie in `base`, or `seed` is neither empty nor as long as `out`.
    #[inline]
    pub(crate) fn gather(
        &self,
        out: &mut [u8],
        seed: &[u8],
        base: &[u8],
        slots: &[u16],
        strip: Strip,
    ) {
        assert!(seed.is_empty() || seed.len() == out.len());
        // SAFETY: `of` checked the processor features of this loop.
        unsafe { (self.gather)(out, seed, base, slots, strip) }
    }

    /// The same, where `out` is `arena[at.0..at.0 + at.1]`.
    ///
    /// Terms are read before the output is written, so the output may be a term.
    ///
    /// # Panics
    /// As [`gather`](Self::gather).
    #[inline]
    pub(crate) fn gather_within(
        &self,
        arena: &mut [u8],
        at: (usize, usize),
        seed: &[u8],
        slots: &[u16],
        strip: Strip,
    ) {
        assert!(seed.is_empty() || seed.len() == at.1);
        // SAFETY: `of` checked the processor features of this loop.
        unsafe { (self.gather_within)(arena, at, seed, slots, strip) }
    }

    /// `out += sum of factor * strip in base`.
    ///
    /// # Panics
    /// If a strip does not lie in `base`, or `slots` and `factors` differ in length.
    #[inline]
    pub(crate) fn combine(
        &self,
        out: &mut [u8],
        base: &[u8],
        slots: &[u16],
        factors: &[u8],
        strip: Strip,
    ) {
        assert_eq!(slots.len(), factors.len());
        // SAFETY: `of` checked the processor features of this loop.
        unsafe { (self.combine)(out, base, slots, factors, strip) }
    }

    /// Adds the HDPC sums of the first `rows.len()` symbols of `base` to the accumulators.
    ///
    /// `rows[j]` holds, in its two nibbles, the two accumulators that running sum `j` is added to;
    /// the last running sum `p` is added to accumulator `i` as `alpha^i * p` instead.
    /// The accumulators are `sums`, each `len` octets long, one after another.
    ///
    /// # Panics
    /// If a nibble names no accumulator, there are more than 16, or a strip does not lie in `base`.
    pub(crate) fn fold(&self, sums: &mut [u8], len: usize, base: &[u8], rows: &[u8], strip: Strip) {
        assert!(len > 0 && sums.len().is_multiple_of(len) && sums.len() / len <= HEIGHTS_MAX);
        // SAFETY: `of` checked the processor features of this loop.
        unsafe { (self.fold)(sums, len, base, rows, strip) }
    }
}

#[cfg(test)]
mod tests;
