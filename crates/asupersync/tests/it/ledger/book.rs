//! The journal and the book that it adds up to.

use std::io::Write;
use std::path::PathBuf;

use proptest::prelude::*;

use asupersync::fs::FsPort;

use crate::journal::{Book, Entry, Journal, Line, Refusal};

fn open(id: &str, account: &str, balance: u64) -> Entry {
    Entry::Open {
        id: id.to_owned(),
        account: account.to_owned(),
        balance,
    }
}

fn transfer(id: &str, from: &str, to: &str, amount: u64) -> Entry {
    Entry::Transfer {
        id: id.to_owned(),
        from: from.to_owned(),
        to: to.to_owned(),
        amount,
    }
}

fn text_of(entries: &[Entry]) -> Vec<u8> {
    let mut text = Vec::new();
    for (seq, entry) in (0..).zip(entries) {
        let entry = entry.clone();
        serde_json::to_writer(&mut text, &Line { seq, entry }).unwrap();
        text.push(b'\n');
    }
    text
}

fn day() -> Vec<Entry> {
    vec![
        open("o1", "ada", 100),
        open("o2", "alan", 5),
        transfer("t1", "ada", "alan", 30),
        transfer("t2", "alan", "ada", 1),
    ]
}

struct Folder {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn journal_with(text: &[u8]) -> Folder {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.ndjson");
    std::fs::write(&path, text).unwrap();
    Folder {
        _folder: folder,
        path,
    }
}

#[test]
fn a_line_torn_at_any_byte_is_cut_off_and_the_journal_goes_on() {
    let text = text_of(&day());
    for len in 0..=text.len() {
        let journal = journal_with(&text[..len]);
        let lines = text[..len].iter().filter(|byte| **byte == b'\n').count();
        let (mut file, mut book) = Journal::open(&FsPort::os(), &journal.path).unwrap();
        assert_eq!(book.len(), lines, "after {len} bytes");
        let kept = text_of(&day()[..lines]);
        assert_eq!(std::fs::read(&journal.path).unwrap(), kept);
        // The rest of the day, as its clients ask again.
        for entry in &day()[lines..] {
            book.apply(entry).unwrap();
        }
        file.append(&text[kept.len()..]).unwrap();
        drop(file);
        assert_eq!(std::fs::read(&journal.path).unwrap(), text);
        let (_, again) = Journal::open(&FsPort::os(), &journal.path).unwrap();
        assert_eq!(again, book);
    }
}

/// Opens a journal whose line 2 is `line`, and expects an error that names its byte and leaves the file alone.
#[track_caller]
fn check_damage(line: &[u8], why: &str) {
    let before = text_of(&day()[..2]);
    let text = [&before, line, b"\n{\"seq\":3"].concat();
    let journal = journal_with(&text);
    let error = Journal::open(&FsPort::os(), &journal.path)
        .map(|_| ())
        .unwrap_err()
        .to_string();
    let place = format!("damaged at byte {}:", before.len());
    assert!(error.contains(&place), "{error}");
    assert!(error.contains(why), "{error}");
    assert_eq!(std::fs::read(&journal.path).unwrap(), text);
}

#[test]
fn damage_before_the_last_line_is_an_error_that_names_its_byte() {
    check_damage(b"", "EOF");
    check_damage(&[0; 100], "");
    check_damage(b"{\"seq\":2,\"op\":\"tran", "control character");
    check_damage(b"{\"seq\":2,\"op\":\"steal\",\"id\":\"x\"}", "steal");
    check_damage(
        b"{\"seq\":2,\"op\":\"open\",\"id\":\"\xff\",\"account\":\"x\",\"balance\":1}",
        "",
    );
    check_damage(
        br#"{"seq":3,"op":"open","id":"x","account":"x","balance":1}"#,
        "number 3 stands where 2 should",
    );
    check_damage(
        br#"{"seq":2,"op":"open","id":"o1","account":"x","balance":1}"#,
        "`o1` is the id of another request",
    );
    check_damage(
        br#"{"seq":2,"op":"transfer","id":"t","from":"ada","to":"alan","amount":101}"#,
        "holds 100, which is less than 101",
    );
    check_damage(&[b'x'; 1 << 17], "does not end");
}

#[test]
fn a_failed_append_leaves_a_device_usable() {
    let full = PathBuf::from("/dev/full");
    if !full.exists() {
        return;
    }
    let (mut journal, book) = Journal::open(&FsPort::os(), &full).unwrap();
    assert_eq!(book, Book::default());
    for _ in 0..3 {
        let error = journal.append(b"line\n").unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    }
}

#[test]
fn a_journal_in_use_is_refused_and_left_alone() {
    let journal = journal_with(&text_of(&day()));
    let (first, _) = Journal::open(&FsPort::os(), &journal.path).unwrap();
    // The first is in the middle of a line, which the second must not take for a torn one.
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .open(&journal.path)
        .unwrap();
    file.write_all(b"{\"seq\":").unwrap();
    let before = std::fs::read(&journal.path).unwrap();
    let error = Journal::open(&FsPort::os(), &journal.path)
        .map(|_| ())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("another service uses this journal"),
        "{error}"
    );
    assert_eq!(std::fs::read(&journal.path).unwrap(), before);
    drop((first, file));
    Journal::open(&FsPort::os(), &journal.path).unwrap();
}

#[test]
fn an_id_stands_for_one_entry() {
    let mut book = Book::default();
    for entry in day() {
        assert_eq!(book.number_of(&entry), Ok(None));
        let seq = book.apply(&entry).unwrap();
        assert_eq!(book.number_of(&entry), Ok(Some(seq)));
    }
    let taken = Refusal::IdTaken("t1".to_owned());
    assert_eq!(
        book.number_of(&transfer("t1", "ada", "alan", 31)),
        Err(taken.clone())
    );
    assert_eq!(book.apply(&transfer("t1", "ada", "alan", 30)), Err(taken));
}

#[test]
fn a_statement_has_the_newest_first_and_no_more_than_asked_for() {
    let mut book = Book::default();
    for entry in day() {
        book.apply(&entry).unwrap();
    }
    let day = day();
    let newest = [day[3].clone(), day[2].clone(), day[1].clone()];
    assert_eq!(book.statement("alan", 9).unwrap(), newest);
    assert_eq!(book.statement("alan", 2).unwrap(), newest[..2]);
    assert_eq!(book.statement("alan", 0).unwrap(), []);
    assert!(book.statement("nobody", 9).is_err());
}

#[derive(Clone, Debug)]
enum Step {
    Apply(Entry),
    Undo,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name =
        |letter: &'static str, count: u8| (0..count).prop_map(move |n| format!("{letter}{n}"));
    let amount = || prop_oneof![0..50_u64, Just(u64::MAX), Just(u64::MAX / 2)];
    let opened = (name("i", 30), name("a", 4), amount());
    let moved = (name("i", 30), name("a", 4), name("a", 4), amount());
    let step = prop_oneof![
        3 => opened.prop_map(|(id, account, balance)| Step::Apply(open(&id, &account, balance))),
        5 => moved.prop_map(|(id, from, to, amount)| Step::Apply(transfer(&id, &from, &to, amount))),
        2 => Just(Step::Undo),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    #[test]
    fn undo_restores_the_book_exactly_and_a_refusal_changes_nothing(steps in steps()) {
        let mut book = Book::default();
        let mut before: Vec<(Book, Entry)> = Vec::new();
        for step in steps {
            let now = book.clone();
            match step {
                Step::Apply(entry) => match book.apply(&entry) {
                    Ok(seq) => {
                        prop_assert_eq!(seq, before.len() as u64);
                        before.push((now, entry));
                    }
                    Err(_) => prop_assert_eq!(&book, &now),
                },
                Step::Undo => {
                    book.undo_last();
                    let expected = before.pop().map_or_else(Book::default, |(book, _)| book);
                    prop_assert_eq!(&book, &expected);
                }
            }
            let opened: u128 = before
                .iter()
                .map(|(_, entry)| match entry {
                    Entry::Open { balance, .. } => u128::from(*balance),
                    Entry::Transfer { .. } => 0,
                })
                .sum();
            prop_assert_eq!(book.total(), opened);
        }
        // What is in the book is what a journal of it adds up to.
        let entries: Vec<Entry> = before.into_iter().map(|(_, entry)| entry).collect();
        let journal = journal_with(&text_of(&entries));
        let (_, recovered) = Journal::open(&FsPort::os(), &journal.path).unwrap();
        prop_assert_eq!(recovered, book);
    }

    #[test]
    fn no_bytes_make_recovery_panic(mut text in Just(text_of(&day())), at in any::<prop::sample::Index>(), byte: u8) {
        let at = at.index(text.len());
        text[at] = byte;
        let journal = journal_with(&text);
        if let Ok((_, book)) = Journal::open(&FsPort::os(), &journal.path) {
            prop_assert!(book.len() <= day().len());
        }
    }
}
