//! Items in windows of a fixed count, which may overlap.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use pin_project_lite::pin_project;

/// How many items a window has, and how far the next is from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    size: usize,
    step: usize,
}

impl Window {
    /// Windows of `size` items, one after another.
    ///
    /// # Panics
    /// If `size` is zero.
    #[must_use]
    pub const fn tumbling(size: usize) -> Self {
        Self::sliding(size, size)
    }

    /// Windows of `size` items, each beginning `step` items after the one before; with a step beyond the size the items between are left out.
    ///
    /// # Panics
    /// If one of them is zero.
    #[must_use]
    pub const fn sliding(size: usize, step: usize) -> Self {
        assert!(size > 0, "a window has at least one item");
        assert!(step > 0, "the next window is not the same");
        Self { size, step }
    }
}

pin_project! {
    /// A stream of windows; from [`StreamExt::window`](crate::StreamExt::window).
    #[must_use = "streams do nothing unless polled"]
    pub struct Windowed<S: Stream> {
        #[pin]
        stream: S,
        window: Window,
        held: VecDeque<S::Item>,
        // How many of the held items were in no window yet.
        fresh: usize,
        // How many items are left out before the next window.
        gap: usize,
        is_done: bool,
    }
}

impl<S: Stream> Windowed<S> {
    pub(crate) const fn new(stream: S, window: Window) -> Self {
        Self {
            stream,
            window,
            held: VecDeque::new(),
            fresh: 0,
            gap: 0,
            is_done: false,
        }
    }
}

impl<S: Stream<Item: Clone>> Stream for Windowed<S> {
    type Item = Vec<S::Item>;

    fn poll_next(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project();
        let Window { size, step } = *this.window;
        while !*this.is_done {
            match ready!(this.stream.as_mut().poll_next(task)) {
                None => *this.is_done = true,
                Some(_) if *this.gap > 0 => *this.gap -= 1,
                Some(item) => {
                    this.held.push_back(item);
                    *this.fresh += 1;
                    if this.held.len() == size {
                        *this.fresh = 0;
                        *this.gap = step.saturating_sub(size);
                        return Poll::Ready(Some(full(this.held, step)));
                    }
                }
            }
        }
        let rest = std::mem::take(this.held);
        let is_new = std::mem::take(this.fresh) > 0;
        Poll::Ready(is_new.then(|| rest.into()))
    }
}

/// The window, with what the next has of it left behind.
fn full<T: Clone>(held: &mut VecDeque<T>, step: usize) -> Vec<T> {
    if step >= held.len() {
        return std::mem::take(held).into();
    }
    let mut window: Vec<T> = held.drain(..step).collect();
    window.extend(held.iter().cloned());
    window
}
