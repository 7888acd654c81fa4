//! The contract of requests with replies.

use std::sync::{Arc, Mutex as StdMutex};
use std::thread;

use asupersync_core::{
    CancelKind, Collect, Effect, IntoOutcome, LeakResponse, ObligationKind, Outcome,
};
use asupersync_kernel::{Cx, RegionOptions, Report};
use asupersync_lab::{LabConfig, LabRuntime};
use asupersync_sync::session::{
    self, AcceptError, CallError, CallFailure, ReplyFailure, TryAcceptError,
};
use futures_util::future::FutureExt;
use futures_util::poll;

use crate::support::{End, drop_after, settle, under_seeds, within};

type Called = Result<u32, CallError<u32>>;

fn failure(called: &Called) -> (Option<u32>, CallFailure, Effect) {
    let error = called.as_ref().expect_err("the call has failed");
    (error.request, error.failure.clone(), error.effect())
}

#[test]
fn a_call_is_answered_with_its_own_reply_in_whatever_order() {
    under_seeds(60, async |cx| {
        within(&cx, async |scope| {
            let (client, mut server) = session::channel::<u32, u32>(2);
            let calls: Vec<_> = (0..8)
                .map(|n| (n, client.clone()))
                .map(|(n, client)| {
                    scope.spawn(async move |cx: Cx| End::Ok((n, client.call(&cx, n).await)))
                })
                .collect();
            drop(client);
            scope.spawn(async move |cx: Cx| {
                let mut open = Vec::new();
                loop {
                    match server.try_accept(&cx) {
                        Ok(accepted) => open.push(accepted),
                        Err(TryAcceptError::Empty) if open.is_empty() => {
                            let Ok(accepted) = server.accept(&cx).await else {
                                break;
                            };
                            open.push(accepted);
                        }
                        Err(_) if open.is_empty() => break,
                        Err(_) => {}
                    }
                    if open.len() == 3 || cx.random_u64() % 3 == 0 {
                        let pick = cx.random_u64() as usize % open.len();
                        let (request, reply): (u32, session::Reply<u32, u32>) =
                            open.swap_remove(pick);
                        reply.send(request * 10).unwrap();
                    }
                    let _ = cx.yield_now().await;
                }
                End::Ok(())
            });
            // The server stops only when no client is left, so every call ends before.
            for call in calls {
                let (n, called) = call.join(scope.cx()).await.ok().unwrap();
                match called {
                    Ok(answer) => assert_eq!(answer, n * 10),
                    Err(error) => panic!("{error}"),
                }
            }
        })
        .await;
    });
}

#[test]
fn a_dropped_or_aborted_reply_is_an_error_at_the_caller() {
    under_seeds(10, async |cx| {
        let (client, mut server) = session::channel::<u32, u32>(2);
        for aborts in [true, false] {
            let mut call = Box::pin(client.call(&cx, 1));
            assert!(poll!(&mut call).is_pending());
            let (request, reply) = server.accept(&cx).await.unwrap();
            assert!(request == 1 && reply.is_wanted());
            if aborts {
                reply.abort();
            } else {
                drop(reply);
            }
            let end = failure(&call.await);
            assert_eq!(end, (None, CallFailure::NotAnswered, Effect::Unknown));
        }
    });
}

#[test]
fn a_forgotten_reply_is_an_error_at_the_caller_whatever_is_done_about_leaks() {
    for response in [
        LeakResponse::Panic,
        LeakResponse::Log,
        LeakResponse::Silent,
        LeakResponse::Recover,
    ] {
        for stashes in [true, false] {
            let config = LabConfig::default().obligation_leak_response(response);
            let report = LabRuntime::new(config).run(async move |cx: Cx| {
                let (client, server) = session::channel::<u32, u32>(2);
                let stash = Arc::new(StdMutex::new(Vec::new()));
                // A panic of the server must not cancel the caller first.
                let options = RegionOptions::new().policy(Collect);
                let end = cx
                    .region_with(options, async |scope| {
                        let kept = Arc::clone(&stash);
                        let serve = scope.spawn(async move |cx: Cx| {
                            let mut server = server;
                            let (_, reply) = server.accept(&cx).await.unwrap();
                            if stashes {
                                kept.lock().unwrap().push(reply);
                            } else {
                                std::mem::forget(reply);
                            }
                            End::Ok(())
                        });
                        let end = failure(&client.call(scope.cx(), 1).await);
                        assert_eq!(end, (None, CallFailure::NotAnswered, Effect::Unknown));
                        let served = serve.join(scope.cx()).await;
                        let panicked = matches!(served, Outcome::Panicked(_));
                        assert_eq!(panicked, response == LeakResponse::Panic);
                        if let Some(reply) = stash.lock().unwrap().pop() {
                            let error = reply.send(7).unwrap_err();
                            assert_eq!((error.response, error.failure), (7, ReplyFailure::Leaked));
                        }
                        End::Ok(())
                    })
                    .await;
                assert!(end.is_ok(), "the joiner took the server's end");
                End::Ok(())
            });
            assert!(report.outcome.is_ok(), "{:?}", report.outcome);
            let owed = report.reports.iter().any(|report| {
                matches!(report, Report::ObligationLeaked { owed, .. } if owed[0].kind == ObligationKind::Reply)
            });
            let is_reported = matches!(response, LeakResponse::Log | LeakResponse::Recover);
            assert_eq!(owed, is_reported);
        }
    }
}

#[test]
fn an_adopted_reply_is_owed_by_the_task_that_adopted_it() {
    under_seeds(30, async |cx| {
        within(&cx, async |scope| {
            let (client, mut server) = session::channel::<u32, u32>(2);
            let (give, mut take) = asupersync_sync::mpsc::channel(1);
            // This task ends at once; without adoption that would be a leak.
            scope.spawn(async move |cx: Cx| {
                let (request, reply) = server.accept(&cx).await.unwrap();
                let (adopted, mut wait) = asupersync_sync::oneshot::channel::<()>();
                give.send(&cx, (request, reply, adopted)).await.unwrap();
                let _ = wait.recv(&cx).await;
                End::Ok(())
            });
            scope.spawn(async move |cx: Cx| {
                let (request, reply, adopted) = take.recv(&cx).await.unwrap();
                let reply = reply.adopt(&cx);
                drop(adopted);
                settle(&cx).await;
                reply.send(request + 1).unwrap();
                End::Ok(())
            });
            assert_eq!(client.call(scope.cx(), 1).await, Ok(2));
        })
        .await;
    });
}

#[test]
fn a_cancelled_call_takes_its_request_back_unless_it_was_taken() {
    under_seeds(30, async |cx| {
        within(&cx, async |scope| {
            let (client, mut server) = session::channel::<u32, u32>(1);
            let spawn = |n| {
                let client = client.clone();
                scope.spawn(async move |cx: Cx| End::Ok(client.call(&cx, n).await))
            };
            let taken = spawn(1);
            let (_, mut reply) = server.accept(scope.cx()).await.unwrap();
            let queued = spawn(2);
            settle(scope.cx()).await;
            let waiting = spawn(3);
            settle(scope.cx()).await;
            for (call, request) in [(&taken, None), (&queued, Some(2)), (&waiting, Some(3))] {
                call.cancel();
                let _ = request;
            }
            for (call, request) in [(taken, None), (queued, Some(2)), (waiting, Some(3))] {
                let called = call.join(scope.cx()).await.ok().unwrap();
                let (back, failure, effect) = failure(&called);
                assert_eq!(back, request);
                assert!(matches!(failure, CallFailure::Cancelled(_)));
                let expected = if request.is_some() {
                    Effect::NotStarted
                } else {
                    Effect::Unknown
                };
                assert_eq!(effect, expected);
                assert!(called.into_outcome().is_cancelled());
            }
            reply.unwanted(scope.cx()).await.unwrap();
            assert!(!reply.is_wanted());
            let error = reply.send(9).unwrap_err();
            assert_eq!((error.response, error.failure), (9, ReplyFailure::Unwanted));
            // What was withdrawn is passed over, and the session goes on.
            assert_eq!(
                server.try_accept(scope.cx()).map(drop),
                Err(TryAcceptError::Empty)
            );
            let call = spawn(4);
            let (request, reply) = server.accept(scope.cx()).await.unwrap();
            reply.send(request).unwrap();
            assert_eq!(call.join(scope.cx()).await.ok().unwrap(), Ok(4));
        })
        .await;
    });
}

#[test]
fn a_late_reply_reaches_nobody_else() {
    under_seeds(10, async |cx| {
        let (client, mut server) = session::channel::<u32, u32>(1);
        let mut first = Box::pin(client.call(&cx, 1));
        assert!(poll!(&mut first).is_pending());
        let (_, late) = server.accept(&cx).await.unwrap();
        drop(first);
        let mut second = Box::pin(client.call(&cx, 2));
        assert!(poll!(&mut second).is_pending());
        let (_, reply) = server.accept(&cx).await.unwrap();
        assert_eq!(late.send(100).unwrap_err().response, 100);
        assert!(poll!(&mut second).is_pending());
        reply.send(200).unwrap();
        assert_eq!(second.await, Ok(200));
    });
}

#[test]
fn a_server_that_goes_hands_waiting_requests_back() {
    under_seeds(30, async |cx| {
        within(&cx, async |scope| {
            let (client, server) = session::channel::<u32, u32>(1);
            let calls: Vec<_> = (0..3)
                .map(|n| (n, client.clone()))
                .map(|(n, client)| {
                    scope.spawn(async move |cx: Cx| End::Ok((n, client.call(&cx, n).await)))
                })
                .collect();
            settle(scope.cx()).await;
            drop(server);
            for call in calls {
                let (n, called) = call.join(scope.cx()).await.ok().unwrap();
                let end = failure(&called);
                assert_eq!(end, (Some(n), CallFailure::Closed, Effect::NotStarted));
            }
            client.closed(scope.cx()).await.unwrap();
            let end = failure(&client.call(scope.cx(), 9).await);
            assert_eq!(end, (Some(9), CallFailure::Closed, Effect::NotStarted));
            assert!(client.reserve(scope.cx()).await.is_err());
        })
        .await;
    });
}

#[test]
fn a_reserved_place_is_used_or_given_back() {
    under_seeds(1, async |cx| {
        let (client, mut server) = session::channel::<u32, u32>(1);
        let permit = client.reserve(&cx).await.unwrap();
        assert_eq!(client.capacity(), 0);
        permit.abort();
        assert_eq!(client.capacity(), 1);
        let permit = client.reserve(&cx).await.unwrap();
        server.close();
        let mut call = Box::pin(permit.call(&cx, 3));
        assert!(poll!(&mut call).is_pending());
        let (request, reply) = server.accept(&cx).await.unwrap();
        reply.send(request + 1).unwrap();
        assert_eq!(call.await, Ok(4));
        assert_eq!(server.accept(&cx).await.map(drop), Err(AcceptError::Closed));
    });
}

#[test]
fn an_answer_that_is_there_is_given_to_a_caller_that_was_cancelled() {
    under_seeds(20, async |cx| {
        within(&cx, async |scope| {
            let (client, mut server) = session::channel::<u32, u32>(1);
            let call = scope.spawn(async move |cx: Cx| End::Ok(client.call(&cx, 1).await));
            let (_, reply) = server.accept(scope.cx()).await.unwrap();
            reply.send(2).unwrap();
            call.cancel_with(CancelKind::Timeout);
            match call.join(scope.cx()).await.ok() {
                Some(called) => assert_eq!(called, Ok(2)),
                None => panic!("the body returns what it got"),
            }
        })
        .await;
    });
}

/// Each request ends once: answered, handed back, or unknown because it was taken.
#[test]
fn requests_in_are_answers_and_requests_out_wherever_calls_are_dropped() {
    under_seeds(120, async |cx| {
        within(&cx, async |scope| {
            let live = Arc::new(());
            let (client, mut server) = session::channel::<Arc<()>, Arc<()>>(2);
            let calls: Vec<_> = (0..6)
                .map(|_| (client.clone(), Arc::clone(&live)))
                .map(|(client, token)| {
                    scope.spawn(async move |cx: Cx| {
                        for _ in 0..5 {
                            let polls = 1 + cx.random_u64() % 6;
                            let call = client.call(&cx, Arc::clone(&token));
                            if let Some(Err(error)) = drop_after(&cx, call, polls).await {
                                assert!(error.request.is_none());
                            }
                        }
                        End::Ok(())
                    })
                })
                .collect();
            drop(client);
            let serves = scope.spawn(async move |cx: Cx| {
                while let Ok((request, reply)) = server.accept(&cx).await {
                    let _ = cx.yield_now().await;
                    match cx.random_u64() % 3 {
                        0 => drop(reply),
                        _ => drop(reply.send(request)),
                    }
                }
                End::Ok(())
            });
            for call in calls {
                call.join(scope.cx()).await.ok().unwrap();
            }
            serves.join(scope.cx()).await.ok().unwrap();
            assert_eq!(Arc::strong_count(&live), 1, "nothing is left anywhere");
        })
        .await;
    });
}

#[test]
fn foreign_threads_call() {
    under_seeds(1, async |cx| {
        let (client, mut server) = session::channel::<u32, u32>(4);
        thread::scope(|scope| {
            scope.spawn(move || {
                (0..100).for_each(|n| assert_eq!(client.blocking_call(n), Ok(n + 1)));
            });
            loop {
                match server.try_accept(&cx) {
                    Ok((request, reply)) => reply.send(request + 1).unwrap(),
                    Err(TryAcceptError::Empty) => thread::yield_now(),
                    Err(_) => break,
                }
            }
        });
        assert!(server.accept(&cx).now_or_never().unwrap().is_err());
    });
}
