use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::Wake;

use super::*;

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn task() -> (Arc<Count>, Waker) {
    let count = Arc::new(Count::default());
    (Arc::clone(&count), Waker::from(count))
}

fn blocked() -> IoState {
    let state = IoState::new(Interest::READABLE | Interest::WRITABLE);
    for direction in [Direction::Read, Direction::Write] {
        let token = state.ready(direction).unwrap().expect("assumed ready");
        state.clear_blocked(token);
        assert!(state.ready(direction).unwrap().is_none());
    }
    state
}

fn poll(state: &IoState, direction: Direction, waker: &Waker) -> Poll<ReadyToken> {
    state
        .poll_ready(direction, &mut Context::from_waker(waker))
        .map(Result::unwrap)
}

fn raise(state: &IoState, bits: u64) {
    let mut wakers = Vec::new();
    state.raise(bits, &mut wakers);
    wakers.into_iter().for_each(Waker::wake);
}

#[test]
fn an_event_between_the_failed_call_and_the_clearing_is_kept() {
    let state = blocked();
    raise(&state, READABLE);
    let stale = state.ready(Direction::Read).unwrap().unwrap();
    raise(&state, READABLE);
    state.clear_blocked(stale);
    assert!(state.ready(Direction::Read).unwrap().is_some());
}

#[test]
fn clearing_one_direction_leaves_the_other() {
    let state = blocked();
    raise(&state, READABLE | WRITABLE);
    let read = state.ready(Direction::Read).unwrap().unwrap();
    let write = state.ready(Direction::Write).unwrap().unwrap();
    state.clear_blocked(read);
    assert!(state.ready(Direction::Write).unwrap().is_some());
    state.clear_blocked(write);
    assert!(state.ready(Direction::Write).unwrap().is_none());
}

#[test]
fn the_end_of_the_stream_survives_a_short_read_but_not_a_blocked_one() {
    let state = blocked();
    raise(&state, READABLE | READ_CLOSED);
    let token = state.ready(Direction::Read).unwrap().unwrap();
    assert!(token.is_closed());
    state.clear_drained(token);
    let token = state
        .ready(Direction::Read)
        .unwrap()
        .expect("closed half stays ready");
    state.clear_blocked(token);
    assert!(state.ready(Direction::Read).unwrap().is_none());
}

#[test]
fn an_event_wakes_its_direction_only_and_once() {
    let state = blocked();
    let ((reads, reader), (writes, writer)) = (task(), task());
    assert!(poll(&state, Direction::Read, &reader).is_pending());
    assert!(poll(&state, Direction::Write, &writer).is_pending());
    raise(&state, READABLE);
    raise(&state, READABLE);
    assert_eq!(
        (
            reads.0.load(Ordering::SeqCst),
            writes.0.load(Ordering::SeqCst)
        ),
        (1, 0)
    );
    raise(&state, READ_CLOSED | WRITE_CLOSED);
    assert_eq!(
        (
            reads.0.load(Ordering::SeqCst),
            writes.0.load(Ordering::SeqCst)
        ),
        (1, 1)
    );
}

#[test]
fn two_tasks_on_one_half_are_both_woken_by_the_event() {
    let state = blocked();
    let (first, second) = (task(), task());
    for _ in 0..3 {
        assert!(poll(&state, Direction::Read, &first.1).is_pending());
        assert!(poll(&state, Direction::Read, &second.1).is_pending());
    }
    raise(&state, READABLE);
    assert_eq!(first.0.0.load(Ordering::SeqCst), 1);
    assert_eq!(second.0.0.load(Ordering::SeqCst), 1);
}

#[test]
fn beyond_the_limit_the_oldest_waiter_is_woken_and_none_is_forgotten() {
    let state = blocked();
    let tasks: Vec<_> = (0..WAITERS_MAX + 3).map(|_| task()).collect();
    for (_, waker) in &tasks {
        assert!(poll(&state, Direction::Write, waker).is_pending());
    }
    let woken = |n: usize| tasks[n].0.0.load(Ordering::SeqCst);
    assert_eq!((0..tasks.len()).map(woken).sum::<usize>(), 3);
    assert_eq!((woken(0), woken(1), woken(2)), (1, 1, 1));
    raise(&state, WRITABLE);
    assert!((0..tasks.len()).all(|n| woken(n) == 1));
}

#[test]
fn a_direction_without_interest_is_an_error_and_not_a_hang() {
    let state = IoState::new(Interest::READABLE);
    let (_, waker) = task();
    let polled = state.poll_ready(Direction::Write, &mut Context::from_waker(&waker));
    let Poll::Ready(Err(error)) = polled else {
        panic!("expected an error")
    };
    assert_eq!(
        error,
        ReactorError::NotRegistered {
            direction: Direction::Write
        }
    );
}

#[test]
fn shutting_wakes_both_halves_and_fails_every_later_poll() {
    let state = blocked();
    let ((reads, reader), (writes, writer)) = (task(), task());
    assert!(poll(&state, Direction::Read, &reader).is_pending());
    assert!(poll(&state, Direction::Write, &writer).is_pending());
    let mut wakers = Vec::new();
    state.shut(&mut wakers);
    wakers.into_iter().for_each(Waker::wake);
    assert_eq!(
        (
            reads.0.load(Ordering::SeqCst),
            writes.0.load(Ordering::SeqCst)
        ),
        (1, 1)
    );
    assert_eq!(
        state.ready(Direction::Read).unwrap_err(),
        ReactorError::Closed
    );
    raise(&state, READABLE);
    assert_eq!(
        state.ready(Direction::Read).unwrap_err(),
        ReactorError::Closed
    );
}
