//! Bad input and full disks: a clear error reply, nothing changed, and the service lives on.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::audit::{Acknowledged, Tail, audit, note};
use super::server::{Client, Server, program, run_to_its_end};
use crate::service::LINE_BYTES_MAX;

struct Bank {
    folder: tempfile::TempDir,
    server: Server,
    client: Client,
    acknowledged: Acknowledged,
}

impl Bank {
    /// A service with accounts `ada` (100), `alan` (5) and `rich` (as much as can be counted).
    fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(&folder.path().join("journal"));
        let client = Client::connect(server.address).unwrap();
        let mut bank = Self {
            folder,
            server,
            client,
            acknowledged: Acknowledged::new(),
        };
        for (account, balance) in [("ada", 100), ("alan", 5), ("rich", u64::MAX)] {
            let request = open(account, balance);
            bank.ask_ok(&request);
        }
        bank
    }

    #[track_caller]
    fn ask_ok(&mut self, request: impl AsRef<[u8]>) -> Value {
        let reply = self.client.ask(request);
        assert_eq!(reply["ok"], true, "{reply}");
        if reply["id"].is_string() {
            note(&mut self.acknowledged, &reply);
        }
        reply
    }

    /// The same connection gets an error with a message, and then an answer.
    #[track_caller]
    fn check_refused(&mut self, request: impl AsRef<[u8]>, code: &str) {
        let reply = self.client.ask(request);
        assert_eq!(reply["ok"], false, "{reply}");
        assert_eq!(reply["error"], code, "{reply}");
        assert!(
            reply["message"]
                .as_str()
                .is_some_and(|text| text.len() > 10),
            "{reply}"
        );
        assert_eq!(self.client.ask(BALANCE)["balance"], 100);
    }

    /// Ends the service; the journal holds what was acknowledged and nothing else.
    #[track_caller]
    fn close(self) {
        self.server.end();
        let path = self.folder.path().join("journal");
        let names = audit(&path, &self.acknowledged, Tail::Whole);
        assert_eq!(names.len(), self.acknowledged.len());
    }
}

const BALANCE: &str = r#"{"op":"balance","account":"ada"}"#;

fn open(account: &str, balance: u64) -> String {
    format!(r#"{{"op":"open","id":"open-{account}","account":"{account}","balance":{balance}}}"#)
}

fn transfer(id: &str, from: &str, to: &str, amount: u64) -> String {
    format!(r#"{{"op":"transfer","id":"{id}","from":"{from}","to":"{to}","amount":{amount}}}"#)
}

#[test]
fn what_is_no_request_is_told_so() {
    let mut bank = Bank::open();
    for malformed in [
        "",
        " ",
        "hello",
        "{",
        "[]",
        "null",
        "\0\0\0",
        r#"{"op":"open""#,
        r#"{"op":"steal","account":"ada"}"#,
        r#"{"account":"ada"}"#,
        r#"{"op":"balance"}"#,
        r#"{"op":"balance","account":7}"#,
        r#"{"op":"balance","account":"\ud800"}"#,
        r#"{"op":"balance","account":"ada"} {"op":"balance","account":"ada"}"#,
        r#"{"op":"open","id":"x","account":"x","balance":-1}"#,
        r#"{"op":"open","id":"x","account":"x","balance":1.5}"#,
        r#"{"op":"open","id":"x","account":"x","balance":18446744073709551616}"#,
        r#"{"op":"open","id":"x","id":"y","account":"x","balance":1}"#,
    ] {
        bank.check_refused(malformed, "malformed");
    }
    let nested = [&b"{\"op\":"[..], &[b'['; 4000]].concat();
    bank.check_refused(nested, "malformed");
    bank.check_refused(b"\xff\xfe", "not_text");
    bank.check_refused(b"{\"op\":\"balance\",\"account\":\"\xc3\x28\"}", "not_text");
    bank.close();
}

#[test]
fn a_line_too_long_is_refused_once_and_the_next_is_answered() {
    let mut bank = Bank::open();
    bank.check_refused(vec![b' '; LINE_BYTES_MAX + 1], "line_too_long");
    bank.check_refused(vec![b'x'; 5_000_000], "line_too_long");
    bank.check_refused(vec![0xff; LINE_BYTES_MAX + 1], "line_too_long");
    let padded = format!("{BALANCE:LINE_BYTES_MAX$}");
    assert_eq!(bank.ask_ok(padded)["balance"], 100);
    assert_eq!(bank.ask_ok(format!("{BALANCE}\r"))["balance"], 100);
    bank.close();
}

#[test]
fn what_the_book_forbids_is_refused_and_changes_nothing() {
    let mut bank = Bank::open();
    bank.check_refused(transfer("t", "ada", "nobody", 1), "unknown_account");
    bank.check_refused(transfer("t", "nobody", "ada", 1), "unknown_account");
    bank.check_refused(r#"{"op":"balance","account":"nobody"}"#, "unknown_account");
    bank.check_refused(
        r#"{"op":"statement","account":"nobody"}"#,
        "unknown_account",
    );
    bank.check_refused(transfer("t", "ada", "alan", 101), "overdraft");
    bank.check_refused(transfer("t", "ada", "ada", 1), "same_account");
    bank.check_refused(transfer("t", "ada", "rich", 1), "overflow");
    let again = r#"{"op":"open","id":"other","account":"ada","balance":1}"#;
    bank.check_refused(again, "account_exists");
    // A refused id is still free.
    bank.ask_ok(transfer("t", "alan", "ada", 5));
    bank.ask_ok(transfer("u", "ada", "alan", 5));
    assert_eq!(bank.ask_ok(BALANCE)["balance"], 100);
    bank.close();
}

#[test]
fn a_request_asked_again_is_done_once_and_another_one_under_its_id_is_refused() {
    let mut bank = Bank::open();
    let request = transfer("t", "ada", "alan", 30);
    let first = bank.ask_ok(&request);
    assert_eq!(bank.ask_ok(&request), first);
    let mut other = Client::connect(bank.server.address).unwrap();
    assert_eq!(other.ask(&request), first);
    for changed in [
        transfer("t", "ada", "alan", 31),
        transfer("t", "alan", "ada", 30),
        transfer("open-ada", "ada", "alan", 1),
    ] {
        let reply = bank.client.ask(changed);
        assert_eq!(reply["error"], "id_taken", "{reply}");
    }
    assert_eq!(bank.ask_ok(BALANCE)["balance"], 70);
    bank.close();
}

#[test]
fn a_statement_is_bounded_whatever_is_asked_for() {
    let mut bank = Bank::open();
    for n in 0..1100 {
        let (from, to) = if n % 2 == 0 {
            ("ada", "alan")
        } else {
            ("alan", "ada")
        };
        let request = transfer(&format!("t{n}"), from, to, 1);
        bank.client.send(format!("{request}\n").as_bytes()).unwrap();
    }
    for _ in 0..1100 {
        let reply = bank.client.receive().unwrap().unwrap();
        note(&mut bank.acknowledged, &reply);
    }
    for (limit, len) in [
        ("0", 0),
        ("3", 3),
        ("null", 20),
        ("18446744073709551615", 1000),
    ] {
        let reply = bank.ask_ok(format!(
            r#"{{"op":"statement","account":"ada","limit":{limit}}}"#
        ));
        let entries = reply["entries"].as_array().unwrap();
        assert_eq!(entries.len(), len);
        assert!(
            entries.first().is_none_or(|newest| newest["id"] == "t1099"),
            "{reply}"
        );
    }
    bank.close();
}

#[test]
fn the_end_of_a_client_in_mid_request_is_its_own_affair() {
    let mut bank = Bank::open();
    let address = bank.server.address;
    let half = &transfer("half", "ada", "alan", 1)[..20];
    // Half a line, and then nothing more.
    let mut client = Client::connect(address).unwrap();
    client.send(half.as_bytes()).unwrap();
    client.finish().unwrap();
    assert_eq!(client.receive().unwrap().unwrap()["error"], "malformed");
    assert_eq!(client.receive().unwrap(), None);
    // A whole request that only lacks its line feed.
    let mut client = Client::connect(address).unwrap();
    client.send(BALANCE.as_bytes()).unwrap();
    client.finish().unwrap();
    assert_eq!(client.receive().unwrap().unwrap()["balance"], 100);
    assert_eq!(client.receive().unwrap(), None);
    // Nothing at all, in order and by force.
    let mut client = Client::connect(address).unwrap();
    client.finish().unwrap();
    assert_eq!(client.receive().unwrap(), None);
    for bytes in [half.as_bytes(), BALANCE.as_bytes(), &[b'x'; 5000]] {
        let mut client = Client::connect(address).unwrap();
        client.send(bytes).unwrap();
    }
    assert_eq!(bank.ask_ok(BALANCE)["balance"], 100);
    bank.close();
}

/// A journal that takes nothing: each change is refused, and nothing of it is seen.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_refuses_changes_and_the_service_lives_on() {
    let server = Server::start(Path::new("/dev/full"));
    let mut client = Client::connect(server.address).unwrap();
    for _ in 0..3 {
        let reply = client.ask(open("ada", 100));
        assert_eq!(reply["error"], "storage", "{reply}");
        let message = reply["message"].as_str().unwrap();
        assert!(message.contains("nothing was changed"), "{message}");
        assert!(message.contains("No space left"), "{message}");
        assert_eq!(client.ask(BALANCE)["error"], "unknown_account");
    }
    // Many at once, of which later ones rest on earlier ones.
    let requests = [
        open("ada", 9),
        open("alan", 9),
        transfer("t", "ada", "alan", 1),
    ];
    client
        .send(format!("{}\n", requests.join("\n")).as_bytes())
        .unwrap();
    for codes in [
        &["storage"][..],
        &["storage"],
        &["storage", "unknown_account"],
    ] {
        let reply = client.receive().unwrap().unwrap();
        assert!(codes.iter().any(|code| reply["error"] == *code), "{reply}");
    }
    server.end();
}

/// A disk that is full after some kilobytes, in the middle of a line.
#[test]
fn a_disk_that_fills_up_keeps_what_was_acknowledged_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let mut limited = Command::new("sh");
    limited
        .args(["-c", r#"trap "" XFSZ; ulimit -f 5; exec "$0" "$@""#])
        .arg(program());
    let server = Server::start_with(limited, &path);
    let mut client = Client::connect(server.address).unwrap();
    let mut acknowledged = Acknowledged::new();
    let mut refused = Vec::new();
    for n in 0..300 {
        let request = open(&format!("account-{n}"), 10);
        let reply = client.ask(&request);
        if reply["ok"] == true {
            note(&mut acknowledged, &reply);
        } else {
            assert_eq!(reply["error"], "storage", "{reply}");
            refused.push(request);
        }
    }
    assert!(acknowledged.len() > 10 && refused.len() > 10);
    let known = r#"{"op":"balance","account":"account-0"}"#;
    assert_eq!(client.ask(known)["balance"], 10);
    assert_eq!(
        audit(&path, &acknowledged, Tail::Whole).len(),
        acknowledged.len()
    );
    server.end();
    // With room again, the same requests are done.
    let server = Server::start(&path);
    let mut client = Client::connect(server.address).unwrap();
    for request in refused {
        note(&mut acknowledged, &client.ask(request));
    }
    server.end();
    assert_eq!(audit(&path, &acknowledged, Tail::Whole).len(), 300);
}

#[test]
fn a_service_that_cannot_have_its_journal_says_why_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let (status, said) = run_to_its_end(&folder.path().join("no/such/folder"));
    assert_eq!(status.code(), Some(1));
    let last = said.last().unwrap();
    assert!(
        last.contains("the journal cannot be used: No such file"),
        "{said:?}"
    );

    let path = folder.path().join("damaged");
    std::fs::write(&path, "no journal\n").unwrap();
    let (status, said) = run_to_its_end(&path);
    assert_eq!(status.code(), Some(1));
    assert!(
        said.last().unwrap().contains("damaged at byte 0"),
        "{said:?}"
    );

    let path = folder.path().join("used");
    let server = Server::start(&path);
    // It has the journal once it answers.
    Client::connect(server.address).unwrap().ask(BALANCE);
    let (status, said) = run_to_its_end(&path);
    assert_eq!(status.code(), Some(1));
    assert!(
        said.last()
            .unwrap()
            .contains("another service uses this journal"),
        "{said:?}"
    );
    assert_eq!(
        Client::connect(server.address).unwrap().ask(BALANCE)["error"],
        "unknown_account"
    );
    server.end();
}
