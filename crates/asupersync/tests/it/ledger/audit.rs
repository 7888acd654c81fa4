//! The audit: what was acknowledged, against what the journal holds.
//!
//! It reads the file by itself; the service's own reader is only compared with it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use asupersync::fs::FsPort;
use serde_json::Value;

use crate::journal::Journal;

/// Names that clients gave, and the numbers that the service answered with.
pub(super) type Acknowledged = BTreeMap<String, u64>;

/// How a journal may end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tail {
    Whole,
    /// The writer was killed.
    MayBeTorn,
}

/// Notes an acknowledgement; the same name has the same number for ever.
pub(super) fn note(acknowledged: &mut Acknowledged, reply: &Value) {
    let id = reply["id"]
        .as_str()
        .expect("an acknowledgement names its request");
    let seq = reply["seq"]
        .as_u64()
        .expect("an acknowledgement has a number");
    let before = acknowledged.insert(id.to_owned(), seq);
    assert!(
        before.is_none_or(|before| before == seq),
        "{id} had {before:?}, now {seq}"
    );
}

/// Checks the journal and gives the names in it.
#[track_caller]
pub(super) fn audit(path: &Path, acknowledged: &Acknowledged, tail: Tail) -> BTreeSet<String> {
    audit_bytes(&std::fs::read(path).unwrap(), acknowledged, tail)
}

/// As [`audit`], of a journal that stands somewhere else.
#[track_caller]
pub(super) fn audit_bytes(
    bytes: &[u8],
    acknowledged: &Acknowledged,
    tail: Tail,
) -> BTreeSet<String> {
    let whole = bytes
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    if tail == Tail::Whole {
        assert_eq!(whole, bytes.len(), "the last line is torn");
    }
    let text = std::str::from_utf8(&bytes[..whole]).unwrap();
    let (mut numbers, mut balances) = (BTreeMap::new(), BTreeMap::<String, i128>::new());
    let mut opened = 0;
    for (number, line) in text.lines().enumerate() {
        let line: Value = serde_json::from_str(line).unwrap();
        let field = |name: &str| line[name].as_str().unwrap().to_owned();
        let sum = |name: &str| i128::from(line[name].as_u64().unwrap());
        assert_eq!(
            line["seq"].as_u64(),
            Some(number as u64),
            "a number is missing or twice"
        );
        let twice = numbers.insert(field("id"), number as u64);
        assert!(twice.is_none(), "{} stands twice", field("id"));
        if line["op"] == "open" {
            opened += sum("balance");
            let twice = balances.insert(field("account"), sum("balance"));
            assert!(
                twice.is_none(),
                "account {} was opened twice",
                field("account")
            );
        } else {
            assert_eq!(line["op"], "transfer");
            *balances.get_mut(&field("from")).unwrap() -= sum("amount");
            *balances.get_mut(&field("to")).unwrap() += sum("amount");
            assert!(balances[&field("from")] >= 0, "{line} overdraws");
        }
    }
    for (id, seq) in acknowledged {
        assert_eq!(
            numbers.get(id),
            Some(seq),
            "{id} was acknowledged and is lost"
        );
    }
    assert_eq!(
        balances.values().sum::<i128>(),
        opened,
        "money was made or lost"
    );
    check_recovery(bytes, &balances, numbers.len());
    numbers.into_keys().collect()
}

/// The service's reader finds the same.
#[track_caller]
fn check_recovery(bytes: &[u8], balances: &BTreeMap<String, i128>, entries: usize) {
    // A copy, since reading cuts a torn line off and the lock may be in use.
    // In memory where there is such a place.
    let folder = tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap());
    let copy = folder.path().join("copy");
    std::fs::write(&copy, bytes).unwrap();
    let (_, book) = Journal::open(&FsPort::os(), &copy).unwrap();
    assert_eq!(book.len(), entries);
    for (account, balance) in balances {
        assert_eq!(
            book.balance(account).map(i128::from),
            Ok(*balance),
            "{account}"
        );
    }
    let total: i128 = balances.values().sum();
    assert_eq!(book.total(), total.unsigned_abs());
}
