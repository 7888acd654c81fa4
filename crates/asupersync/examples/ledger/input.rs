//! The input: accounts of a small bank, and a day of their transfers.
//!
//! Everything is drawn from one linear congruential generator (Knuth's MMIX constants), so the file is the same on every machine.

use std::fmt::Write as _;

const ACCOUNTS: u64 = 200;
const TRANSFERS: u64 = 24_000;

const FIRST: [&str; 20] = [
    "ada",
    "alan",
    "barbara",
    "donald",
    "edsger",
    "frances",
    "grace",
    "hedy",
    "john",
    "katherine",
    "ken",
    "leslie",
    "margaret",
    "niklaus",
    "radia",
    "robin",
    "shafi",
    "sophie",
    "tim",
    "tony",
];
const LAST: [&str; 10] = [
    "becker", "costa", "dubois", "ito", "jensen", "kowalski", "moreau", "okafor", "rossi", "silva",
];

struct Lcg(u64);

impl Lcg {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// The whole file: `open` requests first, then transfers.
pub(crate) fn generate() -> String {
    let mut lcg = Lcg(20_261_122);
    let mut text = String::new();
    let accounts: Vec<String> = (0..ACCOUNTS)
        .map(|n| {
            let (first, last) = (FIRST[n as usize % 20], LAST[n as usize / 20 % 10]);
            format!("{first}.{last}")
        })
        .collect();
    // Writing to a `String` does not fail.
    for (n, account) in accounts.iter().enumerate() {
        let balance = 50_000 + lcg.below(950_000);
        let _ = writeln!(
            text,
            r#"{{"op":"open","id":"open-{n:04}","account":"{account}","balance":{balance}}}"#
        );
    }
    for n in 0..TRANSFERS {
        let from = lcg.below(ACCOUNTS);
        let to = (from + 1 + lcg.below(ACCOUNTS - 1)) % ACCOUNTS;
        // Mostly small sums, now and then a large one that may overdraw.
        let amount = if lcg.below(50) == 0 {
            lcg.below(1_500_000)
        } else {
            100 + lcg.below(9_900)
        };
        let (from, to) = (&accounts[from as usize], &accounts[to as usize]);
        let _ = writeln!(
            text,
            r#"{{"op":"transfer","id":"20261122-{n:06}","from":"{from}","to":"{to}","amount":{amount}}}"#
        );
    }
    text
}
