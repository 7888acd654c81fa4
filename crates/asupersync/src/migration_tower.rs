//! The rows of the migration table of policies, compiled and run with the doc tests.

#[doc = include_str!("../../../docs/migration-tower.md")]
struct MigrationTower;
