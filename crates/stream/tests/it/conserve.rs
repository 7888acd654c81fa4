//! Items in = items out + held + counted as left out, over random schedules, wherever a reader stops.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use asupersync_core::Outcome;
use asupersync_kernel::Cx;
use asupersync_lab::{LabConfig, LabRuntime};
use asupersync_stream::{
    PartitionError, PartitionOptions, Rate, Stream, StreamExt, WhenFull, Window, Windows, iter,
    merge,
};
use proptest::prelude::*;

use crate::support::{AppError, End, Guard, Live, TICK, paced};

/// A number that is alive until it is dropped, wherever it is held.
struct Token {
    number: usize,
    _guard: Guard,
}

/// What a case runs with: the schedule's seed, the time before each item, and how many items are read.
#[derive(Clone, Debug)]
struct Plan {
    seed: u64,
    delays: Vec<u64>,
    reads: usize,
    /// Milliseconds that the reader rests after each read.
    rest: u64,
}

fn plans() -> impl Strategy<Value = Plan> {
    let delays = prop::collection::vec(prop_oneof![3 => 0..3_u64, 1 => 5..30_u64], 0..25);
    (any::<u64>(), delays, 0..30_usize, 0..6_u64).prop_map(|(seed, delays, reads, rest)| Plan {
        seed,
        delays,
        reads,
        rest,
    })
}

/// The tokens of a plan, counted as they are taken from the source.
fn tokens<'a>(
    cx: &'a Cx,
    plan: &'a Plan,
    live: &'a Live,
    taken: &'a Cell<usize>,
) -> impl Stream<Item = Token> + Unpin + 'a {
    let numbered = plan.delays.iter().copied().enumerate();
    let timed = numbered.map(|(number, delay)| (delay, number));
    paced(cx, timed).map(|number| {
        taken.set(taken.get() + 1);
        Token {
            number,
            _guard: live.enter(),
        }
    })
}

/// Reads as the plan says, and checks that what was taken in came out once and in order, is held, or was left out.
async fn read<S: Stream>(
    cx: &Cx,
    plan: &Plan,
    (live, taken): (&Live, &Cell<usize>),
    stream: S,
    rules: Rules<S::Item, S>,
) -> bool {
    let mut out = Vec::new();
    let mut is_over = false;
    {
        let mut stream = pin!(stream);
        for _ in 0..plan.reads {
            match stream.next(cx).await.expect("nobody cancels") {
                None => {
                    is_over = true;
                    break;
                }
                Some(item) => out.extend((rules.open)(item)),
            }
            let rested = cx.sleep(Duration::from_millis(plan.rest)).await;
            rested.expect("nobody cancels");
        }
        let left_out = (rules.left_out)(&stream);
        let held = live.count() - out.len();
        assert_eq!(taken.get(), out.len() + left_out + held);
        assert!(held <= rules.held_max, "{held} items are held");
        if is_over {
            assert_eq!(held, 0, "the end came before the last item");
            assert_eq!(taken.get(), plan.delays.len());
        }
    }
    let numbers: Vec<usize> = out.iter().map(|token| token.number).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    drop(out);
    assert_eq!(live.count(), 0, "a dropped stream keeps nothing");
    is_over
}

struct Rules<T, S> {
    /// The tokens of an item.
    open: fn(T) -> Vec<Token>,
    left_out: fn(&S) -> usize,
    held_max: usize,
}

fn none<S>(_: &S) -> usize {
    0
}

fn one(token: Token) -> Vec<Token> {
    vec![token]
}

/// Runs a case under the lab.
fn run<F, Fut>(plan: &Plan, program: F)
where
    F: FnOnce(Cx) -> Fut,
    Fut: Future<Output = ()>,
{
    let report = LabRuntime::new(LabConfig::default().seed(plan.seed)).run(async |cx: Cx| {
        program(cx).await;
        End::Ok(())
    });
    assert!(report.outcome.is_ok(), "{:?}", report.outcome);
    report.assert_clean();
}

const HELD_MAX: usize = 4;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn adaptors_of_time_neither_lose_nor_double_nor_reorder(plan in plans()) {
        run(&plan, async |cx: Cx| {
            let (cx, plan) = (&cx, &plan);
            let (live, taken) = (Live::default(), Cell::new(0));
            let count = (&live, &taken);
            let source = || {
                taken.set(0);
                tokens(cx, plan, &live, &taken)
            };
            let rate = Rate::new(1, TICK * 7).burst(3);
            let limited = source().rate_limited(cx, rate);
            read(cx, plan, count, limited, Rules { open: one, left_out: none, held_max: 0 }).await;
            let throttled = source().throttle(cx, TICK * 4);
            read(cx, plan, count, throttled, Rules { open: one, left_out: none, held_max: 0 }).await;
            let chunks = source().chunks_timeout(cx, HELD_MAX, TICK * 6);
            let rules = Rules { open: |chunk| chunk, left_out: none, held_max: HELD_MAX };
            read(cx, plan, count, chunks, rules).await;
            let open = |item: Result<Token, _>| item.into_iter().collect();
            let timed = source().timeout_each(cx, TICK * 6);
            read(cx, plan, count, timed, Rules { open, left_out: none, held_max: 0 }).await;
        });
    }

    #[test]
    fn a_debounce_counts_what_it_does_not_give(plan in plans()) {
        run(&plan, async |cx: Cx| {
            let (live, taken) = (Live::default(), Cell::new(0));
            let source = tokens(&cx, &plan, &live, &taken);
            let stream = Box::pin(source.debounce(&cx, TICK * 2));
            let left_out = |stream: &std::pin::Pin<Box<_>>| superseded(stream);
            let rules = Rules { open: one, left_out, held_max: 1 };
            read(&cx, &plan, (&live, &taken), stream, rules).await;
        });
    }

    #[test]
    fn windows_hold_every_item_as_often_as_they_overlap(
        plan in plans(),
        size in 1..6_usize,
        step in 1..8_usize,
    ) {
        run(&plan, async |cx: Cx| {
            let count = plan.delays.len();
            let windows = iter(0..count).window(Window::sliding(size, step));
            let windows: Vec<Vec<usize>> = windows.collect(&cx).await.unwrap();
            for (index, window) in windows.iter().enumerate() {
                let start = index * step;
                let expected: Vec<usize> = (start..count.min(start + size)).collect();
                assert_eq!(*window, expected);
            }
            let seen: BTreeSet<usize> = windows.into_iter().flatten().collect();
            let in_some = |n: &usize| n % step < size;
            assert_eq!(seen, (0..count).filter(in_some).collect());
        });
    }

    #[test]
    fn windows_of_time_have_exactly_the_items_of_their_time(
        plan in plans(),
        size in 1..12_u32,
        share in 1..4_u32,
    ) {
        run(&plan, async |cx: Cx| {
            let (size, step) = (TICK * size, TICK * size / share);
            let times = plan.delays.iter().enumerate().map(|(n, delay)| (*delay, n));
            let at = |n| (cx.now(), n);
            let windows = paced(&cx, times).map(at);
            let windows = windows.window_timed(&cx, Windows::sliding(size, step));
            let windows: Vec<_> = windows.collect(&cx).await.unwrap();
            let mut often = vec![0_u32; plan.delays.len()];
            for window in &windows {
                assert!(!window.items.is_empty());
                for (at, n) in &window.items {
                    assert!(window.start <= *at && *at < window.end);
                    often[*n] += 1;
                }
            }
            assert!(windows.is_sorted_by(|a, b| a.start < b.start));
            // With a step that divides the size, each item is in as many windows, except for the first ones.
            let settled = plan.delays.iter().scan(0, |sum, delay| {
                *sum += delay;
                Some(TICK * u32::try_from(*sum).unwrap() >= size)
            });
            for (often, settled) in often.into_iter().zip(settled) {
                assert!(often >= 1);
                assert!(!settled || often == share || (size.as_nanos() % step.as_nanos() != 0));
            }
        });
    }

    #[test]
    fn a_partition_gives_each_item_to_its_side_or_counts_it(
        plan in plans(),
        capacity in 1..6_usize,
        waits in any::<bool>(),
        turns in prop::collection::vec(any::<bool>(), 0..60),
    ) {
        run(&plan, async |cx: Cx| {
            let (live, taken) = (Live::default(), Cell::new(0));
            let source = tokens(&cx, &plan, &live, &taken);
            let when_full = if waits { WhenFull::Wait } else { WhenFull::Lag };
            let options = PartitionOptions::new(capacity).when_full(when_full);
            let (a, b) = source.partition(&cx, options, |token: &Token| token.number.is_multiple_of(3));
            let mut sides = [Box::pin(a), Box::pin(b)];
            let mut out: [Vec<Token>; 2] = [Vec::new(), Vec::new()];
            let mut missed = 0;
            for turn in turns {
                let side = usize::from(turn);
                let item = futures_util::poll!(futures_util::StreamExt::next(&mut sides[side]));
                match item {
                    std::task::Poll::Ready(Some(Ok(token))) => out[side].push(token),
                    std::task::Poll::Ready(Some(Err(PartitionError::Lagged { missed: count }))) => {
                        assert!(!waits, "who waits misses nothing");
                        missed += usize::try_from(count).unwrap();
                    }
                    std::task::Poll::Ready(Some(Err(error))) => panic!("{error}"),
                    std::task::Poll::Ready(None) => {}
                    std::task::Poll::Pending => cx.sleep(TICK).await.unwrap(),
                }
                let given = out[0].len() + out[1].len();
                let held = live.count() - given;
                assert!(held <= 2 * capacity);
                // What is missed and not told yet is neither alive nor counted.
                assert!(taken.get() >= given + held + missed);
                assert!(!waits || taken.get() == given + held);
            }
            for (side, tokens) in out.iter().enumerate() {
                assert!(tokens.is_sorted_by(|a, b| a.number < b.number));
                assert!(tokens.iter().all(|token| usize::from(token.number % 3 != 0) == side));
            }
            // To the end, both sides in turn, so that neither waits for the other.
            let (mut given, mut ended) = (out[0].len() + out[1].len(), [false; 2]);
            while ended != [true; 2] {
                for side in 0..2 {
                    let next = futures_util::StreamExt::next(&mut sides[side]);
                    match futures_util::poll!(next) {
                        std::task::Poll::Ready(Some(Ok(_))) => given += 1,
                        std::task::Poll::Ready(Some(Err(PartitionError::Lagged { missed: count }))) => {
                            missed += usize::try_from(count).unwrap();
                        }
                        std::task::Poll::Ready(Some(Err(error))) => panic!("{error}"),
                        std::task::Poll::Ready(None) => ended[side] = true,
                        std::task::Poll::Pending => cx.sleep(TICK).await.unwrap(),
                    }
                }
            }
            assert_eq!(given + missed, plan.delays.len());
        });
    }

    #[test]
    fn merged_and_zipped_streams_show_every_item(plan in plans(), many in 1..5_usize) {
        run(&plan, async |cx: Cx| {
            let numbered = || plan.delays.iter().enumerate().map(|(n, delay)| (*delay, n));
            let streams: Vec<_> = (0..many)
                .map(|who| paced(&cx, numbered().collect::<Vec<_>>()).map(move |n| (who, n)))
                .collect();
            let all: Vec<(usize, usize)> = merge(streams).collect(&cx).await.unwrap();
            assert_eq!(all.len(), many * plan.delays.len());
            for who in 0..many {
                let own: Vec<usize> = all.iter().filter(|(w, _)| *w == who).map(|(_, n)| *n).collect();
                assert_eq!(own, (0..plan.delays.len()).collect::<Vec<_>>());
            }
            let letters = iter(0..3_usize);
            let pairs = letters.zip_latest(paced(&cx, numbered().collect::<Vec<_>>()));
            let pairs: Vec<(usize, usize)> = pairs.collect(&cx).await.unwrap();
            let numbers: BTreeSet<usize> = pairs.iter().map(|(_, n)| *n).collect();
            let rises = |a: &(usize, usize), b: &(usize, usize)| (a.0 + 1 == b.0) != (a.1 + 1 == b.1);
            assert!(pairs.windows(2).all(|pair| rises(&pair[0], &pair[1])), "{pairs:?}");
            // Numbers that came before the first letter are the only ones that no pair has.
            assert!(numbers.len() + 1 >= plan.delays.len());
        });
    }

    #[test]
    fn every_task_of_a_stream_gives_its_result_once_or_is_drained(
        plan in plans(),
        limit in 1..5_usize,
        ordered in any::<bool>(),
        failing in prop::option::of(0..25_usize),
    ) {
        run(&plan, async |cx: Cx| {
            let live = Live::default();
            let begun = Cell::new(0);
            let mut seen = Vec::new();
            let options = asupersync_kernel::RegionOptions::new().policy(asupersync_core::Collect);
            let end: End = cx.region_with(options, async |scope| {
                let inner = live.clone();
                let work = move |cx: Cx, (delay, n): (u64, usize)| {
                    let guard = inner.enter();
                    async move {
                        let _guard = guard;
                        cx.sleep(Duration::from_millis(delay)).await?;
                        if Some(n) == failing {
                            return Err(AppError::Failed(1));
                        }
                        Ok(n)
                    }
                };
                let items = plan.delays.iter().enumerate().map(|(n, delay)| (*delay, n));
                let source = iter(items).inspect(|_| begun.set(begun.get() + 1));
                let mut results = if ordered {
                    source.buffered(&scope, limit, work)
                } else {
                    source.buffer_unordered(&scope, limit, work)
                };
                for _ in 0..plan.reads {
                    match results.next(scope.cx()).await? {
                        None => {
                            assert_eq!(seen.len(), plan.delays.len());
                            break;
                        }
                        Some(Ok(n)) => seen.push(n),
                        Some(Err(error)) => {
                            assert_eq!(error, AppError::Failed(1));
                            seen.push(failing.expect("one was to fail"));
                        }
                    }
                    assert!(begun.get() <= seen.len() + limit);
                }
                Ok::<_, AppError>(())
            }).await;
            // Who failed and was not asked for is the region's error.
            assert!(end == Outcome::Ok(()) || end == Outcome::Err(AppError::Failed(1)), "{end:?}");
            assert_eq!(live.count(), 0);
            assert!(!ordered || seen.is_sorted());
            let each: BTreeSet<usize> = seen.iter().copied().collect();
            assert_eq!(each.len(), seen.len(), "given twice: {seen:?}");
        });
    }
}

fn superseded<S, C>(stream: &asupersync_stream::adaptor::Debounce<'_, S, C>) -> usize
where
    S: Stream,
    C: asupersync_kernel::caps::HasTime,
{
    usize::try_from(stream.superseded()).expect("few items")
}
