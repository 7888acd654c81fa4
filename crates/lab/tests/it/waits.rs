//! The oracles of channels and locks say nothing of correct primitives, whatever programs do with them: also where waits are given up, lines are left, tasks are cancelled, and the run stalls in the end.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use asupersync_combinator::race;
use asupersync_core::{Cancelled, Outcome};
#[cfg(feature = "mutations")]
use asupersync_kernel::mutation::{Mutation, with};
use asupersync_kernel::{Cx, Scope};
use asupersync_lab::{LabConfig, LabEnd, LabRuntime, Law};
use asupersync_sync::{
    Barrier, Condvar, Latch, Mutex, Notify, RwLock, Semaphore, broadcast, rendezvous, watch,
};

/// Everything that somebody can wait for.
struct World {
    notify: Notify,
    mutex: Mutex<u32>,
    condvar: Condvar,
    latch: Latch,
    barrier: Barrier,
    semaphore: Semaphore,
    rwlock: RwLock<u32>,
    watch: watch::Sender<u32>,
    news: broadcast::Sender<u32>,
    offers: rendezvous::Sender<u32>,
    takers: rendezvous::Receiver<u32>,
}

impl World {
    fn new() -> Self {
        let (offers, takers) = rendezvous::channel();
        Self {
            notify: Notify::new(),
            mutex: Mutex::new(0),
            condvar: Condvar::new(),
            latch: Latch::new(2),
            barrier: Barrier::new(2),
            semaphore: Semaphore::new(2),
            rwlock: RwLock::new(0),
            watch: watch::channel(0).0,
            news: broadcast::channel(2).0,
            offers,
            takers,
        }
    }
}

/// What a task has for itself.
struct Own {
    watch: watch::Receiver<u32>,
    news: broadcast::Receiver<u32>,
}

const ACTIONS: u64 = 24;

/// Does one thing that may wait.
async fn act(cx: &Cx, world: &Arc<World>, own: &mut Own, action: u64) {
    match action {
        0 | 1 => drop(world.notify.notified(cx).await),
        2 => {
            if let Ok(held) = world.mutex.lock(cx).await {
                drop(world.condvar.wait(cx, held).await);
            }
        }
        3 => drop(world.latch.wait(cx).await),
        4 => drop(world.barrier.wait(cx).await),
        5 | 6 => {
            let held = world.semaphore.acquire_many(cx, 1 + (action % 2) as u32);
            let held = held.await;
            let _ = cx.yield_now().await;
            drop(held);
        }
        7 | 8 => {
            let held = world.rwlock.read(cx).await;
            let _ = cx.yield_now().await;
            drop(held);
        }
        9 => {
            let held = world.rwlock.write(cx).await;
            let _ = cx.yield_now().await;
            drop(held);
        }
        10 => drop(own.watch.changed(cx).await),
        11 => drop(own.news.recv(cx).await),
        12 => drop(world.offers.send(cx, 7).await),
        13 => drop(world.takers.recv(cx).await),
        14 => {
            if let Ok(held) = world.rwlock.upgradable_read(cx).await {
                drop(held.upgrade(cx).await);
            }
        }
        15..20 => tell(cx, world, action).await,
        _ => compete(cx, world, action).await,
    }
}

/// Waits in two fibers at once, the loser of which is dropped or cancelled; both wait at one place.
async fn compete(cx: &Cx, world: &Arc<World>, action: u64) {
    let branch = || {
        let world = Arc::clone(world);
        move |cx: Cx| async move {
            match action {
                20 => world.notify.notified(&cx).await?,
                21 => drop(world.semaphore.acquire(&cx).await),
                22 => drop(world.rwlock.write(&cx).await),
                _ => drop(world.takers.recv(&cx).await),
            }
            Ok::<_, Cancelled>(())
        }
    };
    drop(race(cx, vec![branch(), branch()]).await);
}

/// Does something that others may wait for.
async fn tell(cx: &Cx, world: &World, action: u64) {
    match action {
        15 => world.notify.notify_one(),
        16 => {
            world.latch.count_down();
            world.notify.notify_last();
        }
        17 => {
            world.condvar.notify_one();
            let _ = world.offers.try_send(1);
        }
        18 => drop((world.watch.send_replace(1), world.news.send(1))),
        _ => {
            world.condvar.notify_all();
            world.notify.notify_waiters();
            let _ = world.takers.try_recv();
            let _ = cx.yield_now().await;
        }
    }
}

/// Polls the future so many times, each time in a poll of its own, and then drops it.
async fn give_up_after(cx: &Cx, future: impl Future<Output = ()>, polls: u64) {
    let mut future = pin!(future);
    for _ in 0..polls {
        if poll_fn(|task| Poll::Ready(future.as_mut().poll(task).is_ready())).await {
            return;
        }
        let _ = cx.yield_now().await;
    }
}

async fn task(cx: Cx, world: Arc<World>, mut own: Own) -> Result<(), Cancelled> {
    for _ in 0..6 {
        cx.checkpoint()?;
        let draw = cx.random_u64();
        let action = draw % ACTIONS;
        let act = act(&cx, &world, &mut own, action);
        match draw >> 32 & 3 {
            0 => give_up_after(&cx, act, 1 + (draw >> 40 & 3)).await,
            _ => act.await,
        }
    }
    Ok(())
}

async fn program(cx: Cx) -> Outcome<(), Cancelled> {
    let world = Arc::new(World::new());
    cx.region(async |scope: Scope<'_, Cancelled>| {
        let mut tasks = Vec::new();
        for _ in 0..4 {
            let own = Own {
                watch: world.watch.subscribe(),
                news: world.news.subscribe(),
            };
            let world = Arc::clone(&world);
            tasks.push(scope.spawn(async move |cx: Cx| task(cx, world, own).await));
        }
        for _ in 0..scope.cx().random_u64() % 20 {
            scope.cx().yield_now().await?;
        }
        tasks[0].cancel();
        Ok::<_, Cancelled>(())
    })
    .await
}

#[test]
fn correct_primitives_raise_no_alarm_however_waits_end() {
    let mut stalled = 0_u64;
    for seed in 0..RUNS {
        let report = LabRuntime::new(LabConfig::default().seed(seed)).run(program);
        stalled += u64::from(matches!(report.end, LabEnd::Stalled(_)));
        let wrong: Vec<_> = report
            .violations
            .iter()
            .filter(|violation| WATCHED.contains(&violation.law))
            .collect();
        assert!(wrong.is_empty(), "seed {seed}: {wrong:?}");
    }
    assert!(stalled > RUNS / 4, "only {stalled} runs have stalled");
}

/// The same programs find what the programs made for a defect find.
#[cfg(feature = "mutations")]
#[test]
fn the_same_programs_find_each_defect_of_a_line() {
    for mutation in DEFECTS {
        let fires = |seed: &u64| {
            let lab = LabRuntime::new(LabConfig::default().seed(*seed));
            let report = with(Some(mutation), || lab.run(program));
            let mut laws = report.violations.iter().map(|violation| violation.law);
            laws.any(|law| WATCHED.contains(&law))
        };
        assert!((0..RUNS).any(|seed| fires(&seed)), "{mutation:?}");
    }
}

#[cfg(feature = "mutations")]
const DEFECTS: [Mutation; 17] = [
    Mutation::NotifyIsSilent,
    Mutation::WatchIsSilent,
    Mutation::BroadcastIsSilent,
    Mutation::OfferIsSilent,
    Mutation::TakingIsSilent,
    Mutation::BarrierIsSilent,
    Mutation::CondvarIsSilent,
    Mutation::LatchIsSilent,
    Mutation::SemaphoreIsSilent,
    Mutation::RwLockIsSilent,
    Mutation::MessageIsSkipped,
    Mutation::LagIsUnderstated,
    Mutation::HandOverIsDropped,
    Mutation::VersionIsRepeated,
    Mutation::PermitsGoToTheQuick,
    Mutation::WriterIsOvertaken,
    Mutation::ReadersGoOneByOne,
];

const RUNS: u64 = 4_000;
const WATCHED: [Law; 4] = [
    Law::LostWake,
    Law::ChannelConservation,
    Law::PermitConservation,
    Law::LockFairness,
];
