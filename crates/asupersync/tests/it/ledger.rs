//! The ledger example, attacked: under the lab, by crashes of its machine, by `kill -9`, with bad input and with full disks.

mod audit;
mod bad_input;
mod book;
mod crash;
mod kill;
mod lab;
mod server;
mod shutdown;

use crate::input;

#[test]
fn the_input_beside_the_example_is_what_its_generator_prints() {
    let shipped = include_str!("../../examples/ledger/transfers.ndjson");
    assert!(
        input::generate() == shipped,
        "run `ledger generate > transfers.ndjson` in the example's folder"
    );
}
