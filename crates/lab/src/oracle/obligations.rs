//! Obligations are settled once, by their holders.

use asupersync_core::ObligationId;
use asupersync_kernel::{Event, Settlement, Subject};

use super::law::Law;
use super::ledger::{Book, Ledger};

/// Who owes, and whether it is settled.
#[derive(Debug, Default)]
pub(super) struct Obligations {
    known: Book<ObligationId, (ObligationId, Subject, bool)>,
}

impl Obligations {
    pub(super) fn clear(&mut self) {
        self.known.clear();
    }

    pub(super) fn see(&mut self, ledger: &mut Ledger, event: &Event) {
        match event {
            Event::ObligationReserved {
                obligation, holder, ..
            } => {
                let reserved = (*obligation, *holder, false);
                *self.known.entry(*obligation, || reserved) = reserved;
            }
            Event::ObligationSettled {
                obligation,
                settlement,
            } => {
                let root = Subject::Region(asupersync_core::RegionId::new(0));
                let entry = self.known.entry(*obligation, || (*obligation, root, true));
                let holder = entry.1;
                if std::mem::replace(&mut entry.2, true) {
                    let message = format!("{obligation} was settled twice");
                    ledger.broken(Law::ObligationLinearity, message);
                } else if *settlement == Settlement::Leaked {
                    let message = format!("{holder:?} leaked {obligation}");
                    ledger.broken(Law::ObligationLeak, message);
                }
            }
            _ => {}
        }
    }

    pub(super) fn end(&mut self, ledger: &mut Ledger) {
        for (obligation, holder, _) in self.known.iter().filter(|(_, _, settled)| !settled) {
            let message = format!("{obligation} of {holder:?} was never settled");
            ledger.broken(Law::ObligationLeak, message);
        }
    }
}
