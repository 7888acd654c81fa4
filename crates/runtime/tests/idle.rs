//! What an idle runtime costs: the processor time of this process while its workers have nothing to do.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use asupersync_core::{Cancelled, Outcome};
use asupersync_kernel::Cx;
use asupersync_net::{NetError, TcpListener};
use asupersync_runtime::RuntimeBuilder;
use asupersync_sync::oneshot;
use rustix::time::{ClockId, clock_gettime};

/// One measurement at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn processor_time() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(now.tv_sec).expect("a process has spent no negative time"),
        u32::try_from(now.tv_nsec).expect("nanoseconds stay below a second"),
    )
}

const FOREVER: Duration = Duration::from_secs(24 * 3600);

#[test]
fn four_idle_workers_with_an_armed_timer_and_a_listener_burn_no_cpu() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let watched = Duration::from_secs(2);
    let mut runtime = RuntimeBuilder::new().worker_threads(4).build().unwrap();
    let end = runtime.block_on(async |cx| {
        let mut spent = Duration::ZERO;
        let end = cx
            .region(async |scope| {
                let sleeper = scope.spawn(async |cx: Cx| {
                    cx.sleep(FOREVER).await?;
                    Ok::<_, NetError>(())
                });
                let listener = TcpListener::bind(scope.cx(), "127.0.0.1:0").await?;
                let server = scope.spawn(async move |cx: Cx| {
                    listener.accept(&cx).await?;
                    Ok::<_, NetError>(())
                });
                scope.cx().sleep(Duration::from_millis(100)).await?;
                let before = processor_time();
                scope.cx().sleep(watched).await?;
                spent = processor_time() - before;
                sleeper.cancel();
                server.cancel();
                Ok::<_, NetError>(())
            })
            .await;
        end.map(|()| spent).into_result()
    });
    let Outcome::Ok(spent) = end else {
        panic!("{end:?}");
    };
    assert!(
        spent * 200 < watched,
        "{spent:?} of processor time in {watched:?} is more than 0.5 %"
    );
}

/// Notes that it was woken.
#[derive(Default)]
struct Noted(AtomicBool);

impl Wake for Noted {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn block(duration: Duration) {
    let (_silent, silence) = mpsc::channel::<()>();
    let _ = silence.recv_timeout(duration);
}

#[test]
fn a_due_timer_of_a_stuck_worker_fires_on_another_which_does_not_spin() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let stuck_for = Duration::from_secs(1);
    let noted = Arc::new(Noted::default());
    let (start, mut wait) = oneshot::channel();
    let foreign = std::thread::Builder::new()
        .spawn(move || {
            block(Duration::from_millis(200));
            start.send(()).unwrap();
        })
        .unwrap();
    let mut runtime = RuntimeBuilder::new().worker_threads(2).build().unwrap();
    let before = processor_time();
    let end = runtime.block_on(async |cx| {
        cx.region(async |scope| {
            scope.spawn(async move |cx: Cx| {
                wait.recv(&cx).await.unwrap();
                Ok::<_, Cancelled>(())
            });
            scope.cx().sleep(Duration::from_millis(20)).await?;
            let waker = Waker::from(Arc::clone(&noted));
            let mut sleep = pin!(scope.cx().sleep(Duration::from_millis(50)));
            let polled = sleep.as_mut().poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
            // The timer is in this worker's wheel; the other worker is called to run the task meanwhile.
            block(stuck_for);
            assert!(
                noted.0.load(Ordering::SeqCst),
                "the timer waits for its worker"
            );
            Ok::<_, Cancelled>(())
        })
        .await
        .into_result()
    });
    let spent = processor_time() - before;
    foreign.join().unwrap();
    assert_eq!(end, Outcome::Ok(()));
    assert!(
        spent < stuck_for / 10,
        "{spent:?} of processor time while one worker was stuck for {stuck_for:?}"
    );
}
