//! At every step of every program, the structure is what the kernel's tree says, can be one, and is reached again.

use std::time::Duration;

use asupersync_kernel::Cx;
use asupersync_lab::{Faults, LabConfig, LabReport, LabRuntime, RestorableSnapshot};
use asupersync_zoo::{Body, Program, programs};

fn bodies(program: &Program) -> [fn(Cx) -> Body; 2] {
    [program.buggy, program.fixed]
}

/// A run with a snapshot after each of its first steps.
fn taken(config: LabConfig, body: fn(Cx) -> Body) -> Vec<RestorableSnapshot> {
    let config = (0..STEPS).fold(config, LabConfig::snapshot_at);
    let report: LabReport<_, _> = LabRuntime::new(config).run(body);
    report.snapshots
}

/// In a debug build each snapshot is also compared with the kernel's own tree when it is taken.
fn check(name: &str, config: &LabConfig, body: fn(Cx) -> Body) -> usize {
    let snapshots = taken(config.clone(), body);
    for snapshot in &snapshots {
        let step = snapshot.step();
        if let Err(invalid) = snapshot.validate() {
            panic!("{name}: {invalid}\n{snapshot}");
        }
        snapshot
            .verify_integrity()
            .unwrap_or_else(|error| panic!("{name} at step {step}: {error}"));
        let read = RestorableSnapshot::decode(&snapshot.encode()).expect("it was just written");
        assert_eq!(read, *snapshot, "{name} at step {step}");
    }
    for snapshot in snapshots.iter().step_by(RESTORED_EACH) {
        let report = LabRuntime::new(snapshot.restore(config.clone())).run(body);
        let again = report
            .snapshots
            .first()
            .map(RestorableSnapshot::content_hash);
        assert_eq!(
            again,
            Some(snapshot.content_hash()),
            "{name} comes to step {} again:\n{snapshot}",
            snapshot.step()
        );
    }
    snapshots.len()
}

#[test]
fn every_step_of_every_program_has_a_valid_structure_that_is_reached_again() {
    let mut checked = 0;
    for program in programs() {
        for seed in 0..SEEDS {
            let config = program.config().seed(seed);
            for body in bodies(program) {
                checked += check(program.name, &config, body);
            }
        }
    }
    assert!(checked > 5_000, "only {checked} snapshots");
}

/// Something of everything.
fn faults() -> Faults {
    let while_away = Duration::from_millis(50);
    Faults::none()
        .cancel(0.02)
        .exhaust(0.02)
        .panic(0.02)
        .delay(0.1, while_away)
        .wake_storm(0.1)
        .clock_jump(0.1, while_away)
}

#[test]
fn faults_are_part_of_the_way() {
    let mut checked = 0;
    for program in programs().iter().step_by(3) {
        for seed in 0..SEEDS {
            let config = program.config().seed(seed).faults(faults());
            checked += check(program.name, &config, program.fixed);
        }
    }
    assert!(checked > 500, "only {checked} snapshots");
}

const SEEDS: u64 = 3;
const STEPS: u64 = 80;
/// Every so many steps of a run is restored.
const RESTORED_EACH: usize = 7;
