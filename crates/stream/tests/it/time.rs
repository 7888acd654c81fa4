//! Adaptors of time, with exact times.

use std::time::Duration;

use asupersync_core::{Cancelled, IntoOutcome, Outcome, Time};
use asupersync_kernel::Cx;
use asupersync_stream::{
    Elapsed, Rate, Stream, StreamExt, TryStreamExt, Window, Windows, interval_stream, iter,
};
use asupersync_time::{MissedTick, interval};

use crate::support::{AppError, TICK, ms, once, paced};

/// Every item of a stream with the millisecond at which it came.
async fn timed<T>(cx: &Cx, stream: impl Stream<Item = T>) -> Result<Vec<(u64, T)>, AppError> {
    let start = cx.now();
    let at = stream.map(|item| (ms(cx, start), item));
    Ok(at.collect(cx).await?)
}

/// Checks what the stream that `$make` gives from `$cx` hands out, and when.
macro_rules! check {
    (|$cx:ident| $make:expr, $expected:expr) => {
        let report = once(async |cx: Cx| {
            let $cx = &cx;
            timed($cx, $make).await.into_outcome()
        });
        let end: Outcome<_, AppError> = report.outcome;
        assert_eq!(end, Outcome::Ok(Vec::from($expected)));
    };
}

fn millis(count: u64) -> Duration {
    TICK * u32::try_from(count).expect("a short time")
}

#[test]
fn a_throttle_spaces_items_and_drops_none() {
    check!(
        |cx| iter(1..=4).throttle(cx, millis(10)),
        [(0, 1), (10, 2), (20, 3), (30, 4)]
    );
    // The source is asked when its next item may pass, and not before.
    check!(
        |cx| paced(cx, [(5, 'a'), (20, 'b'), (3, 'c'), (0, 'd')]).throttle(cx, millis(10)),
        [(5, 'a'), (35, 'b'), (48, 'c'), (58, 'd')]
    );
}

#[test]
fn a_rate_lets_a_burst_pass_and_then_its_period() {
    let rate = Rate::new(1, millis(10)).burst(3);
    check!(
        |cx| iter(0..6).rate_limited(cx, rate),
        [(0, 0), (0, 1), (0, 2), (10, 3), (20, 4), (30, 5)]
    );
    // Quiet time fills the burst again, and no further.
    check!(
        |cx| paced(
            cx,
            [(0, 0), (0, 1), (0, 2), (100, 3), (0, 4), (0, 5), (0, 6)]
        )
        .rate_limited(cx, rate),
        [
            (0, 0),
            (0, 1),
            (0, 2),
            (110, 3),
            (110, 4),
            (110, 5),
            (120, 6)
        ]
    );
}

#[test]
fn a_debounce_gives_the_last_item_of_each_run() {
    check!(
        |cx| paced(cx, [(0, 1), (4, 2), (4, 3), (20, 4), (30, 5), (1, 6)]).debounce(cx, millis(10)),
        [(18, 3), (38, 4), (59, 6)]
    );
}

#[test]
fn a_debounce_counts_what_it_leaves_out() {
    let report = once(async |cx: Cx| {
        let source = paced(&cx, [(0, 1), (4, 2), (4, 3), (20, 4)]);
        let mut stream = std::pin::pin!(source.debounce(&cx, millis(10)));
        let mut given = 0;
        while stream.next(&cx).await.unwrap().is_some() {
            given += 1;
        }
        Outcome::Ok((given, stream.superseded()))
    });
    assert_eq!(report.outcome, Outcome::<_, AppError>::Ok((2, 2)));
}

#[test]
fn a_chunk_is_given_when_it_is_full_or_its_time_is_up() {
    check!(
        |cx| paced(
            cx,
            [(0, 1), (1, 2), (1, 3), (1, 4), (50, 5), (4, 6), (8, 7)]
        )
        .chunks_timeout(cx, 3, millis(10)),
        [
            (2, vec![1, 2, 3]),
            (13, vec![4]),
            (63, vec![5, 6]),
            (65, vec![7])
        ]
    );
}

#[test]
fn an_item_that_is_late_is_told_each_time_and_still_comes() {
    let late = Err(Elapsed { after: millis(10) });
    check!(
        |cx| paced(cx, [(3, 'a'), (25, 'b'), (10, 'c')]).timeout_each(cx, millis(10)),
        [
            (3, Ok('a')),
            (13, late),
            (23, late),
            (28, Ok('b')),
            (38, Ok('c'))
        ]
    );
}

#[test]
fn windows_of_a_count_tumble_slide_and_hop() {
    let windows = |window| {
        let report = once(async |cx: Cx| {
            let all: Result<Vec<_>, Cancelled> = iter(1..=7).window(window).collect(&cx).await;
            Outcome::Ok(all.unwrap())
        });
        let Outcome::<_, AppError>::Ok(all) = report.outcome else {
            panic!("{:?}", report.outcome);
        };
        all
    };
    assert_eq!(
        windows(Window::tumbling(3)),
        [vec![1, 2, 3], vec![4, 5, 6], vec![7]]
    );
    assert_eq!(
        windows(Window::sliding(3, 2)),
        [vec![1, 2, 3], vec![3, 4, 5], vec![5, 6, 7]]
    );
    assert_eq!(
        windows(Window::sliding(4, 2)),
        [vec![1, 2, 3, 4], vec![3, 4, 5, 6], vec![5, 6, 7]]
    );
    assert_eq!(
        windows(Window::sliding(2, 3)),
        [vec![1, 2], vec![4, 5], vec![7]]
    );
}

#[test]
fn windows_of_time_end_on_the_grid_and_empty_ones_are_not_given() {
    check!(
        |cx| paced(cx, [(0, 1), (9, 2), (1, 3), (45, 4), (1, 5)])
            .window_timed(cx, Windows::tumbling(millis(10)))
            .map(|window| window.items),
        [
            (10, vec![1, 2]),
            (20, vec![3]),
            // The source ends at 56, and what is held is given at once.
            (56, vec![4, 5])
        ]
    );
    check!(
        |cx| paced(cx, [(0, 1), (7, 2), (5, 3), (40, 4)])
            .window_timed(cx, Windows::sliding(millis(10), millis(5)))
            .map(|window| window.items),
        [
            (10, vec![1, 2]),
            (15, vec![2, 3]),
            (20, vec![3]),
            (52, vec![4]),
            (52, vec![4])
        ]
    );
}

#[test]
fn a_window_of_time_says_when_it_was() {
    let report = once(async |cx: Cx| {
        let start = cx.now();
        let source = paced(&cx, [(23, 1), (1, 2)]);
        let windows = source.window_timed(&cx, Windows::tumbling(millis(10)));
        let all = windows.collect::<Vec<_>>(&cx).await.unwrap();
        let at = |time: Time| time.saturating_since(start).as_millis();
        let spans = all.iter().map(|window| (at(window.start), at(window.end)));
        Outcome::Ok(spans.collect::<Vec<_>>())
    });
    assert_eq!(report.outcome, Outcome::<_, AppError>::Ok(vec![(20, 30)]));
}

#[test]
fn a_full_window_of_time_makes_its_source_wait() {
    check!(
        |cx| iter(1..=5)
            .window_timed(cx, Windows::tumbling(millis(10)).items_max(2))
            .map(|window| window.items),
        [(10, vec![1, 2]), (20, vec![3, 4]), (20, vec![5])]
    );
}

#[test]
fn an_interval_ticks_on_its_grid() {
    let report = once(async |cx: Cx| {
        let start = cx.now();
        let ticks = interval(&cx, millis(10)).missed_tick(MissedTick::Skip);
        let mut ticks = interval_stream(ticks);
        let mut seen = Vec::new();
        while seen.len() < 4 {
            let tick = ticks.try_next(&cx).await.unwrap().unwrap();
            seen.push((tick.saturating_since(start).as_millis(), ms(&cx, start)));
            if seen.len() == 2 {
                cx.sleep(millis(25)).await.unwrap();
            }
        }
        Outcome::Ok(seen)
    });
    let expected = vec![(0, 0), (10, 10), (20, 35), (40, 40)];
    assert_eq!(report.outcome, Outcome::<_, AppError>::Ok(expected));
}

#[test]
fn adaptors_of_time_leave_no_timer_behind() {
    let report = once(async |cx: Cx| {
        let hour = Duration::from_secs(3600);
        let source = || asupersync_stream::pending::<u32>();
        let mut late = std::pin::pin!(source().timeout_each(&cx, hour));
        let mut chunks = std::pin::pin!(iter([1]).chain(source()).chunks_timeout(&cx, 9, hour));
        let mut quiet = std::pin::pin!(iter([1]).chain(source()).debounce(&cx, hour));
        for _ in 0..2 {
            let polls = (
                futures_util::poll!(late.as_mut().next(&cx)).is_pending(),
                futures_util::poll!(chunks.as_mut().next(&cx)).is_pending(),
                futures_util::poll!(quiet.as_mut().next(&cx)).is_pending(),
            );
            assert_eq!(polls, (true, true, true));
        }
        Outcome::<_, AppError>::Ok(())
    });
    assert_eq!(report.elapsed, Duration::ZERO);
}
