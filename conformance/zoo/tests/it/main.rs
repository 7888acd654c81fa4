//! Every bug shows, and no fixed twin shows one.

mod classes;
mod proofs;
mod snapshots;
mod twins;
