//! An event as words.
//!
//! # Layout
//! 0: the time. 1: the tag, three small values, and a line's number. 2: the region. 3: another region, an obligation, or a site.
//! 4: the places of two tasks in their regions. 5 and 6: who was polled, and in which poll.
//! A name has its text in 3, 5 and 6, since whoever spawned the task before it also named it.

use asupersync_core::{ObligationId, RegionId, TaskId, Time};
use asupersync_kernel::{Event, Name, Subject};

use super::Polled;
use super::ring::Words;
use super::sites::Sites;
use crate::tables::{CANCEL_KINDS, OBLIGATION_KINDS, SETTLEMENTS, SEVERITIES, STAGES};

/// An event with its circumstances.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    pub(super) at: Time,
    pub(super) polled: Option<Polled>,
    pub(super) event: Event,
}

/// The fields of a record, before and after they are words.
#[derive(Clone, Copy, Default)]
struct Fields {
    tag: u8,
    /// What kind of subject, whether a task is pinned, or how long a name is.
    kind: u8,
    /// A place in a table.
    value: u8,
    line: u32,
    region: u64,
    other: u64,
    index: u32,
    other_index: u32,
}

/// The words of an event; `None` if it is of a kind that is not kept.
#[inline]
pub(super) fn pack(
    sites: &Sites,
    at: Time,
    polled: Option<Polled>,
    event: &Event,
) -> Option<Words> {
    // Most events are one of these, and stand here so that they are words at once.
    let fields = match event {
        Event::TaskSpawned {
            task,
            pinned,
            site,
            line,
        } => Fields {
            kind: u8::from(*pinned),
            other: sites.number_of(site),
            line: *line,
            ..Fields::default().tag(8).task(*task)
        },
        Event::TaskEnded { task, severity } => Fields {
            // The table is in the order of the kinds, which is asserted below.
            value: *severity as u8,
            ..Fields::default().tag(10).task(*task)
        },
        _ => return pack_other(at, polled, event),
    };
    Some(fields.words(at, polled))
}

#[inline(never)]
fn pack_other(at: Time, polled: Option<Polled>, event: &Event) -> Option<Words> {
    let mut words = fields_of(event)?.words(at, polled);
    if let Event::TaskNamed { name, .. } = event {
        put_text(&mut words, kept_part(name));
    }
    Some(words)
}

/// The fields of an event that has its tag from here.
fn fields_of(event: &Event) -> Option<Fields> {
    let none = Fields::default();
    Some(match event {
        Event::RegionOpened { region, parent } => none.tag(1).region(*region).parent(*parent),
        Event::RegionClosing { region, body } => {
            none.tag(2).region(*region).value(&SEVERITIES, body)?
        }
        Event::RegionFinalizing { region } => none.tag(3).region(*region),
        Event::RegionClosed { region } => none.tag(4).region(*region),
        Event::RegionAbandoned { region, heir } => {
            let heir = Some(Subject::Task(*heir));
            none.tag(5).region(*region).parent(heir)
        }
        Event::FinalizerStarted { region } => none.tag(6).region(*region),
        Event::FinalizerEnded { region, severity } => {
            none.tag(7).region(*region).value(&SEVERITIES, severity)?
        }
        Event::TaskNamed { task, name } => Fields {
            // At most `NAME_BYTES_MAX`.
            kind: kept_part(name).len() as u8,
            ..none.tag(9).task(*task)
        },
        Event::EndSuppressed { task, severity } => {
            none.tag(11).task(*task).value(&SEVERITIES, severity)?
        }
        Event::CancelRequested { subject, kind } => {
            none.tag(12).subject(*subject).value(&CANCEL_KINDS, kind)?
        }
        Event::CancelEscalated { subject, stage } => {
            none.tag(13).subject(*subject).value(&STAGES, stage)?
        }
        Event::ObligationReserved {
            obligation,
            holder,
            kind,
        } => Fields {
            other: obligation.index(),
            ..none
                .tag(14)
                .subject(*holder)
                .value(&OBLIGATION_KINDS, kind)?
        },
        Event::ObligationSettled {
            obligation,
            settlement,
        } => Fields {
            other: obligation.index(),
            ..none.tag(15).value(&SETTLEMENTS, settlement)?
        },
        _ => return None,
    })
}

impl Fields {
    const fn tag(self, tag: u8) -> Self {
        Self { tag, ..self }
    }

    const fn region(self, region: RegionId) -> Self {
        Self {
            region: region.index(),
            ..self
        }
    }

    const fn task(self, task: TaskId) -> Self {
        Self {
            index: task.index(),
            ..self.region(task.region())
        }
    }

    const fn subject(self, subject: Subject) -> Self {
        match subject {
            Subject::Region(region) => self.region(region),
            Subject::Task(task) => Self {
                kind: 1,
                ..self.task(task)
            },
        }
    }

    /// The second subject, if there is one.
    const fn parent(self, parent: Option<Subject>) -> Self {
        match parent {
            None => self,
            Some(Subject::Region(region)) => Self {
                kind: 1,
                other: region.index(),
                ..self
            },
            Some(Subject::Task(task)) => Self {
                kind: 2,
                other: task.region().index(),
                other_index: task.index(),
                ..self
            },
        }
    }

    #[inline]
    fn words(&self, at: Time, polled: Option<Polled>) -> Words {
        let (mut task, mut poll) = (0, 0);
        if let Some(polled) = polled {
            task = polled.task.region().index();
            poll = joined(polled.task.index(), polled.poll);
        }
        let is_polled = u8::from(polled.is_some());
        let small = u32::from_le_bytes([self.tag, self.kind, self.value, is_polled]);
        [
            at.as_nanos(),
            joined(small, self.line),
            self.region,
            self.other,
            joined(self.index, self.other_index),
            task,
            poll,
        ]
    }

    /// `None` for a value that the table does not know.
    fn value<T: PartialEq>(self, table: &[T], value: &T) -> Option<Self> {
        let index = table.iter().position(|known| known == value)?;
        let value = u8::try_from(index).ok()?;
        Some(Self { value, ..self })
    }

    const fn of(words: &Words) -> Self {
        let (small, line) = parted(words[1]);
        let [tag, kind, value, _] = small.to_le_bytes();
        let (index, other_index) = parted(words[4]);
        Self {
            tag,
            kind,
            value,
            line,
            region: words[2],
            other: words[3],
            index,
            other_index,
        }
    }

    const fn region_id(&self) -> RegionId {
        RegionId::new(self.region)
    }

    const fn task_id(&self) -> TaskId {
        TaskId::new(RegionId::new(self.region), self.index)
    }

    const fn subject_id(&self) -> Subject {
        match self.kind {
            0 => Subject::Region(self.region_id()),
            _ => Subject::Task(self.task_id()),
        }
    }

    const fn parent_id(&self) -> Option<Subject> {
        let region = RegionId::new(self.other);
        match self.kind {
            0 => None,
            1 => Some(Subject::Region(region)),
            _ => Some(Subject::Task(TaskId::new(region, self.other_index))),
        }
    }

    fn value_of<T: Copy>(&self, table: &[T]) -> Option<T> {
        table.get(usize::from(self.value)).copied()
    }
}

/// The event that these words are; `None` for words that are none.
pub(super) fn unpack(sites: &Sites, words: &Words) -> Option<Entry> {
    let fields = Fields::of(words);
    let event = match fields.tag {
        1..=7 => region_event(&fields)?,
        9 => Event::TaskNamed {
            task: fields.task_id(),
            name: Name::shared(&text_of(words, fields.kind)),
        },
        _ => task_event(sites, &fields)?,
    };
    let [_, _, _, is_polled] = parted(words[1]).0.to_le_bytes();
    let is_polled = is_polled == 1 && fields.tag != 9;
    let (index, poll) = parted(words[6]);
    let task = TaskId::new(RegionId::new(words[5]), index);
    Some(Entry {
        at: Time::from_nanos(words[0]),
        polled: is_polled.then_some(Polled { task, poll }),
        event,
    })
}

fn region_event(fields: &Fields) -> Option<Event> {
    let region = fields.region_id();
    Some(match fields.tag {
        1 => Event::RegionOpened {
            region,
            parent: fields.parent_id(),
        },
        2 => Event::RegionClosing {
            region,
            body: fields.value_of(&SEVERITIES)?,
        },
        3 => Event::RegionFinalizing { region },
        4 => Event::RegionClosed { region },
        5 => match fields.parent_id() {
            Some(Subject::Task(heir)) => Event::RegionAbandoned { region, heir },
            Some(Subject::Region(_)) | None => return None,
        },
        6 => Event::FinalizerStarted { region },
        _ => Event::FinalizerEnded {
            region,
            severity: fields.value_of(&SEVERITIES)?,
        },
    })
}

fn task_event(sites: &Sites, fields: &Fields) -> Option<Event> {
    Some(match fields.tag {
        8 => Event::TaskSpawned {
            task: fields.task_id(),
            pinned: fields.kind == 1,
            site: sites.name_of(fields.other),
            line: fields.line,
        },
        10 => Event::TaskEnded {
            task: fields.task_id(),
            severity: fields.value_of(&SEVERITIES)?,
        },
        11 => Event::EndSuppressed {
            task: fields.task_id(),
            severity: fields.value_of(&SEVERITIES)?,
        },
        12 => Event::CancelRequested {
            subject: fields.subject_id(),
            kind: fields.value_of(&CANCEL_KINDS)?,
        },
        13 => Event::CancelEscalated {
            subject: fields.subject_id(),
            stage: fields.value_of(&STAGES)?,
        },
        14 => Event::ObligationReserved {
            obligation: ObligationId::new(fields.other),
            holder: fields.subject_id(),
            kind: fields.value_of(&OBLIGATION_KINDS)?,
        },
        15 => Event::ObligationSettled {
            obligation: ObligationId::new(fields.other),
            settlement: fields.value_of(&SETTLEMENTS)?,
        },
        _ => return None,
    })
}

/// As much of a name as is kept, whole characters.
fn kept_part(name: &str) -> &str {
    &name[..name.floor_char_boundary(NAME_BYTES_MAX)]
}

fn put_text(words: &mut Words, text: &str) {
    let mut bytes = [0; NAME_BYTES_MAX];
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    for (place, chunk) in TEXT_PLACES.into_iter().zip(bytes.chunks_exact(8)) {
        words[place] = chunk
            .iter()
            .rev()
            .fold(0, |word, b| word << 8 | u64::from(*b));
    }
}

fn text_of(words: &Words, length: u8) -> String {
    let bytes: Vec<u8> = TEXT_PLACES
        .into_iter()
        .flat_map(|place| words[place].to_le_bytes())
        .take(usize::from(length))
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

const fn joined(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

const fn parted(word: u64) -> (u32, u32) {
    (word as u32, (word >> 32) as u32)
}

const _: () = {
    let mut place = 0;
    while place < SEVERITIES.len() {
        assert!(
            SEVERITIES[place] as usize == place,
            "`pack` finds a place by its number"
        );
        place += 1;
    }
};

/// As much of a name is kept.
const NAME_BYTES_MAX: usize = 24;
const TEXT_PLACES: [usize; 3] = [3, 5, 6];

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(event: &Event) {
        let (at, sites) = (Time::from_nanos(u64::MAX - 1), Sites::new());
        let polled = Polled {
            task: TaskId::new(RegionId::new(u64::MAX), u32::MAX),
            poll: u32::MAX,
        };
        for polled in [None, Some(polled)] {
            let words = pack(&sites, at, polled, event).expect("it is kept");
            let is_name = matches!(event, Event::TaskNamed { .. });
            let expected = Entry {
                at,
                polled: polled.filter(|_| !is_name),
                event: event.clone(),
            };
            assert_eq!(unpack(&sites, &words), Some(expected));
        }
    }

    fn subjects() -> [Subject; 2] {
        let region = RegionId::new(u64::MAX - 3);
        [
            Subject::Region(region),
            Subject::Task(TaskId::new(region, u32::MAX - 1)),
        ]
    }

    #[test]
    fn events_of_regions_come_back() {
        let region = RegionId::new(1 << 40);
        for parent in subjects().map(Some).into_iter().chain([None]) {
            check(&Event::RegionOpened { region, parent });
        }
        for body in SEVERITIES {
            check(&Event::RegionClosing { region, body });
            check(&Event::FinalizerEnded {
                region,
                severity: body,
            });
        }
        check(&Event::RegionFinalizing { region });
        check(&Event::RegionClosed { region });
        check(&Event::FinalizerStarted { region });
        let heir = TaskId::new(RegionId::new(7), 3);
        check(&Event::RegionAbandoned { region, heir });
    }

    #[test]
    fn events_of_tasks_come_back() {
        let task = TaskId::new(RegionId::new(5), u32::MAX);
        for (pinned, line) in [(false, 0), (true, u32::MAX)] {
            let site = Name::from("src/main.rs");
            check(&Event::TaskSpawned {
                task,
                pinned,
                site,
                line,
            });
        }
        for severity in SEVERITIES {
            check(&Event::TaskEnded { task, severity });
            check(&Event::EndSuppressed { task, severity });
        }
        for name in ["", "keeper", "exactly twenty-four byte"] {
            let name = Name::shared(name);
            check(&Event::TaskNamed { task, name });
        }
    }

    #[test]
    fn events_of_cancellation_and_obligations_come_back() {
        for subject in subjects() {
            for kind in CANCEL_KINDS {
                check(&Event::CancelRequested { subject, kind });
            }
            for stage in STAGES {
                check(&Event::CancelEscalated { subject, stage });
            }
            for kind in OBLIGATION_KINDS {
                check(&Event::ObligationReserved {
                    obligation: ObligationId::new(u64::MAX),
                    holder: subject,
                    kind,
                });
            }
        }
        for settlement in SETTLEMENTS {
            check(&Event::ObligationSettled {
                obligation: ObligationId::new(9),
                settlement,
            });
        }
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let sites = Sites::new();
        let task = TaskId::new(RegionId::new(0), 0);
        let name = Name::shared("twenty-three bytes long\u{e9}\u{e9}");
        let words = pack(&sites, Time::ZERO, None, &Event::TaskNamed { task, name });
        let entry = unpack(&sites, &words.expect("it is kept")).expect("it is one");
        let name = Name::shared("twenty-three bytes long");
        assert_eq!(entry.event, Event::TaskNamed { task, name });
    }

    #[test]
    fn polls_and_wakes_are_passed_over() {
        let task = TaskId::new(RegionId::new(0), 0);
        for event in [Event::TaskPolled { task }, Event::TaskWoken { task }] {
            assert_eq!(pack(&Sites::new(), Time::ZERO, None, &event), None);
        }
    }

    proptest! {
        #[test]
        fn any_words_are_an_event_or_none(words in any::<Words>(), tag in 0_u8..20) {
            let sites = Sites::new();
            let _ = unpack(&sites, &words);
            let mut tagged = words;
            tagged[1] = words[1] & !0xff | u64::from(tag);
            let _ = unpack(&sites, &tagged);
        }
    }
}
