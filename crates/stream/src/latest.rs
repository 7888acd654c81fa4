//! The latest of two streams, whenever one of them changes.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_util::stream::Fuse;
use pin_project_lite::pin_project;

use crate::pace::ROW_MAX;

pin_project! {
    /// Pairs of the latest items of two streams; from [`StreamExt::zip_latest`](crate::StreamExt::zip_latest).
    #[must_use = "streams do nothing unless polled"]
    pub struct ZipLatest<A: Stream, B: Stream> {
        #[pin]
        first: Fuse<A>,
        #[pin]
        second: Fuse<B>,
        latest: (Option<A::Item>, Option<B::Item>),
        second_goes_first: bool,
    }
}

impl<A: Stream, B: Stream> ZipLatest<A, B> {
    pub(crate) fn new(first: A, second: B) -> Self {
        Self {
            first: futures_util::StreamExt::fuse(first),
            second: futures_util::StreamExt::fuse(second),
            latest: (None, None),
            second_goes_first: false,
        }
    }
}

impl<A, B> Stream for ZipLatest<A, B>
where
    A: Stream<Item: Clone>,
    B: Stream<Item: Clone>,
{
    type Item = (A::Item, B::Item);

    fn poll_next(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project();
        for _ in 0..ROW_MAX {
            // In turn, so that neither keeps the other from being seen.
            let first_goes_first = !*this.second_goes_first;
            *this.second_goes_first = first_goes_first;
            let mut has_changed = false;
            for is_first in [first_goes_first, !first_goes_first] {
                if is_first && let Poll::Ready(Some(item)) = this.first.as_mut().poll_next(task) {
                    this.latest.0 = Some(item);
                    has_changed = true;
                    break;
                }
                if !is_first && let Poll::Ready(Some(item)) = this.second.as_mut().poll_next(task) {
                    this.latest.1 = Some(item);
                    has_changed = true;
                    break;
                }
            }
            let is_barren = (this.first.is_done() && this.latest.0.is_none())
                || (this.second.is_done() && this.latest.1.is_none());
            if is_barren || (this.first.is_done() && this.second.is_done() && !has_changed) {
                return Poll::Ready(None);
            }
            if !has_changed {
                return Poll::Pending;
            }
            if let (Some(first), Some(second)) = &*this.latest {
                return Poll::Ready(Some((first.clone(), second.clone())));
            }
        }
        task.waker().wake_by_ref();
        Poll::Pending
    }
}
