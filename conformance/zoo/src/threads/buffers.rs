//! Queues, stacks and tables without the lock that they need.

use std::sync::Arc;

use asupersync_kernel::Cx;
use asupersync_lab::Var;
use asupersync_sync::Mutex;

use crate::stage::{End, Twin, boxed, crew, holds, lock};
use crate::{Family, Program, Shows, ZooError};

pub(super) const PROGRAMS: &[Program] = &[
    Program {
        name: "circular-buffer",
        family: Family::Threads,
        pattern: "two producers find the same free place in a ring, and one overwrites the other",
        fix: "takes a place in one step",
        shows: Shows::Error,
        exhaustible: true,
        buggy: |cx| boxed(circular_buffer(cx, Twin::Buggy)),
        fixed: |cx| boxed(circular_buffer(cx, Twin::Fixed)),
    },
    Program {
        name: "queue",
        family: Family::Threads,
        pattern: "a producer counts an item before it has stored it, and the consumer takes what is not there",
        fix: "stores the item first",
        shows: Shows::Panic,
        exhaustible: true,
        buggy: |cx| boxed(queue(cx, Twin::Buggy)),
        fixed: |cx| boxed(queue(cx, Twin::Fixed)),
    },
    Program {
        name: "stack",
        family: Family::Threads,
        pattern: "who pops looks whether the stack is empty outside of the lock under which it pops",
        fix: "looks under the lock",
        shows: Shows::Error,
        exhaustible: true,
        buggy: |cx| boxed(stack(cx, Twin::Buggy)),
        fixed: |cx| boxed(stack(cx, Twin::Fixed)),
    },
    Program {
        name: "stringbuffer",
        family: Family::Threads,
        pattern: "an append asks for the other buffer's length, and then for its characters, which have become fewer",
        fix: "keeps the other buffer's lock for both",
        shows: Shows::Panic,
        exhaustible: true,
        buggy: |cx| boxed(string_buffer(cx, Twin::Buggy)),
        fixed: |cx| boxed(string_buffer(cx, Twin::Fixed)),
    },
    Program {
        name: "fsbench",
        family: Family::Threads,
        pattern: "a block is found free under its lock and marked busy under its lock, but the lock is given up in between",
        fix: "finds and marks it under one hold of the lock",
        shows: Shows::Error,
        exhaustible: true,
        buggy: |cx| boxed(fsbench(cx, Twin::Buggy)),
        fixed: |cx| boxed(fsbench(cx, Twin::Fixed)),
    },
    Program {
        name: "trace-table",
        family: Family::Threads,
        pattern: "two tasks find that a name is not in the table, and both insert it",
        fix: "looks and inserts in one step",
        shows: Shows::Error,
        exhaustible: true,
        buggy: |cx| boxed(trace_table(cx, Twin::Buggy)),
        fixed: |cx| boxed(trace_table(cx, Twin::Fixed)),
    },
    Program {
        name: "work-stealing",
        family: Family::Threads,
        pattern: "the thief looks at the owner's end before it shows its own, and both take the last item",
        fix: "shows its own end before it looks, as the owner does",
        shows: Shows::Error,
        exhaustible: true,
        buggy: |cx| boxed(work_stealing(cx, Twin::Buggy)),
        fixed: |cx| boxed(work_stealing(cx, Twin::Fixed)),
    },
    Program {
        name: "work-stealing-reuse",
        family: Family::Threads,
        pattern: "the thief reads the item after it has given the place away, which the owner has filled anew",
        fix: "reads the item first, and keeps it if the place was its own",
        shows: Shows::Error,
        exhaustible: true,
        buggy: |cx| boxed(work_stealing_reuse(cx, Twin::Buggy)),
        fixed: |cx| boxed(work_stealing_reuse(cx, Twin::Fixed)),
    },
    Program {
        name: "aba-stack",
        family: Family::Threads,
        pattern: "a pop takes the head for unchanged because the same node is back in its place, and installs a successor that belongs to another",
        fix: "the head carries a number that every change counts up",
        shows: Shows::Error,
        exhaustible: true,
        buggy: |cx| boxed(aba_stack(cx, Twin::Buggy)),
        fixed: |cx| boxed(aba_stack(cx, Twin::Fixed)),
    },
];

/// The pattern of SCTBench's `circular_buffer`.
async fn circular_buffer(cx: Cx, twin: Twin) -> End {
    let ring = Arc::new((Var::new(0), <[Var<usize>; 4]>::default()));
    crew(&cx, &ring, 2, move |cx, ring, number| async move {
        let (tail, places) = &*ring;
        let place = if twin.is_buggy() {
            let place = tail.get(&cx).await?;
            tail.set(&cx, (place + 1) % places.len()).await?;
            place
        } else {
            let next = |tail: &mut usize| std::mem::replace(tail, (*tail + 1) % 4);
            tail.update(&cx, next).await?
        };
        Ok(places[place].set(&cx, number + 1).await?)
    })
    .await?;
    let sum: usize = ring.1.iter().map(Var::get_now).sum();
    holds(sum == 3, "an item is overwritten")
}

/// The pattern of SCTBench's `queue`, whose flags run ahead of its items.
async fn queue(cx: Cx, twin: Twin) -> End {
    let queue = Arc::new((Var::new(0), <[Var<Option<u32>>; 2]>::default()));
    crew(&cx, &queue, 2, move |cx, queue, number| async move {
        let (count, items) = &*queue;
        for (index, item) in items.iter().enumerate() {
            if number == 1 {
                if count.get(&cx).await? > index {
                    let item = item.get(&cx).await?;
                    assert!(item.is_some(), "what is taken was not stored yet");
                }
            } else if twin.is_buggy() {
                count.set(&cx, index + 1).await?;
                item.set(&cx, Some(7)).await?;
            } else {
                item.set(&cx, Some(7)).await?;
                count.set(&cx, index + 1).await?;
            }
        }
        Ok(())
    })
    .await
}

/// The pattern of SCTBench's `stack`: one pushes an item, two try to pop it.
async fn stack(cx: Cx, twin: Twin) -> End {
    let stack = Arc::new((Mutex::new(()), Var::new(0)));
    crew(&cx, &stack, 3, move |cx, stack, number| async move {
        let (mutex, height) = &*stack;
        if number == 0 {
            let guard = lock(&cx, mutex).await?;
            height.update(&cx, |height| *height += 1).await?;
            drop(guard);
            return Ok(());
        }
        if twin.is_buggy() && height.get(&cx).await? == 0 {
            return Ok(());
        }
        let guard = lock(&cx, mutex).await?;
        if twin.is_buggy() || height.get(&cx).await? > 0 {
            height.update(&cx, |height| *height -= 1).await?;
        }
        drop(guard);
        Ok(())
    })
    .await?;
    holds(stack.1.get_now() >= 0, "more was popped than pushed")
}

/// The pattern of SCTBench's `stringbuffer-jdk1.4`.
async fn string_buffer(cx: Cx, twin: Twin) -> End {
    let other = Arc::new(Mutex::new(String::from("abc")));
    crew(&cx, &other, 2, move |cx, other, number| async move {
        if number == 0 {
            lock(&cx, &other).await?.truncate(1);
            return Ok(());
        }
        let mut own = String::new();
        let guard = lock(&cx, &other).await?;
        let len = guard.len();
        let guard = if twin.is_buggy() {
            drop(guard);
            lock(&cx, &other).await?
        } else {
            guard
        };
        let characters = guard.get(..len);
        assert!(characters.is_some(), "the other buffer is shorter by now");
        own.push_str(characters.unwrap_or_default());
        drop(guard);
        Ok(())
    })
    .await
}

/// The pattern of SCTBench's `fsbench`: two files each want the first block that is free.
async fn fsbench(cx: Cx, twin: Twin) -> End {
    let is_busy = [(); 2].map(|()| Mutex::new(false));
    let disk = Arc::new((is_busy, <[Var<u32>; 2]>::default()));
    crew(&cx, &disk, 2, move |cx, disk, _| async move {
        let (is_busy, owners) = &*disk;
        for block in 0..is_busy.len() {
            let mut guard = lock(&cx, &is_busy[block]).await?;
            if *guard {
                continue;
            }
            if twin.is_buggy() {
                drop(guard);
                guard = lock(&cx, &is_busy[block]).await?;
            }
            *guard = true;
            drop(guard);
            let before = owners[block].update(&cx, |count| std::mem::replace(count, *count + 1));
            return holds(before.await? == 0, "two files own one block");
        }
        Ok(())
    })
    .await
}

/// The pattern of SCTBench's `ctrace`, whose threads register themselves under their names.
async fn trace_table(cx: Cx, twin: Twin) -> End {
    let table = Arc::new(Var::new(Vec::new()));
    crew(&cx, &table, 3, move |cx, table, _| async move {
        let insert = |table: &mut Vec<&str>| table.push("main");
        if twin.is_buggy() {
            if !table.get(&cx).await?.contains(&"main") {
                table.update(&cx, insert).await?;
            }
            return Ok(());
        }
        let insert_new = |table: &mut Vec<&str>| {
            if !table.contains(&"main") {
                insert(table);
            }
        };
        Ok(table.update(&cx, insert_new).await?)
    })
    .await?;
    holds(table.get_now().len() == 1, "the name is in the table twice")
}

/// The pattern of SCTBench's `WSQ`: an owner that pops and a thief that steals, with one item between them.
///
/// Who finds that the other has come as far as itself leaves the item to it; so it may be left to nobody, which is no bug here.
async fn work_stealing(cx: Cx, twin: Twin) -> End {
    let queue = Arc::new((Var::new(0), Var::new(1), Var::new(0)));
    crew(&cx, &queue, 2, move |cx, queue, number| async move {
        let (head, tail, taken) = &*queue;
        let is_own = if number == 0 {
            tail.set(&cx, 0).await?;
            head.get(&cx).await? == 0
        } else if twin.is_buggy() {
            let is_there = tail.get(&cx).await? == 1;
            head.set(&cx, 1).await?;
            is_there
        } else {
            head.set(&cx, 1).await?;
            tail.get(&cx).await? == 1
        };
        if is_own {
            let before = taken.update(&cx, |times| std::mem::replace(times, *times + 1));
            holds(before.await? == 0, "both have taken the item")?;
        }
        Ok(())
    })
    .await
}

/// The pattern of SCTBench's `IWSQ`: a queue with one place, in which the owner has put item 1.
async fn work_stealing_reuse(cx: Cx, twin: Twin) -> End {
    let queue = Arc::new((Var::new(0), Var::new(1), <[Var<u32>; 3]>::default()));
    crew(&cx, &queue, 2, move |cx, queue, number| async move {
        let (head, place, taken) = &*queue;
        let item = if number == 0 {
            // There is room for item 2 once item 1 is gone; then it is popped again.
            if head.get(&cx).await? == 0 {
                return Ok(());
            }
            place.set(&cx, 2).await?;
            let item = place.get(&cx).await?;
            head.compare_exchange(&cx, &1, 2).await?.then_some(item)
        } else if twin.is_buggy() {
            head.set(&cx, 1).await?;
            Some(place.get(&cx).await?)
        } else {
            let item = place.get(&cx).await?;
            head.set(&cx, 1).await?;
            Some(item)
        };
        if let Some(item) = item {
            let was_taken =
                taken[item as usize].update(&cx, |times| std::mem::replace(times, *times + 1));
            holds(was_taken.await? == 0, "an item is taken twice")?;
        }
        Ok(())
    })
    .await
}

/// A stack of three nodes without a lock; the number in the head stands still in the buggy twin.
struct Nodes {
    head: Var<(Option<usize>, u32)>,
    next: [Var<Option<usize>>; 3],
    owned: [Var<bool>; 3],
    counts: bool,
}

impl Nodes {
    async fn pop(&self, cx: &Cx) -> Result<Option<usize>, ZooError> {
        for _ in 0..ATTEMPTS_MAX {
            let (head, number) = self.head.get(cx).await?;
            let Some(node) = head else { return Ok(None) };
            let next = self.next[node].get(cx).await?;
            let new = (next, number + u32::from(self.counts));
            if self.head.compare_exchange(cx, &(head, number), new).await? {
                let was_owned = self.owned[node].swap_now(true);
                holds(!was_owned, "a node has two owners")?;
                return Ok(Some(node));
            }
        }
        Ok(None)
    }

    async fn push(&self, cx: &Cx, node: usize) -> End {
        self.owned[node].set_now(false);
        for _ in 0..ATTEMPTS_MAX {
            let (head, number) = self.head.get(cx).await?;
            self.next[node].set(cx, head).await?;
            let new = (Some(node), number + u32::from(self.counts));
            if self.head.compare_exchange(cx, &(head, number), new).await? {
                break;
            }
        }
        Ok(())
    }
}

/// Each attempt that fails is another task's success, and there are fewer of them.
const ATTEMPTS_MAX: usize = 5;

/// The pattern of SCTBench's `safestack`.
async fn aba_stack(cx: Cx, twin: Twin) -> End {
    let nodes = Arc::new(Nodes {
        head: Var::new((Some(0), 0)),
        next: [Var::new(Some(1)), Var::new(Some(2)), Var::new(None)],
        owned: Default::default(),
        counts: twin.is_fixed(),
    });
    crew(&cx, &nodes, 2, |cx, nodes, number| async move {
        let first = nodes.pop(&cx).await?;
        let second = nodes.pop(&cx).await?;
        if let (0, Some(node), Some(_)) = (number, first, second) {
            nodes.push(&cx, node).await?;
        }
        Ok(())
    })
    .await
}
