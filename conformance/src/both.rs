//! Running one scenario on both hosts.

use std::cell::Cell;
use std::convert::Infallible;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use asupersync_core::{LeakResponse, Outcome};
use asupersync_kernel::{Cx, LeakEscalation};
use asupersync_lab::{LabConfig, LabEnd, LabRuntime, Law, Trace};
use asupersync_runtime::RuntimeBuilder;

/// How many seeds a scenario runs under; `ASUPERSYNC_SEEDS` asks for another number.
const SEEDS: u64 = 16;

/// The folder into which the digest of every trace goes; set by `cargo xtask determinism`.
const DIGESTS: &str = "ASUPERSYNC_TRACE_DIGESTS";

/// A scenario in production that takes longer has hung.
const WATCHDOG: Duration = Duration::from_secs(60);

/// How the hosts are set up for a scenario.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    leak_response: LeakResponse,
    leak_escalation: Option<LeakEscalation>,
    expected: Vec<Law>,
}

impl Hosts {
    /// The defaults, and no broken law.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What the hosts do about a leaked obligation; the scenario leaks one.
    #[must_use]
    pub fn leaks(mut self, response: LeakResponse) -> Self {
        self.leak_response = response;
        self.expected.push(Law::ObligationLeak);
        self
    }

    /// A different response once leaks have become frequent.
    #[must_use]
    pub const fn leak_escalation(mut self, escalation: LeakEscalation) -> Self {
        self.leak_escalation = Some(escalation);
        self
    }

    /// Runs `scenario` on both hosts.
    ///
    /// # Panics
    /// If the scenario does, or breaks a law that is not expected; with the host, and the seed to replay.
    pub fn run<F, Fut>(&self, scenario: F)
    where
        F: Fn(Cx) -> Fut,
        Fut: Future<Output = ()>,
    {
        let scenario = &scenario;
        let body = async move |cx: Cx| {
            scenario(cx).await;
            Outcome::<(), Infallible>::Ok(())
        };
        if let Some(folder) = std::env::var_os(DIGESTS) {
            let mut digests = Digests::open(Path::new(&folder));
            for seed in seeds() {
                digests.add(seed, &self.under_the_lab(seed, body));
            }
            return;
        }
        for seed in seeds() {
            self.under_the_lab(seed, body);
        }
        for workers in [1, 2, 4] {
            self.in_production(workers, body);
        }
    }

    /// The trace of a run that was clean, and that a second run repeated.
    fn under_the_lab<F, Fut>(&self, seed: u64, body: F) -> Trace
    where
        F: Fn(Cx) -> Fut,
        Fut: Future<Output = Outcome<(), Infallible>>,
    {
        let config = || {
            let config = LabConfig::default().seed(seed);
            let config = config.obligation_leak_response(self.leak_response);
            match self.leak_escalation {
                Some(escalation) => config.leak_escalation(escalation),
                None => config,
            }
        };
        let first = LabRuntime::new(config()).run(&body);
        let replay = format!("lab, seed {seed}; replay: ASUPERSYNC_SEED={seed} cargo test");
        if let Outcome::Panicked(payload) = &first.outcome {
            panic!("{payload}\n  host: {replay}");
        }
        assert!(
            matches!(first.end, LabEnd::Finished),
            "{}\n  host: {replay}",
            first.failure()
        );
        for violation in &first.violations {
            assert!(
                self.expected.contains(&violation.law),
                "{violation}\n  host: {replay}"
            );
        }
        let second = LabRuntime::new(config()).run(&body);
        if let Some(divergence) = first.trace.divergence(&second.trace) {
            panic!("two runs of one seed gave two traces: {divergence}\n  host: {replay}");
        }
        first.trace
    }

    fn in_production<F, Fut>(&self, workers: usize, body: F)
    where
        F: Fn(Cx) -> Fut,
        Fut: Future<Output = Outcome<(), Infallible>>,
    {
        let builder = RuntimeBuilder::new()
            .worker_threads(workers)
            .handle_signals(false)
            // One of the three runs is governed: advice must not change what a program means.
            .governor_interval(if workers == 2 { 4 } else { 0 })
            // In the other two obligations are only counted, as in a release build.
            .record_obligations(workers == 2)
            .obligation_leak_response(self.leak_response)
            .on_report(|_| {});
        let builder = match self.leak_escalation {
            Some(escalation) => builder.leak_escalation(escalation),
            None => builder,
        };
        let mut runtime = builder
            .build()
            .expect("the machine has the resources for a runtime");
        let _watchdog = Watchdog::start(workers);
        let end = runtime.block_on(body);
        if let Outcome::Panicked(payload) = &end {
            panic!("{payload}\n  host: runtime with {workers} workers");
        }
        assert!(end.is_ok(), "the root body ended with {end:?}");
        let left = &runtime.last_shutdown().unfinished;
        assert!(
            left.is_empty(),
            "{left:?} was left by a runtime with {workers} workers"
        );
    }
}

/// Runs `scenario` on both hosts with their defaults; see [`Hosts::run`].
///
/// # Panics
/// As [`Hosts::run`].
pub fn on_both_hosts<F, Fut>(scenario: F)
where
    F: Fn(Cx) -> Fut,
    Fut: Future<Output = ()>,
{
    Hosts::new().run(scenario);
}

/// A scenario's digests, a line a run.
struct Digests(File);

impl Digests {
    /// Named after the test, and counted where a test runs several scenarios.
    fn open(folder: &Path) -> Self {
        thread_local! {
            static SCENARIO: Cell<u32> = const { Cell::new(0) };
        }
        let scenario = SCENARIO.replace(SCENARIO.get() + 1);
        let thread = std::thread::current();
        let test = thread.name().expect("a test has a name");
        let name = format!("{}-{scenario}", test.replace("::", "-"));
        let file = File::create_new(folder.join(&name));
        Self(
            file.unwrap_or_else(|error| panic!("the digests of {name} cannot be written: {error}")),
        )
    }

    fn add(&mut self, seed: u64, trace: &Trace) {
        let bytes = trace.encode().expect("a scenario is far below the limit");
        let digest = blake3::hash(&bytes);
        writeln!(self.0, "{seed} {} {digest}", trace.events.len())
            .expect("the folder stays writable");
    }
}

fn seeds() -> std::ops::Range<u64> {
    let number = |name| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    match number("ASUPERSYNC_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("ASUPERSYNC_SEEDS").unwrap_or(SEEDS),
    }
}

/// Ends the process, with a word, if a scenario hangs.
struct Watchdog(Arc<AtomicBool>);

impl Watchdog {
    fn start(workers: usize) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&done);
        let scenario = std::thread::current()
            .name()
            .unwrap_or("a scenario")
            .to_owned();
        std::thread::Builder::new()
            .spawn(move || {
                std::thread::park_timeout(WATCHDOG);
                if !seen.load(Ordering::Acquire) {
                    eprintln!("{scenario} hangs on a runtime with {workers} workers");
                    std::process::abort();
                }
            })
            .expect("a thread can be started");
        Self(done)
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}
