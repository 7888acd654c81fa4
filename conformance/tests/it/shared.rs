//! What tasks share: channels and locks keep their promises between workers and cancellation reaches who waits on them.

use std::sync::Arc;

use asupersync_conformance::on_both_hosts;
use asupersync_core::{CancelKind, Outcome};
use asupersync_kernel::Cx;
use asupersync_sync::{Mutex, Notify, Semaphore, mpsc, oneshot};

type End<T> = Outcome<T, std::convert::Infallible>;

#[test]
fn what_goes_into_channels_and_locks_comes_out() {
    const TASKS: u64 = 8;
    const EACH: u64 = 60;
    on_both_hosts(async |cx| {
        let end = cx
            .region(async |scope| {
                let (tx, mut rx) = mpsc::channel(4);
                let (wide, mut unbounded) = mpsc::unbounded_channel();
                let mutex = Arc::new(Mutex::new(0_u64));
                let semaphore = Arc::new(Semaphore::new(3));
                let turn = Arc::new(Notify::new());
                turn.notify_one();
                let tasks: Vec<_> = (0..TASKS)
                    .map(|task| {
                        let (tx, wide, mutex) = (tx.clone(), wide.clone(), Arc::clone(&mutex));
                        let (semaphore, turn) = (Arc::clone(&semaphore), Arc::clone(&turn));
                        scope.spawn(async move |cx: Cx| {
                            for n in 0..EACH {
                                match (task + n) % 4 {
                                    0 => tx.send(&cx, n).await.unwrap(),
                                    1 => tx.reserve(&cx).await.unwrap().send(n).unwrap(),
                                    2 => wide.send(n).unwrap(),
                                    _ => {
                                        let permit = semaphore.acquire(&cx).await.unwrap();
                                        *mutex.lock(&cx).await.unwrap() += n;
                                        drop(permit);
                                        turn.notified(&cx).await.unwrap();
                                        turn.notify_one();
                                    }
                                }
                            }
                            End::Ok(())
                        })
                    })
                    .collect();
                drop((tx, wide));
                let mut sum = 0;
                while let Ok(n) = rx.recv(scope.cx()).await {
                    sum += n;
                }
                let mut batch = Vec::new();
                while unbounded
                    .recv_many(scope.cx(), &mut batch, 100)
                    .await
                    .is_ok()
                {}
                for task in tasks {
                    assert!(task.join(scope.cx()).await.is_ok());
                }
                assert_eq!(semaphore.available_permits(), 3);
                sum += batch.iter().sum::<u64>() + *mutex.lock(scope.cx()).await.unwrap();
                assert_eq!(sum, TASKS * EACH * (EACH - 1) / 2);
                End::Ok(())
            })
            .await;
        assert!(end.is_ok(), "{end:?}");
    });
}

#[test]
fn a_cancelled_region_is_left_by_whoever_waits_in_it() {
    on_both_hosts(async |cx| {
        let (tx, mut rx) = mpsc::channel(1);
        tx.try_send(0).unwrap();
        let mutex = Arc::new(Mutex::new(()));
        let held = mutex.try_lock_owned().unwrap();
        let end = cx
            .region(async |scope| {
                let (sender, lock) = (tx.clone(), Arc::clone(&mutex));
                scope.spawn(async move |cx: Cx| sender.send(&cx, 1).await.map_err(Stop::from));
                scope.spawn(async move |cx: Cx| {
                    drop(lock.lock(&cx).await?);
                    Ok::<_, Stop>(())
                });
                scope.spawn(async move |cx: Cx| {
                    let (_tx, mut rx) = oneshot::channel::<()>();
                    Ok::<_, Stop>(rx.recv(&cx).await?)
                });
                scope.spawn(async move |cx: Cx| {
                    let (_tx, mut rx) = mpsc::channel::<()>(1);
                    Ok::<_, Stop>(rx.recv(&cx).await?)
                });
                scope.spawn(async move |cx: Cx| {
                    let gate = Semaphore::new(0);
                    let permit = gate.acquire(&cx).await?;
                    drop(permit);
                    Ok::<_, Stop>(())
                });
                scope.spawn(async move |cx: Cx| {
                    let never = Notify::new();
                    never.notified(&cx).await?;
                    Ok::<_, Stop>(())
                });
                for _ in 0..8 {
                    scope.cx().yield_now().await?;
                }
                scope.cancel(CancelKind::User);
                Ok::<_, Stop>(())
            })
            .await;
        assert!(end.is_ok() || end.is_cancelled(), "{end:?}");
        drop(held);
        assert!(mutex.try_lock().is_ok());
        assert_eq!(rx.try_recv(), Ok(0));
        assert_eq!((rx.try_recv().is_err(), rx.capacity()), (true, 1));
    });
}

/// An application's error: `?` on any wait keeps a cancellation a cancellation.
#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error(transparent)]
    Cancelled(#[from] asupersync_core::Cancelled),
    #[error(transparent)]
    Send(#[from] mpsc::SendError<i32>),
    #[error(transparent)]
    Recv(#[from] mpsc::RecvError),
    #[error(transparent)]
    Once(#[from] oneshot::RecvError),
    #[error(transparent)]
    Lock(#[from] asupersync_sync::LockError),
    #[error(transparent)]
    Acquire(#[from] asupersync_sync::AcquireError),
}
