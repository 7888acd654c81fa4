//! Hash maps whose iteration order is the same in every run.

use std::collections::hash_map::DefaultHasher;
use std::hash::BuildHasherDefault;

/// A hash map with a fixed seed: two runs that insert the same keys iterate in the same order.
///
/// Keys chosen by an adversary can be made to collide; use a `BTreeMap` for those.
/// # Examples
/// ```
/// use asupersync_core::DetHashMap;
/// let mut stock: DetHashMap<&str, u32> = DetHashMap::default();
/// stock.insert("apples", 3);
/// assert_eq!(stock["apples"], 3);
/// ```
#[expect(
    clippy::disallowed_types,
    reason = "the fixed-seed form that replaces the banned default"
)]
pub type DetHashMap<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<DefaultHasher>>;

/// A hash set with a fixed seed; see [`DetHashMap`].
#[expect(
    clippy::disallowed_types,
    reason = "the fixed-seed form that replaces the banned default"
)]
pub type DetHashSet<K> = std::collections::HashSet<K, BuildHasherDefault<DefaultHasher>>;
