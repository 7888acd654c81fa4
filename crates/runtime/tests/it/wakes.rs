//! No wake is lost, wherever it comes from.

use std::future::poll_fn;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::task::{Poll, Waker};
use std::time::Duration;

use asupersync_io::ReadExt;
use asupersync_kernel::Cx;
use asupersync_net::TcpStream;
use asupersync_sync::{Notify, oneshot};

use crate::support::{End, block, run_on, runtime};

#[test]
fn a_foreign_thread_wakes_a_parked_task_every_time() {
    const ROUNDS: u32 = 2000;
    for workers in [1, 2, 4] {
        let (ask, asked) = mpsc::channel::<oneshot::Sender<u32>>();
        let foreign = std::thread::Builder::new()
            .spawn(move || {
                for (reply, round) in asked.into_iter().zip(0..) {
                    reply.send(round).unwrap();
                }
            })
            .unwrap();
        run_on(&mut runtime(workers), async move |cx| {
            cx.region(async |scope| {
                // A task and not the root body, so that any worker may have to be woken.
                scope.spawn(async move |cx: Cx| {
                    for round in 0..ROUNDS {
                        let (tx, mut rx) = oneshot::channel();
                        ask.send(tx).unwrap();
                        assert_eq!(rx.recv(&cx).await.unwrap(), round);
                    }
                    End::Ok(())
                });
                End::Ok(())
            })
            .await
            .flatten()
        });
        foreign.join().unwrap();
    }
}

/// The last worker awake watches for what other threads do, and there may be nobody else to hear the system.
#[test]
fn an_event_that_comes_while_a_worker_watches_is_heard() {
    const ROUNDS: u32 = 2000;
    for workers in [1, 2, 4] {
        let peer = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = peer.local_addr().unwrap();
        let (ask, asked) = mpsc::channel::<oneshot::Sender<()>>();
        let foreign = std::thread::Builder::new()
            .spawn(move || {
                let (mut stream, _) = peer.accept().unwrap();
                for (reply, round) in asked.into_iter().zip(0..) {
                    // Which is what makes a watch worth it.
                    reply.send(()).unwrap();
                    for _ in 0..round % 100 * 50 {
                        std::hint::spin_loop();
                    }
                    stream.write_all(&[7]).unwrap();
                }
            })
            .unwrap();
        run_on(&mut runtime(workers), async move |cx| {
            cx.region(async |scope| {
                scope.spawn(async move |cx: Cx| {
                    let mut stream = TcpStream::connect(&cx, address).await.unwrap();
                    for _ in 0..ROUNDS {
                        let (tx, mut rx) = oneshot::channel();
                        ask.send(tx).unwrap();
                        rx.recv(&cx).await.unwrap();
                        assert_eq!(stream.read(&mut [0]).await.unwrap(), 1);
                    }
                    End::Ok(())
                });
                End::Ok(())
            })
            .await
            .flatten()
        });
        foreign.join().unwrap();
    }
}

#[test]
fn every_sleeping_worker_is_woken_when_there_is_work_for_all() {
    const WORKERS: usize = 4;
    let (ask, asked) = mpsc::channel::<(Vec<oneshot::Sender<()>>, Arc<AtomicUsize>)>();
    let foreign = std::thread::Builder::new()
        .spawn(move || {
            for (round, (tasks, polled)) in asked.into_iter().enumerate() {
                // One that finds its start sent would block its worker before the others were polled.
                while polled.load(Ordering::Acquire) < WORKERS {
                    block(Duration::from_millis(1));
                }
                if round % 2 == 1 {
                    // Meanwhile all workers go to sleep; without, some are on their way to it.
                    block(Duration::from_millis(3));
                }
                for task in tasks {
                    task.send(()).unwrap();
                }
            }
        })
        .unwrap();
    run_on(&mut runtime(WORKERS), async move |cx| {
        for _ in 0..100 {
            let all = Arc::new(Barrier::new(WORKERS));
            let (starts, waits): (Vec<_>, Vec<_>) =
                (0..WORKERS).map(|_| oneshot::channel()).unzip();
            let polled = Arc::new(AtomicUsize::new(0));
            let end = cx
                .region(async |scope| {
                    for mut start in waits {
                        let (all, polled) = (Arc::clone(&all), Arc::clone(&polled));
                        scope.spawn(async move |cx: Cx| {
                            polled.fetch_add(1, Ordering::Release);
                            start.recv(&cx).await.unwrap();
                            // It blocks its worker until every worker has one.
                            all.wait();
                            End::Ok(())
                        });
                    }
                    ask.send((starts, polled)).unwrap();
                    End::Ok(())
                })
                .await;
            end.flatten()?;
        }
        End::Ok(())
    });
    foreign.join().unwrap();
}

#[test]
fn tasks_that_wake_each_other_between_workers_never_stall() {
    for workers in [1, 2, 4] {
        run_on(&mut runtime(workers), async |cx| {
            cx.region(async |scope| {
                for _ in 0..4 {
                    let (ping, pong) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
                    let (his, hers) = (Arc::clone(&ping), Arc::clone(&pong));
                    scope.spawn(async move |cx: Cx| {
                        for _ in 0..3000 {
                            ping.notify_one();
                            pong.notified(&cx).await.unwrap();
                        }
                        End::Ok(())
                    });
                    scope.spawn(async move |cx: Cx| {
                        for _ in 0..3000 {
                            his.notified(&cx).await.unwrap();
                            hers.notify_one();
                        }
                        End::Ok(())
                    });
                }
                End::Ok(())
            })
            .await
            .flatten()
        });
    }
}

#[test]
fn a_worker_of_another_runtime_wakes_a_task_and_does_not_run_it() {
    const ROUNDS: usize = 500;
    let (give, given) = mpsc::channel::<Waker>();
    let other = std::thread::Builder::new()
        .spawn(move || {
            run_on(&mut runtime(1), async move |cx: Cx| {
                // By value and by reference, within a poll of a task of its own.
                for (waker, by_value) in given.into_iter().zip([true, false].into_iter().cycle()) {
                    if by_value {
                        waker.wake();
                    } else {
                        waker.wake_by_ref();
                    }
                    cx.yield_now().await?;
                }
                End::Ok(())
            });
        })
        .unwrap();
    let home = std::thread::current().id();
    run_on(&mut runtime(1), async move |cx: Cx| {
        cx.region(async |scope| {
            scope.spawn(async move |_: Cx| {
                for _ in 0..ROUNDS {
                    let mut is_asked = false;
                    poll_fn(|task| {
                        assert_eq!(std::thread::current().id(), home);
                        if std::mem::replace(&mut is_asked, true) {
                            return Poll::Ready(());
                        }
                        give.send(task.waker().clone()).unwrap();
                        Poll::Pending
                    })
                    .await;
                }
                End::Ok(())
            });
            End::Ok(())
        })
        .await
        .flatten()
    });
    other.join().unwrap();
}
