//! Tuples of branches: pinned where the combinator stands, without an allocation beyond each fiber's node.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use asupersync_core::{CancelKind, ErrOf, IntoOutcome, OkOf, Outcome, Severity};
use asupersync_kernel::caps::HasSpawn;
use asupersync_kernel::{Cx, Fiber};

use crate::branch::{Branch, begin};
use crate::branches::{Branches, Joinable, Rule, Uniform, Verdict, Worst, collect};

/// A fiber of a tuple, and its outcome once it has ended.
struct Slot<'p, 'f, Fut: Future<Output: IntoOutcome>> {
    fiber: Pin<&'p mut Fiber<'f, Fut>>,
    outcome: Option<Outcome<OkOf<Fut>, ErrOf<Fut>>>,
}

impl<'p, 'f, Fut: Future<Output: IntoOutcome>> Slot<'p, 'f, Fut> {
    const fn new(fiber: Pin<&'p mut Fiber<'f, Fut>>) -> Self {
        Self {
            fiber,
            outcome: None,
        }
    }

    fn poll(&mut self, task: &mut Context<'_>) -> Poll<Severity> {
        self.fiber.as_mut().poll(task).map(|outcome| {
            let severity = outcome.severity();
            self.outcome = Some(outcome);
            severity
        })
    }

    fn into_outcome(self) -> Outcome<OkOf<Fut>, ErrOf<Fut>> {
        self.outcome.expect("the drive ends when every branch has")
    }
}

/// The slots of a tuple, by number.
trait Slots {
    const COUNT: usize;
    fn has_ended(&self, index: usize) -> bool;
    fn poll(&mut self, index: usize, task: &mut Context<'_>) -> Poll<Severity>;
    fn cancel(&self, index: usize, kind: CancelKind);
}

/// Polls the slots until all have ended.
struct Drive<'d, S, R> {
    slots: &'d mut S,
    rule: &'d mut R,
    first: usize,
    decided: bool,
}

impl<'d, S: Slots, R: Rule> Drive<'d, S, R> {
    fn new(slots: &'d mut S, rule: &'d mut R) -> Self {
        let first = rule.begin(S::COUNT) % S::COUNT;
        Self {
            slots,
            rule,
            first,
            decided: false,
        }
    }

    /// Tells the rule of an end; whether that cancelled the rest.
    fn tell(&mut self, index: usize, severity: Severity) -> bool {
        if self.decided {
            return false;
        }
        let Verdict::CancelRest(kind) = self.rule.ended(index, severity) else {
            return false;
        };
        self.decided = true;
        for other in (0..S::COUNT).filter(|other| !self.slots.has_ended(*other)) {
            self.slots.cancel(other, kind);
        }
        true
    }

    /// Polls each slot once; whether those polled before a verdict should hear of it at once.
    fn turn(&mut self, task: &mut Context<'_>) -> bool {
        let mut again = false;
        for step in 0..S::COUNT {
            let index = (self.first + step) % S::COUNT;
            if self.slots.has_ended(index) {
                continue;
            }
            if let Poll::Ready(severity) = self.slots.poll(index, task) {
                again |= self.tell(index, severity) && step > 0;
            }
        }
        again
    }
}

impl<S: Slots, R: Rule> Future for Drive<'_, S, R> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        if this.turn(task) {
            // A verdict comes once, so this does not go round.
            this.turn(task);
        }
        if (0..S::COUNT).all(|index| this.slots.has_ended(index)) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

macro_rules! count {
    () => { 0 };
    ($head:ident $($tail:ident)*) => { 1 + count!($($tail)*) };
}

macro_rules! tuple {
    ($($branch:ident $slot:ident $index:tt),+) => {
        impl<$($branch: Future<Output: IntoOutcome>),+> Slots for ($(Slot<'_, '_, $branch>,)+) {
            const COUNT: usize = count!($($branch)+);

            fn has_ended(&self, index: usize) -> bool {
                match index {
                    $($index => self.$index.outcome.is_some(),)+
                    _ => unreachable!("a tuple has no such branch"),
                }
            }

            fn poll(&mut self, index: usize, task: &mut Context<'_>) -> Poll<Severity> {
                match index {
                    $($index => self.$index.poll(task),)+
                    _ => unreachable!("a tuple has no such branch"),
                }
            }

            fn cancel(&self, index: usize, kind: CancelKind) {
                match index {
                    $($index => self.$index.fiber.cancel(kind),)+
                    _ => unreachable!("a tuple has no such branch"),
                }
            }
        }

        impl<C: HasSpawn, $($branch: Branch<C>),+> Branches<C> for ($($branch,)+) {
            type Outcomes = ($(Outcome<$branch::Ok, $branch::Err>,)+);

            fn count(&self) -> usize {
                count!($($branch)+)
            }

            async fn run<R: Rule>(
                self,
                cx: &Cx<C>,
                rule: &mut R,
            ) -> Outcome<Self::Outcomes, Infallible> {
                let ($($slot,)+) = self;
                cx.region_with(collect(), async |scope| {
                    $(let $slot = pin!(scope.fiber(|cx| begin($slot, cx)));)+
                    let mut slots = ($(Slot::new($slot),)+);
                    Drive::new(&mut slots, rule).await;
                    Outcome::Ok(($(slots.$index.into_outcome(),)+))
                })
                .await
            }
        }

        impl<C: HasSpawn, Failure, $($branch: Branch<C, Err = Failure>),+> Joinable<C>
            for ($($branch,)+)
        {
            type Values = ($($branch::Ok,)+);
            type Err = Failure;

            fn combine(
                outcomes: Self::Outcomes,
                lead: Option<usize>,
            ) -> Outcome<Self::Values, Failure> {
                let mut worst = Worst::new(lead);
                $(let $slot = worst.take($index, outcomes.$index);)+
                worst.into_outcome().unwrap_or_else(|| {
                    Outcome::Ok(($($slot.expect("no outcome was bad"),)+))
                })
            }
        }

        impl<C: HasSpawn, Value, Failure, $($branch: Branch<C, Ok = Value, Err = Failure>),+>
            Uniform<C> for ($($branch,)+)
        {
            type Ok = Value;
            type Err = Failure;

            fn for_each(
                outcomes: Self::Outcomes,
                mut f: impl FnMut(usize, Outcome<Value, Failure>),
            ) {
                $(f($index, outcomes.$index);)+
            }
        }
    };
}

tuple!(A a 0);
tuple!(A a 0, B b 1);
tuple!(A a 0, B b 1, D d 2);
tuple!(A a 0, B b 1, D d 2, E e 3);
tuple!(A a 0, B b 1, D d 2, E e 3, F f 4);
tuple!(A a 0, B b 1, D d 2, E e 3, F f 4, G g 5);
tuple!(A a 0, B b 1, D d 2, E e 3, F f 4, G g 5, H h 6);
tuple!(A a 0, B b 1, D d 2, E e 3, F f 4, G g 5, H h 6, I i 7);
tuple!(A a 0, B b 1, D d 2, E e 3, F f 4, G g 5, H h 6, I i 7, J j 8);
tuple!(A a 0, B b 1, D d 2, E e 3, F f 4, G g 5, H h 6, I i 7, J j 8, K k 9);
tuple!(A a 0, B b 1, D d 2, E e 3, F f 4, G g 5, H h 6, I i 7, J j 8, K k 9, L l 10);
tuple!(A a 0, B b 1, D d 2, E e 3, F f 4, G g 5, H h 6, I i 7, J j 8, K k 9, L l 10, M m 11);
