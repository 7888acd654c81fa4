//! The lab's loop: draw a step, or let time pass.

use std::any::TypeId;
use std::fmt;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Waker;

use asupersync_core::{Budget, ErrOf, IntoOutcome, OkOf, Time};
use asupersync_kernel::mutation::{Mutation, is_on};
use asupersync_kernel::{Cx, Host, Root, RootOptions, WorkerId, run_root};
use asupersync_trace::Trace;

use crate::chaos;
use crate::config::LabConfig;
use crate::host::{Choice, LabHost, Next};
use crate::instruments::Instruments;
use crate::invariant::{Invariants, Moment};
use crate::node::crash_nodes;
use crate::oracle::{Law, Violation, check_finished, check_stalled, idle_holders, stalled_holders};
use crate::ports::{Port, Ports};
use crate::report::{LabEnd, LabReport};
use crate::schedule::Schedule;
use crate::snapshot::Snapshots;
use crate::strategy::Strategy;

/// Runs one program under a seed.
pub struct LabRuntime {
    config: LabConfig,
    ports: Vec<Port>,
    invariants: Invariants,
}

impl fmt::Debug for LabRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LabRuntime")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl LabRuntime {
    /// A lab that has run nothing yet.
    #[must_use]
    pub const fn new(config: LabConfig) -> Self {
        Self {
            config,
            ports: Vec::new(),
            invariants: Invariants::new(),
        }
    }

    /// Adds a driver of a higher layer, found by its type with `cx.port()`; a `NetPort` replaces the simulated network, and an `FsPort` the simulated disks.
    #[must_use]
    pub fn port<P: Send + Sync + 'static>(mut self, port: P) -> Self {
        self.ports.push((TypeId::of::<P>(), Box::new(port)));
        self
    }

    /// Adds an invariant: `check` is called whenever nothing can run, before time goes on, and at the end.
    ///
    /// What it says against the program's state is a violation of [`Law::Invariant`], told once.
    /// # Examples
    /// ```
    /// use asupersync_core::Cancelled;
    /// use asupersync_lab::{LabConfig, LabRuntime, Law};
    /// let lab = LabRuntime::new(LabConfig::default()).invariant("it is early", |moment| {
    ///     if moment.now.as_nanos() < 1_000 { Ok(()) } else { Err(format!("it is {}", moment.now)) }
    /// });
    /// let report = lab.run(async |cx| cx.sleep(std::time::Duration::from_secs(1)).await);
    /// assert_eq!(report.violations[0].law, Law::Invariant);
    /// ```
    #[must_use]
    pub fn invariant(
        mut self,
        name: &'static str,
        check: impl FnMut(Moment) -> Result<(), String> + Send + 'static,
    ) -> Self {
        self.invariants.add(name, Box::new(check));
        self
    }

    /// Runs a program to its end, or until nothing can happen any more.
    pub fn run<F, Fut>(self, body: F) -> LabReport<OkOf<Fut>, ErrOf<Fut>>
    where
        F: FnOnce(Cx) -> Fut,
        Fut: Future<Output: IntoOutcome>,
    {
        let mut chooser = self.config.strategy.chooser(self.config.seed);
        chooser.begin(0);
        self.run_with(Box::new(Instruments::new(chooser)), body).0
    }

    /// Runs a program under a chooser that has begun, and gives back what was lent.
    pub(crate) fn run_with<F, Fut>(
        self,
        instruments: Box<Instruments>,
        body: F,
    ) -> (LabReport<OkOf<Fut>, ErrOf<Fut>>, Box<Instruments>)
    where
        F: FnOnce(Cx) -> Fut,
        Fut: Future<Output: IntoOutcome>,
    {
        let seed = self.config.seed;
        let host = Arc::new_cyclic(|host| {
            let LabConfig { net, chaos, .. } = &self.config;
            let ports = Ports::new(self.ports, host.clone(), net.clone(), *chaos);
            LabHost::new(self.config.clone(), instruments, ports)
        });
        let options = RootOptions {
            budget: Budget::UNLIMITED,
            home: WorkerId(0),
            waker: Waker::noop().clone(),
        };
        let mut end = LabEnd::Finished;
        let mut seen = 0;
        let mut invariants = self.invariants;
        let mut snapshots = Snapshots::new(&self.config);
        let kernel_host: Arc<dyn Host> = host.clone();
        let root = run_root(kernel_host, options, body, |root| {
            snapshots.look(&host, root);
            match turn(&host, root, &self.config, &mut invariants) {
                Turn::Ran => ControlFlow::Continue(()),
                Turn::End(reached) => {
                    seen = host.event_count();
                    end = reached;
                    ControlFlow::Break(())
                }
            }
        });
        let elapsed = host.now().saturating_since(Time::ZERO);
        let (events, reports) = host.take_events();
        let decisions = host.take_decisions();
        drop_leftovers(&host);
        let instruments = host.take_instruments();
        let mut instruments = instruments.expect("they are taken once, here");
        instruments.decided = decisions.decided;
        instruments.has_asked = decisions.has_asked;
        let trace = Trace { events };
        let mut violations = violations(&trace, seen, &end, &self.config);
        violations.extend(foreign_thread(&host));
        violations.extend(invariants.into_found());
        let fingerprint = match end {
            LabEnd::Abandoned => None,
            _ => decisions.fingerprint,
        };
        let report = LabReport {
            outcome: root.outcome,
            end,
            seed,
            schedule: Schedule::new(decisions.picks, decisions.faults, self.config.cut),
            is_disturbed: decisions.is_disturbed,
            has_stopped_node: decisions.has_stopped_node,
            fingerprint,
            steps: host.steps(),
            elapsed,
            trace,
            snapshots: snapshots.into_taken(),
            reports,
            violations,
        };
        (report, instruments)
    }
}

/// Ends the tasks that a run leaves behind, which may wake others meanwhile.
fn drop_leftovers(host: &LabHost) {
    while let Some(left) = host.drain() {
        drop(left);
    }
}

/// That another thread reached into the lab, if one did.
fn foreign_thread(host: &LabHost) -> Option<Violation> {
    let foreign = host.take_foreign()?;
    Some(Violation {
        law: Law::ForeignThread,
        message: format!("{} by the thread `{}`", foreign.what, foreign.thread),
        event: foreign.event,
    })
}

/// The laws that a run broke; of a run that did not end only those that do not speak of its end.
///
/// What was recorded after the first `seen` events is the giving up of a run that did not end.
fn violations(trace: &Trace, seen: usize, end: &LabEnd, config: &LabConfig) -> Vec<Violation> {
    let is_fair = matches!(config.strategy, Strategy::Random | Strategy::Fifo);
    let mut holders = match end {
        LabEnd::Stalled(_) => stalled_holders(trace),
        LabEnd::Finished | LabEnd::StepLimit(_) | LabEnd::Abandoned => Vec::new(),
    };
    let mut violations = match end {
        LabEnd::Finished => check_finished(trace, is_fair),
        LabEnd::Stalled(_) => check_stalled(&trace.events[..seen], &holders),
        LabEnd::StepLimit(_) | LabEnd::Abandoned => Vec::new(),
    };
    holders.extend(
        config
            .futurelock_max_idle_steps
            .into_iter()
            .flat_map(|steps| idle_holders(trace, steps)),
    );
    holders.sort_unstable();
    holders.dedup();
    violations.extend(holders.iter().map(|futurelock| Violation {
        law: Law::Futurelock,
        message: futurelock.to_string(),
        event: trace.events.len(),
    }));
    violations
}

enum Turn {
    Ran,
    End(LabEnd),
}

fn turn(host: &LabHost, root: &Root, config: &LabConfig, invariants: &mut Invariants) -> Turn {
    if root.is_quiescent() {
        look(host, invariants, true);
        return Turn::End(LabEnd::Finished);
    }
    if host.steps() >= config.max_steps {
        return Turn::End(LabEnd::StepLimit(root.unfinished()));
    }
    match host.next() {
        Next::GiveUp => return Turn::End(LabEnd::Abandoned),
        Next::Run(Choice::Task(task), place) => {
            chaos::run(host, config, task, place);
            crash_nodes(host);
        }
        Next::Run(Choice::Job { run, .. }, _) => {
            // The kernel's jobs catch their own panics; a destructor's must not unwind past the root.
            let _ = catch_unwind(AssertUnwindSafe(|| run_job(run)));
            host.may_strike(&config.chaos, host.place(), None);
            crash_nodes(host);
        }
        Next::Idle => {
            look(host, invariants, false);
            let Some(due) = host.advance() else {
                return Turn::End(LabEnd::Stalled(root.unfinished()));
            };
            wake_all(due);
        }
    }
    Turn::Ran
}

/// Looks at the program's invariants.
fn look(host: &LabHost, invariants: &mut Invariants, is_end: bool) {
    if invariants.is_empty() {
        return;
    }
    let moment = Moment {
        now: host.now(),
        step: host.steps(),
        is_end,
    };
    invariants.look(moment, host.event_count());
}

/// Runs a job on this thread, as one step.
fn run_job(run: Box<dyn FnOnce() + Send>) {
    if is_on(Mutation::JobOnAThread) {
        #[expect(
            clippy::disallowed_methods,
            reason = "the defect is that it is another thread"
        )]
        let thread = std::thread::spawn(run);
        let _ = thread.join();
    } else {
        run();
    }
}

/// Wakes what is due; as in production, a timer's waker may be the program's.
pub(crate) fn wake_all(due: Vec<Waker>) {
    for waker in due {
        let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
    }
}
