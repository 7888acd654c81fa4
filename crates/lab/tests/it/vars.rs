//! Variables whose accesses the lab sees.

use std::collections::BTreeSet;
use std::sync::Arc;

use asupersync_core::{Cancelled, Outcome};
use asupersync_kernel::{Cx, Event};
use asupersync_lab::{LabConfig, LabReport, LabRuntime, Trace, Var};

type End<T> = Result<T, Cancelled>;

/// The accesses to variables, in order, with the step of each.
fn accesses(trace: &Trace) -> Vec<(u64, String)> {
    let of_vars = |event: &Event| match event {
        Event::Operation { name, .. } if name.starts_with("var.") => Some(name.to_string()),
        _ => None,
    };
    trace
        .events
        .iter()
        .filter_map(|traced| of_vars(&traced.event).map(|name| (traced.step, name)))
        .collect()
}

fn run<T, F, Fut>(program: F) -> LabReport<T, Cancelled>
where
    F: FnOnce(Cx) -> Fut,
    Fut: Future<Output = End<T>>,
{
    LabRuntime::new(LabConfig::default()).run(program)
}

#[test]
fn every_access_is_a_step_of_its_own_and_is_recorded_as_what_it_is() {
    let report = run(async |cx: Cx| {
        let var = Var::new(1);
        assert_eq!(var.get(&cx).await?, 1);
        var.set(&cx, 2).await?;
        assert_eq!(
            var.update(&cx, |value| std::mem::replace(value, 3)).await?,
            2
        );
        assert_eq!(var.swap(&cx, 4).await?, 3);
        assert!(var.compare_exchange(&cx, &4, 5).await?);
        assert!(!var.compare_exchange(&cx, &4, 6).await?);
        Ok(var.get_now())
    });
    report.assert_clean();
    assert_eq!(report.outcome, Outcome::Ok(5));
    let found = accesses(&report.trace);
    let names: Vec<&str> = found.iter().map(|(_, name)| name.as_str()).collect();
    let expected = [
        "var.read",
        "var.write",
        "var.update",
        "var.update",
        "var.update",
        "var.read",
        "var.read",
    ];
    assert_eq!(names, expected);
    let steps: BTreeSet<u64> = found.iter().map(|(step, _)| *step).collect();
    assert_eq!(steps.len(), 6, "only `get_now` shares its step: {found:?}");
}

#[test]
fn an_access_that_is_cancelled_does_nothing() {
    let report = run(async |cx: Cx| {
        let var = Arc::new(Var::new(0));
        let end = cx
            .region(async |scope| {
                let inner = Arc::clone(&var);
                let task = scope.spawn(async move |cx: Cx| inner.set(&cx, 1).await);
                task.cancel();
                End::Ok(task.join(scope.cx()).await)
            })
            .await;
        let is_cancelled = |end: &Outcome<(), Cancelled>| end.is_cancelled();
        assert!(end.ok().as_ref().is_some_and(is_cancelled));
        Ok(var.get_now())
    });
    report.assert_clean();
    assert_eq!(report.outcome, Outcome::Ok(0));
    let names: Vec<String> = accesses(&report.trace)
        .into_iter()
        .map(|(_, name)| name)
        .collect();
    assert_eq!(names, ["var.read"], "the cancelled write left no record");
}

#[test]
fn two_variables_are_two_resources() {
    let report = run(async |cx: Cx| {
        let (one, two) = (Var::new(0), Var::new(0));
        one.set(&cx, 1).await?;
        two.set(&cx, 1).await?;
        one.set(&cx, 2).await
    });
    report.assert_clean();
    let resources: Vec<u64> = report
        .trace
        .iter()
        .filter_map(|event| match event {
            Event::Operation { resource, .. } => Some(*resource),
            _ => None,
        })
        .collect();
    assert_eq!(resources.len(), 3);
    assert_eq!(resources[0], resources[2]);
    assert_ne!(resources[0], resources[1]);
}

#[test]
fn a_change_that_panics_leaves_the_variable_usable() {
    let var = Var::new(1);
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        var.update_now(|value| {
            *value = 2;
            panic!("on purpose");
        });
    }));
    assert!(caught.is_err());
    assert_eq!(var.get_now(), 2);
}
