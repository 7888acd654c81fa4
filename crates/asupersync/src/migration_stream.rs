//! The rows of the migration table of streams, compiled and run with the doc tests.

#[doc = include_str!("../../../docs/migration-stream.md")]
struct MigrationStream;
