//! The migration tables' code, compiled with the doc tests.

#[doc = include_str!("../../../docs/migration.md")]
struct Migration;
