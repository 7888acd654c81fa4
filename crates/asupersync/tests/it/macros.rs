//! The macros do what their expansions say, and refuse what is not theirs with a readable error.

use std::convert::Infallible;
use std::time::Duration;

use asupersync::sync::mpsc;
use asupersync::{
    Budget, Cancelled, Collect, Cx, Outcome, join, race, scope, select, spawn, try_join,
};

const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, PartialEq, thiserror::Error)]
enum AppError {
    #[error("refused")]
    Refused,
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

type End<T> = Outcome<T, AppError>;

async fn worker(_cx: Cx) -> Result<u32, AppError> {
    Ok(1)
}

#[asupersync::test]
async fn a_scope_waits_for_what_it_spawns(cx: Cx) {
    let base = 40;
    let end: End<u32> = scope!(cx, |scope| {
        let named = spawn!(scope, name = "adder", budget = Budget::new(), |cx| {
            cx.sleep(SECOND).await?;
            assert_eq!(cx.name().as_deref(), Some("adder"));
            Ok::<u32, AppError>(1)
        });
        let function = spawn!(scope, worker);
        let block = spawn!(scope, async { End::Ok(0) });
        let cx = scope.cx();
        let sum = named.join(cx).await.ok().unwrap() + function.join(cx).await.ok().unwrap();
        End::Ok(base + sum + block.join(cx).await.ok().unwrap())
    });
    assert_eq!(end, End::Ok(42));
}

#[asupersync::test]
async fn a_scope_takes_a_policy_and_a_budget(cx: Cx) {
    let end: End<bool> = scope!(cx, policy = Collect, budget = Budget::new(), |scope| {
        let bad = spawn!(scope, async { Err::<(), _>(AppError::Refused) });
        let good = spawn!(scope, |cx| {
            cx.sleep(SECOND).await?;
            Ok::<_, AppError>(())
        });
        let good = good.join(scope.cx()).await.is_ok();
        assert_eq!(bad.join(scope.cx()).await, End::Err(AppError::Refused));
        End::Ok(good)
    });
    assert_eq!(end, End::Ok(true), "under `Collect` siblings go on");
}

#[asupersync::test]
async fn groups_take_bodies_and_futures(cx: Cx) {
    let start = cx.now();
    let word = String::from("word");
    let both = join!(
        cx,
        |cx| {
            cx.sleep(SECOND).await?;
            Ok::<_, AppError>(word.len())
        },
        async {
            cx.sleep(SECOND).await?;
            Ok::<_, AppError>('b')
        },
    );
    assert_eq!(both, Outcome::Ok((4, 'b')));
    assert_eq!(cx.now().saturating_since(start), SECOND);
    let failed = try_join!(cx, worker(cx.clone()), async {
        Err::<(), _>(AppError::Refused)
    });
    assert_eq!(failed, Outcome::Err(AppError::Refused));
    let mut loser = None;
    let won = race!(
        cx,
        async move |cx: Cx| {
            cx.sleep(SECOND).await?;
            Ok::<_, Cancelled>(1)
        },
        |cx| {
            let slept = cx.sleep(9 * SECOND).await;
            loser = Some(slept.is_err());
            slept.map(|()| 2)
        }
    );
    assert_eq!(won, Outcome::Ok(1));
    assert_eq!(loser, Some(true), "it heard of its loss");
    assert_eq!(cx.now().saturating_since(start), 2 * SECOND);
}

#[asupersync::test(seeds = 60)]
async fn select_loses_no_message_and_its_handlers_are_the_callers_code(cx: Cx) {
    let end: Outcome<(), Infallible> = scope!(cx, |scope| {
        let (a_tx, mut a_rx) = mpsc::channel(1);
        let (b_tx, mut b_rx) = mpsc::channel(1);
        for tx in [a_tx, b_tx] {
            spawn!(scope, |cx| {
                for n in 0..20_u32 {
                    tx.send(&cx, n).await.unwrap();
                }
                Outcome::<(), Infallible>::Ok(())
            });
        }
        let cx = scope.cx();
        let mut seen = [0, 0];
        let (mut a_open, mut b_open) = (true, true);
        loop {
            select! { cx;
                a = a_rx.recv(cx), if a_open => match a {
                    Ok(n) => {
                        assert_eq!(n, seen[0], "none is lost and none comes twice");
                        seen[0] += 1;
                    }
                    Err(_) => a_open = false,
                },
                Ok(n) = b_rx.recv(cx), if b_open => {
                    assert_eq!(n, seen[1]);
                    seen[1] += 1;
                    b_open = seen[1] < 20;
                }
                else => break,
            }
        }
        assert_eq!(seen, [20, 20]);
        Outcome::Ok(())
    });
    assert!(end.is_ok());
}

#[asupersync::test]
async fn select_is_biased_when_told_and_fair_otherwise(cx: Cx) {
    let mut counts = [0, 0];
    for _ in 0..64 {
        let first = select! { cx; biased;
            _ = async {} => true,
            _ = async {} => false,
        };
        assert!(first);
        let index: usize = select! { cx;
            _ = async {} => 0,
            _ = async {} => 1,
        };
        counts[index] += 1;
    }
    assert!(counts.iter().all(|count| *count > 8), "{counts:?}");
}

#[asupersync::test]
async fn a_branch_whose_guard_fails_is_not_even_started(cx: Cx) {
    let mut started = false;
    let mut wait = |is_open: bool| {
        started = true;
        std::future::ready(is_open)
    };
    let got = select! { cx;
        _ = wait(true), if false => 1,
        mut got = std::future::ready(6) => { got += 1; got }
    };
    assert_eq!(got, 7);
    assert!(!started);
}

#[asupersync::test]
async fn a_panic_of_a_losing_branch_is_not_lost(cx: Cx) {
    struct Breaks;
    impl Drop for Breaks {
        fn drop(&mut self) {
            panic!("broken on the way out");
        }
    }
    let end: Outcome<(), Infallible> = scope!(cx, |scope| {
        let cx = scope.cx();
        select! { cx; biased;
            _ = async {
                let _breaks = Breaks;
                cx.sleep(SECOND).await
            } => {}
            _ = async {} => {}
        }
        Outcome::Ok(())
    });
    let Outcome::Panicked(payload) = end else {
        panic!("{end:?}");
    };
    assert!(payload.message().contains("broken on the way out"));
}

#[test]
fn what_is_not_theirs_is_refused_with_a_readable_error() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
