//! An event's tag and fields.
//!
//! Tags and the places of the values in the tables are version 2 for ever; what is new is added at their ends.

use asupersync_core::{Budget, ObligationId, RegionId, Severity, TaskId, Time};
use asupersync_kernel::{Event, Name, Subject};

use super::Names;
use super::bytes::{Input, put_difference, put_text, put_varint};
use super::error::{DecodeError, EncodeError};
use crate::tables::{CANCEL_KINDS, OBLIGATION_KINDS, SETTLEMENTS, SEVERITIES, STAGES};

/// The last numbers of each kind; those that follow stand as differences.
#[derive(Default)]
pub(super) struct Last {
    /// The time of the event.
    pub(super) at: u64,
    region: u64,
    task: u64,
    obligation: u64,
    resource: u64,
}

/// Where an event's fields go.
struct Output<'a> {
    bytes: &'a mut Vec<u8>,
    last: &'a mut Last,
}

impl Output<'_> {
    fn region(&mut self, region: RegionId) {
        put_difference(self.bytes, &mut self.last.region, region.index());
    }

    fn task(&mut self, task: TaskId) {
        self.region(task.region());
        put_difference(self.bytes, &mut self.last.task, u64::from(task.index()));
    }

    fn subject(&mut self, subject: Option<Subject>) {
        match subject {
            None => self.bytes.push(0),
            Some(Subject::Region(region)) => {
                self.bytes.push(1);
                self.region(region);
            }
            Some(Subject::Task(task)) => {
                self.bytes.push(2);
                self.task(task);
            }
        }
    }

    fn obligation(&mut self, obligation: ObligationId) {
        put_difference(self.bytes, &mut self.last.obligation, obligation.index());
    }

    /// Timers are near the present, which stays the last time.
    fn time(&mut self, time: Time) {
        let mut present = self.last.at;
        put_difference(self.bytes, &mut present, time.as_nanos());
    }

    fn budget(&mut self, budget: &Budget) {
        let limits =
            u8::from(budget.deadline.is_some()) | u8::from(budget.cost_quota.is_some()) << 1;
        self.bytes.push(limits);
        if let Some(deadline) = budget.deadline {
            self.time(deadline);
        }
        if let Some(cost) = budget.cost_quota {
            put_varint(self.bytes, cost);
        }
        put_varint(self.bytes, u64::from(budget.poll_quota));
        self.bytes.push(budget.priority);
    }

    /// `None` for a value that this version does not know.
    fn one_of<T: PartialEq>(&mut self, table: &[T], value: &T) -> Option<()> {
        let index = table.iter().position(|known| known == value)?;
        self.bytes.push(u8::try_from(index).ok()?);
        Some(())
    }
}

/// Appends an event.
pub(super) fn put_event<'a>(
    bytes: &mut Vec<u8>,
    last: &mut Last,
    names: &mut Names<'a>,
    event: &'a Event,
) -> Result<(), EncodeError> {
    let mut out = Output { bytes, last };
    put_fields(&mut out, names, event).ok_or_else(|| EncodeError::UnknownEvent {
        event: format!("{event:?}"),
    })
}

fn put_fields<'a>(out: &mut Output<'_>, names: &mut Names<'a>, event: &'a Event) -> Option<()> {
    let tag = tag_of(event)?;
    out.bytes.push(tag);
    match event {
        Event::RegionOpened { region, parent } => {
            out.region(*region);
            out.subject(*parent);
        }
        Event::RegionClosing { region, body: end }
        | Event::FinalizerEnded {
            region,
            severity: end,
        } => {
            out.region(*region);
            out.one_of(&SEVERITIES, end)?;
        }
        Event::RegionFinalizing { region }
        | Event::RegionClosed { region }
        | Event::FinalizerStarted { region } => out.region(*region),
        Event::RegionAbandoned { region, heir } => {
            out.region(*region);
            out.task(*heir);
        }
        Event::ObligationReserved {
            obligation,
            holder,
            kind,
        } => {
            out.obligation(*obligation);
            out.subject(Some(*holder));
            out.one_of(&OBLIGATION_KINDS, kind)?;
        }
        Event::ObligationSettled {
            obligation,
            settlement,
        } => {
            out.obligation(*obligation);
            out.one_of(&SETTLEMENTS, settlement)?;
        }
        Event::TimerSet { at } | Event::TimerFired { at } | Event::TimerCancelled { at } => {
            out.time(*at)
        }
        Event::ClockAdvanced { to } => out.time(*to),
        Event::JobQueued { job } | Event::HostJobQueued { job } | Event::JobStarted { job } => {
            put_varint(out.bytes, *job);
        }
        Event::FaultInjected { subject, fault } => {
            out.subject(*subject);
            put_varint(out.bytes, names.index_of(fault.as_str()));
        }
        Event::EntropyDrawn { value } => out.bytes.extend_from_slice(&value.to_le_bytes()),
        Event::Mark { subject, text } => {
            out.subject(Some(*subject));
            put_text(out.bytes, text);
        }
        Event::Operation {
            subject,
            resource,
            name,
        } => {
            out.subject(*subject);
            put_difference(out.bytes, &mut out.last.resource, *resource);
            put_varint(out.bytes, names.index_of(name.as_str()));
        }
        _ => {
            return put_account_fields(out, event).or_else(|| put_task_fields(out, names, event));
        }
    }
    Some(())
}

/// The fields of what budgets and permits tell.
fn put_account_fields(out: &mut Output<'_>, event: &Event) -> Option<()> {
    match event {
        Event::BudgetNarrowed { subject, budget } => {
            out.subject(Some(*subject));
            out.budget(budget);
        }
        Event::CostSpent { subject, cost } => {
            out.subject(Some(*subject));
            put_varint(out.bytes, *cost);
        }
        Event::FinalizerAdded { region } => out.region(*region),
        Event::EventsOverwritten { count } => put_varint(out.bytes, *count),
        Event::PermitsMoved {
            resource,
            change,
            free,
        } => {
            put_difference(out.bytes, &mut out.last.resource, *resource);
            let mut none = 0;
            put_difference(out.bytes, &mut none, change.cast_unsigned());
            put_varint(out.bytes, *free);
        }
        Event::MessagesMoved {
            resource,
            change,
            held,
        } => {
            put_difference(out.bytes, &mut out.last.resource, *resource);
            let mut none = 0;
            put_difference(out.bytes, &mut none, change.cast_unsigned());
            put_varint(out.bytes, *held);
        }
        _ => return None,
    }
    Some(())
}

/// The fields of what tasks and cancellation tell.
fn put_task_fields<'a>(
    out: &mut Output<'_>,
    names: &mut Names<'a>,
    event: &'a Event,
) -> Option<()> {
    match event {
        Event::TaskSpawned {
            task,
            pinned,
            site,
            line,
        } => {
            out.task(*task);
            out.bytes.push(u8::from(*pinned));
            put_varint(out.bytes, names.index_of(site.as_str()));
            put_varint(out.bytes, u64::from(*line));
        }
        Event::TaskPolled { task }
        | Event::TaskWoken { task }
        | Event::WakeMerged { task }
        | Event::FailureTaken { task } => {
            out.task(*task);
        }
        Event::TaskNamed { task, name } => {
            out.task(*task);
            put_varint(out.bytes, names.index_of(name.as_str()));
        }
        Event::TaskAwaited { task, ended } => {
            out.task(*task);
            out.bytes.push(u8::from(*ended));
        }
        Event::TaskEnded { task, severity } | Event::EndSuppressed { task, severity } => {
            out.task(*task);
            out.one_of(&SEVERITIES, severity)?;
        }
        Event::CancelRequested { subject, kind } => {
            out.subject(Some(*subject));
            out.one_of(&CANCEL_KINDS, kind)?;
        }
        Event::CancelEscalated { subject, stage } => {
            out.subject(Some(*subject));
            out.one_of(&STAGES, stage)?;
        }
        Event::Masked { subject }
        | Event::Unmasked { subject }
        | Event::CancelUnchanged { subject } => out.subject(Some(*subject)),
        _ => return None,
    }
    Some(())
}

const fn tag_of(event: &Event) -> Option<u8> {
    Some(match event {
        Event::RegionOpened { .. } => 0,
        Event::RegionClosing { .. } => 1,
        Event::RegionFinalizing { .. } => 2,
        Event::RegionClosed { .. } => 3,
        Event::RegionAbandoned { .. } => 4,
        Event::TaskSpawned { .. } => 5,
        Event::TaskPolled { .. } => 6,
        Event::TaskWoken { .. } => 7,
        Event::TaskEnded { .. } => 8,
        Event::EndSuppressed { .. } => 9,
        Event::CancelRequested { .. } => 10,
        Event::CancelEscalated { .. } => 11,
        Event::Masked { .. } => 12,
        Event::Unmasked { .. } => 13,
        Event::FinalizerStarted { .. } => 14,
        Event::FinalizerEnded { .. } => 15,
        Event::ObligationReserved { .. } => 16,
        Event::ObligationSettled { .. } => 17,
        Event::TimerSet { .. } => 18,
        Event::TimerFired { .. } => 19,
        Event::TimerCancelled { .. } => 20,
        Event::EntropyDrawn { .. } => 21,
        Event::Mark { .. } => 22,
        Event::Operation { .. } => 23,
        Event::WakeMerged { .. } => 24,
        Event::TaskAwaited { .. } => 25,
        Event::TaskNamed { .. } => 26,
        Event::ClockAdvanced { .. } => 27,
        Event::JobQueued { .. } => 28,
        Event::JobStarted { .. } => 29,
        Event::FaultInjected { .. } => 30,
        Event::BudgetNarrowed { .. } => 31,
        Event::CostSpent { .. } => 32,
        Event::FinalizerAdded { .. } => 33,
        Event::FailureTaken { .. } => 34,
        Event::PermitsMoved { .. } => 35,
        Event::CancelUnchanged { .. } => 36,
        Event::EventsOverwritten { .. } => 37,
        Event::HostJobQueued { .. } => 38,
        Event::MessagesMoved { .. } => 39,
        _ => return None,
    })
}

/// Where an event's fields come from.
struct Source<'i, 'a> {
    input: &'i mut Input<'a>,
    last: &'i mut Last,
    names: &'i [Name],
}

impl Source<'_, '_> {
    fn region(&mut self) -> Result<RegionId, DecodeError> {
        let index = self.input.difference(&mut self.last.region)?;
        Ok(RegionId::new(index))
    }

    fn task(&mut self) -> Result<TaskId, DecodeError> {
        let region = self.region()?;
        let index = self.input.difference(&mut self.last.task)?;
        let index = u32::try_from(index).map_err(|_| self.input.malformed("a task's number"))?;
        Ok(TaskId::new(region, index))
    }

    fn nobody_or_subject(&mut self) -> Result<Option<Subject>, DecodeError> {
        match self.input.byte()? {
            0 => Ok(None),
            1 => Ok(Some(Subject::Region(self.region()?))),
            2 => Ok(Some(Subject::Task(self.task()?))),
            _ => Err(self.input.malformed("the kind of a subject")),
        }
    }

    fn subject(&mut self) -> Result<Subject, DecodeError> {
        let subject = self.nobody_or_subject()?;
        subject.ok_or_else(|| self.input.malformed("a subject that is nobody"))
    }

    fn obligation(&mut self) -> Result<ObligationId, DecodeError> {
        let index = self.input.difference(&mut self.last.obligation)?;
        Ok(ObligationId::new(index))
    }

    fn time(&mut self) -> Result<Time, DecodeError> {
        let mut at = self.last.at;
        self.input.difference(&mut at)?;
        Ok(Time::from_nanos(at))
    }

    fn line(&mut self) -> Result<u32, DecodeError> {
        let line = self.input.varint()?;
        u32::try_from(line).map_err(|_| self.input.malformed("the number of a line"))
    }

    fn name(&mut self) -> Result<Name, DecodeError> {
        let index = usize::try_from(self.input.varint()?).unwrap_or(usize::MAX);
        let name = self.names.get(index).cloned();
        name.ok_or_else(|| self.input.malformed("the number of a name"))
    }

    fn one_of<T: Copy>(&mut self, table: &[T], what: &'static str) -> Result<T, DecodeError> {
        let value = table.get(usize::from(self.input.byte()?)).copied();
        value.ok_or_else(|| self.input.malformed(what))
    }

    fn budget(&mut self) -> Result<Budget, DecodeError> {
        let limits = self.input.byte()?;
        if limits > 3 {
            return Err(self.input.malformed("the limits of a budget"));
        }
        let deadline = match limits & 1 {
            0 => None,
            _ => Some(self.time()?),
        };
        let cost_quota = match limits & 2 {
            0 => None,
            _ => Some(self.input.varint()?),
        };
        let polls = u32::try_from(self.input.varint()?);
        Ok(Budget {
            deadline,
            cost_quota,
            poll_quota: polls.map_err(|_| self.input.malformed("a number of polls"))?,
            priority: self.input.byte()?,
        })
    }

    fn severity(&mut self) -> Result<Severity, DecodeError> {
        self.one_of(&SEVERITIES, "a severity")
    }

    fn entropy(&mut self) -> Result<u64, DecodeError> {
        let bytes = self.input.take(size_of::<u64>())?;
        Ok(bytes
            .iter()
            .rev()
            .fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }
}

/// Reads an event.
pub(super) fn get_event(
    input: &mut Input<'_>,
    last: &mut Last,
    names: &[Name],
) -> Result<Event, DecodeError> {
    let tag = input.byte()?;
    let mut source = Source { input, last, names };
    let from = &mut source;
    Ok(match tag {
        0 => Event::RegionOpened {
            region: from.region()?,
            parent: from.nobody_or_subject()?,
        },
        1 => Event::RegionClosing {
            region: from.region()?,
            body: from.severity()?,
        },
        2 => Event::RegionFinalizing {
            region: from.region()?,
        },
        3 => Event::RegionClosed {
            region: from.region()?,
        },
        4 => Event::RegionAbandoned {
            region: from.region()?,
            heir: from.task()?,
        },
        14 => Event::FinalizerStarted {
            region: from.region()?,
        },
        15 => Event::FinalizerEnded {
            region: from.region()?,
            severity: from.severity()?,
        },
        5..=13 => task_event(tag, from)?,
        24..=26 => later_task_event(tag, from)?,
        16..=23 | 27..=30 | 36 | 38 => other_event(tag, from)?,
        31..=35 | 37 | 39 => account_event(tag, from)?,
        _ => return Err(from.input.malformed("the tag of an event")),
    })
}

fn task_event(tag: u8, from: &mut Source<'_, '_>) -> Result<Event, DecodeError> {
    Ok(match tag {
        5 => Event::TaskSpawned {
            task: from.task()?,
            pinned: from.one_of(&[false, true], "whether a task is pinned")?,
            site: from.name()?,
            line: from.line()?,
        },
        6 => Event::TaskPolled { task: from.task()? },
        7 => Event::TaskWoken { task: from.task()? },
        8 => Event::TaskEnded {
            task: from.task()?,
            severity: from.severity()?,
        },
        9 => Event::EndSuppressed {
            task: from.task()?,
            severity: from.severity()?,
        },
        10 => Event::CancelRequested {
            subject: from.subject()?,
            kind: from.one_of(&CANCEL_KINDS, "why it was cancelled")?,
        },
        11 => Event::CancelEscalated {
            subject: from.subject()?,
            stage: from.one_of(&STAGES, "a stage of cancellation")?,
        },
        12 => Event::Masked {
            subject: from.subject()?,
        },
        _ => Event::Unmasked {
            subject: from.subject()?,
        },
    })
}

fn later_task_event(tag: u8, from: &mut Source<'_, '_>) -> Result<Event, DecodeError> {
    Ok(match tag {
        24 => Event::WakeMerged { task: from.task()? },
        25 => Event::TaskAwaited {
            task: from.task()?,
            ended: from.one_of(&[false, true], "whether a task has ended")?,
        },
        _ => Event::TaskNamed {
            task: from.task()?,
            name: from.name()?,
        },
    })
}

fn account_event(tag: u8, from: &mut Source<'_, '_>) -> Result<Event, DecodeError> {
    Ok(match tag {
        31 => Event::BudgetNarrowed {
            subject: from.subject()?,
            budget: from.budget()?,
        },
        32 => Event::CostSpent {
            subject: from.subject()?,
            cost: from.input.varint()?,
        },
        33 => Event::FinalizerAdded {
            region: from.region()?,
        },
        34 => Event::FailureTaken { task: from.task()? },
        37 => Event::EventsOverwritten {
            count: from.input.varint()?,
        },
        39 => Event::MessagesMoved {
            resource: from.input.difference(&mut from.last.resource)?,
            change: from.input.difference(&mut 0)?.cast_signed(),
            held: from.input.varint()?,
        },
        _ => Event::PermitsMoved {
            resource: from.input.difference(&mut from.last.resource)?,
            change: from.input.difference(&mut 0)?.cast_signed(),
            free: from.input.varint()?,
        },
    })
}

fn other_event(tag: u8, from: &mut Source<'_, '_>) -> Result<Event, DecodeError> {
    Ok(match tag {
        16 => Event::ObligationReserved {
            obligation: from.obligation()?,
            holder: from.subject()?,
            kind: from.one_of(&OBLIGATION_KINDS, "what is owed")?,
        },
        17 => Event::ObligationSettled {
            obligation: from.obligation()?,
            settlement: from.one_of(&SETTLEMENTS, "how an obligation ended")?,
        },
        18 => Event::TimerSet { at: from.time()? },
        19 => Event::TimerFired { at: from.time()? },
        20 => Event::TimerCancelled { at: from.time()? },
        21 => Event::EntropyDrawn {
            value: from.entropy()?,
        },
        36 => Event::CancelUnchanged {
            subject: from.subject()?,
        },
        27 => Event::ClockAdvanced { to: from.time()? },
        28 => Event::JobQueued {
            job: from.input.varint()?,
        },
        38 => Event::HostJobQueued {
            job: from.input.varint()?,
        },
        29 => Event::JobStarted {
            job: from.input.varint()?,
        },
        30 => Event::FaultInjected {
            subject: from.nobody_or_subject()?,
            fault: from.name()?,
        },
        22 => Event::Mark {
            subject: from.subject()?,
            text: from.input.text()?.to_owned(),
        },
        _ => Event::Operation {
            subject: from.nobody_or_subject()?,
            resource: from.input.difference(&mut from.last.resource)?,
            name: from.name()?,
        },
    })
}
