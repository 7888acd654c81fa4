//! Happens-before of a run's steps, built step by step, and cut back where a search goes back.
//!
//! # How the order comes about
//! The accesses to one object form *groups*: a write is a group of its own, and so are neighbours whose modes commute.
//! A step comes after the step before it of its process, after the last barrier, and, for each of its objects, after the group before its own.
//! These predecessors determine the whole order, and they are the same for equivalent runs.
//!
//! # Invariants
//! - A trail that was cut back to a length is the trail of so many steps.
//! - The row of a step counts, for each process, how many of its steps come before it or are it; so one comparison tells whether a step comes before another.
//!
//! # Deliberately absent
//! Sharing of predecessors: many reads after many additions to one object cost one entry for each pair.
//! Of what the kernel adds to, the wakes of a task alone are also read, and by that task only.

use crate::hash::{self, Map};
use crate::step::{Mode, Object, ProcessKey, Step};

/// The order of a run's steps so far.
#[derive(Default)]
pub(crate) struct Trail {
    /// Whether rows are kept, and with them who comes before whom.
    has_rows: bool,
    processes: Map<ProcessKey, u32>,
    keys: Vec<ProcessKey>,
    /// Of each process how many steps it took, and its last one so far.
    lives: Vec<Life>,
    places: Map<Object, u32>,
    objects: Vec<Touched>,
    /// Beyond this many, what stands in `objects` is memory to be used again.
    objects_len: usize,
    points: Vec<Point>,
    accesses: Vec<(u32, Mode)>,
    predecessors: Vec<u32>,
    /// Predecessors of other processes with nothing in between.
    adjacent: Vec<u32>,
    rows: Vec<u32>,
    wakes: Vec<(u32, Option<u32>)>,
    ended_in: Vec<u32>,
    waited_for: Vec<u32>,
}

#[derive(Clone, Copy, Default)]
struct Life {
    steps: u32,
    last: Option<u32>,
}

/// An object, and who accessed it in order.
struct Touched {
    object: Object,
    touches: Vec<Touch>,
}

#[derive(Clone, Copy)]
struct Touch {
    step: u32,
    mode: Mode,
    /// Where its group begins among the touches.
    group: u32,
}

struct Point {
    process: u32,
    /// Which of its process's steps, from 1.
    nth: u32,
    /// The step before of its process.
    previous: Option<u32>,
    /// The last barrier before it.
    barrier: Option<u32>,
    is_barrier: bool,
    /// Hashes the step with all that comes before it.
    hash: u64,
    /// Sums the hashes up to here.
    sum: u64,
    start: Lengths,
}

/// Where a step's part of each list begins.
#[derive(Clone, Copy)]
struct Lengths {
    processes: usize,
    objects: usize,
    accesses: usize,
    predecessors: usize,
    adjacent: usize,
    rows: usize,
    wakes: usize,
    ended_in: usize,
    waited_for: usize,
}

impl Trail {
    /// A trail that knows predecessors and hashes.
    pub(crate) fn linked() -> Self {
        Self::default()
    }

    /// A trail that also knows who comes before whom.
    pub(crate) fn ordered() -> Self {
        Self {
            has_rows: true,
            ..Self::default()
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.points.len()
    }

    /// Adds the next step of the run.
    pub(crate) fn push(&mut self, step: &Step) {
        let index = self.points.len() as u32;
        let start = self.lengths();
        let process = self.process(step.process);
        let life = &mut self.lives[process as usize];
        life.steps += 1;
        let previous = life.last.replace(index);
        let nth = life.steps;
        let before = self.points.last();
        let barrier = before.and_then(|point| {
            if point.is_barrier {
                Some(index - 1)
            } else {
                point.barrier
            }
        });
        self.points.push(Point {
            process,
            nth,
            previous,
            barrier,
            is_barrier: step.kind.is_barrier(),
            hash: 0,
            sum: before.map_or(0, |point| point.sum),
            start,
        });
        self.link(step);
        if self.has_rows {
            self.add_row();
        }
        self.add_hash(step);
        self.note_waits(step);
    }

    /// Forgets all but the first `length` steps.
    pub(crate) fn cut(&mut self, length: usize) {
        let Some(first) = self.points.get(length) else {
            return;
        };
        let start = first.start;
        for (object, _) in &self.accesses[start.accesses..] {
            let popped = self.objects[*object as usize].touches.pop();
            debug_assert!(popped.is_some(), "each access stands with its object");
        }
        for point in self.points.drain(length..).rev() {
            let life = &mut self.lives[point.process as usize];
            life.steps -= 1;
            life.last = point.previous;
        }
        for touched in &self.objects[start.objects..self.objects_len] {
            self.places.remove(&touched.object);
        }
        for key in &self.keys[start.processes..] {
            self.processes.remove(key);
        }
        self.objects_len = start.objects;
        self.keys.truncate(start.processes);
        self.lives.truncate(start.processes);
        self.accesses.truncate(start.accesses);
        self.predecessors.truncate(start.predecessors);
        self.adjacent.truncate(start.adjacent);
        self.rows.truncate(start.rows);
        self.wakes.truncate(start.wakes);
        self.ended_in.truncate(start.ended_in);
        self.waited_for.truncate(start.waited_for);
    }

    /// Whether the step with index `a` comes before the one with index `b`.
    pub(crate) fn before(&self, a: usize, b: usize) -> bool {
        debug_assert!(self.has_rows, "only an ordered trail can tell");
        let (first, second) = (&self.points[a], &self.points[b]);
        a < b && self.row(second).get(first.process as usize) >= Some(&first.nth)
    }

    /// What determines the place of a step in the order.
    pub(crate) fn predecessors(&self, step: usize) -> &[u32] {
        let range = self.range(step, |start| start.predecessors, self.predecessors.len());
        &self.predecessors[range]
    }

    /// The steps of other processes that come before a step with nothing in between.
    pub(crate) fn adjacent(&self, step: usize) -> &[u32] {
        &self.adjacent[self.range(step, |start| start.adjacent, self.adjacent.len())]
    }

    pub(crate) fn accesses(&self, step: usize) -> &[(u32, Mode)] {
        &self.accesses[self.range(step, |start| start.accesses, self.accesses.len())]
    }

    pub(crate) fn object(&self, place: u32) -> Object {
        self.objects[place as usize].object
    }

    pub(crate) fn key(&self, step: usize) -> ProcessKey {
        self.keys[self.points[step].process as usize]
    }

    pub(crate) fn is_barrier(&self, step: usize) -> bool {
        self.points[step].is_barrier
    }

    /// Hashes a step with all that comes before it.
    pub(crate) fn hash(&self, step: usize) -> u64 {
        self.points[step].hash
    }

    /// Hashes the whole order.
    pub(crate) fn sum(&self) -> u64 {
        self.points.last().map_or(0, |point| point.sum)
    }

    /// Whether `second` could have been taken without `first`, of which it comes right after.
    ///
    /// It could not if `first` alone made it run, or if it waited for a region's children, of which `first` was one.
    pub(crate) fn is_reversible(&self, first: usize, second: usize) -> bool {
        if self.is_barrier(first) || self.is_barrier(second) {
            return false;
        }
        let range = self.range(second, |start| start.wakes, self.wakes.len());
        let wakes = &self.wakes[range];
        if wakes.is_empty() {
            return true;
        }
        let mut others = wakes.iter().filter(|(step, _)| *step as usize != first);
        let range = self.range(second, |start| start.waited_for, self.waited_for.len());
        let waited = &self.waited_for[range];
        let range = self.range(first, |start| start.ended_in, self.ended_in.len());
        let ended = &self.ended_in[range];
        match waited.iter().find(|region| ended.contains(region)) {
            None => others.next().is_some(),
            Some(region) => others.any(|(_, by_end_in)| *by_end_in != Some(*region)),
        }
    }

    fn lengths(&self) -> Lengths {
        Lengths {
            processes: self.keys.len(),
            objects: self.objects_len,
            accesses: self.accesses.len(),
            predecessors: self.predecessors.len(),
            adjacent: self.adjacent.len(),
            rows: self.rows.len(),
            wakes: self.wakes.len(),
            ended_in: self.ended_in.len(),
            waited_for: self.waited_for.len(),
        }
    }

    /// A step's part of a list.
    fn range(
        &self,
        step: usize,
        start: impl Fn(&Lengths) -> usize,
        length: usize,
    ) -> std::ops::Range<usize> {
        let next = self.points.get(step + 1);
        start(&self.points[step].start)..next.map_or(length, |point| start(&point.start))
    }

    fn row(&self, point: &Point) -> &[u32] {
        &self.rows[point.start.rows..point.start.rows + row_length(point)]
    }

    fn process(&mut self, key: ProcessKey) -> u32 {
        let (keys, lives) = (&mut self.keys, &mut self.lives);
        *self.processes.entry(key).or_insert_with(|| {
            keys.push(key);
            lives.push(Life::default());
            keys.len() as u32 - 1
        })
    }

    fn place_of(&mut self, object: Object) -> u32 {
        if let Some(place) = self.places.get(&object) {
            return *place;
        }
        let place = self.objects_len;
        self.objects_len += 1;
        match self.objects.get_mut(place) {
            Some(touched) => touched.object = object,
            None => self.objects.push(Touched {
                object,
                touches: Vec::new(),
            }),
        }
        self.places.insert(object, place as u32);
        place as u32
    }

    /// Enters the accesses of the last point, and finds its predecessors.
    fn link(&mut self, step: &Step) {
        let index = self.points.len() as u32 - 1;
        let point = &self.points[index as usize];
        let (start, is_barrier) = (point.start.predecessors, point.is_barrier);
        let (previous, barrier) = (point.previous, point.barrier);
        if is_barrier {
            self.predecessors.extend(barrier.unwrap_or(0)..index);
        } else {
            self.predecessors.extend(previous.iter().chain(&barrier));
        }
        for (object, mode) in &step.accesses {
            let place = self.place_of(*object);
            let from = self.predecessors.len();
            self.touch(place, *mode, index);
            if is_barrier {
                self.predecessors.truncate(from);
            }
        }
        let own = &mut self.predecessors[start..];
        own.sort_unstable_by(|a, b| b.cmp(a));
        let mut length = start;
        for from in start..self.predecessors.len() {
            let step = self.predecessors[from];
            if length == start || self.predecessors[length - 1] != step {
                self.predecessors[length] = step;
                length += 1;
            }
        }
        self.predecessors.truncate(length);
    }

    /// Enters an access, and its predecessors.
    fn touch(&mut self, place: u32, mode: Mode, step: u32) {
        self.accesses.push((place, mode));
        let touches = &mut self.objects[place as usize].touches;
        let length = touches.len() as u32;
        let (group, before) = match touches.last() {
            None => (0, 0..0),
            Some(last) if last.mode.commutes_with(mode) => {
                let before = last.group.checked_sub(1);
                let before = before.map_or(0..0, |end| touches[end as usize].group..last.group);
                (last.group, before)
            }
            Some(last) => (length, last.group..length),
        };
        let before = &touches[before.start as usize..before.end as usize];
        self.predecessors
            .extend(before.iter().map(|touch| touch.step));
        touches.push(Touch { step, mode, group });
    }

    /// A hash of a past to which the predecessors from this place on are added.
    fn mixed_in(&self, past: u64, from: usize) -> u64 {
        let steps = self.predecessors[from..].iter();
        let sum = steps.fold(0_u64, |sum, step| {
            sum.wrapping_add(hash::mix(self.points[*step as usize].hash))
        });
        hash::pair(past, sum)
    }

    /// Gives the last point its row, and finds which of its predecessors have nothing in between.
    fn add_row(&mut self) {
        let index = self.points.len() - 1;
        let point = &self.points[index];
        let (start, process, nth) = (point.start.rows, point.process as usize, point.nth);
        let length = row_length(point);
        if point.is_barrier {
            let lives = self.lives[..length].iter();
            self.rows.extend(lives.map(|life| life.steps));
            return;
        }
        self.rows.resize(start + length, 0);
        if let Some(previous) = point.previous {
            self.join_row(start, previous as usize);
        }
        let predecessors = self.points[index].start.predecessors;
        for place in predecessors..self.predecessors.len() {
            let before = self.predecessors[place];
            let point = &self.points[before as usize];
            // Later ones come first, so what is covered by now is covered by one in between.
            if self.rows[start + point.process as usize] < point.nth {
                self.adjacent.push(before);
                self.join_row(start, before as usize);
            }
        }
        self.rows[start + process] = nth;
    }

    /// Raises the entries of the row at `start` to those of a step.
    fn join_row(&mut self, start: usize, step: usize) {
        let point = &self.points[step];
        let length = row_length(point);
        let (rows, own) = self.rows.split_at_mut(start);
        let from = point.start.rows;
        for (own, other) in own.iter_mut().zip(&rows[from..from + length]) {
            *own = (*own).max(*other);
        }
    }

    fn add_hash(&mut self, step: &Step) {
        let start = self.points[self.points.len() - 1].start.predecessors;
        let hash = self.mixed_in(step.label(), start);
        if let Some(point) = self.points.last_mut() {
            point.hash = hash;
            point.sum = point.sum.wrapping_add(hash::mix(hash));
        }
    }

    /// Keeps what [`is_reversible`](Self::is_reversible) asks for.
    fn note_waits(&mut self, step: &Step) {
        for wake in &step.wakes {
            let by_end_in = wake.by_end_in.map(|region| self.place_of(region));
            self.wakes.push((wake.step as u32, by_end_in));
        }
        for region in &step.ended_in {
            let place = self.place_of(*region);
            self.ended_in.push(place);
        }
        for region in &step.waited_for {
            let place = self.place_of(*region);
            self.waited_for.push(place);
        }
    }
}

/// A row has an entry for each process known by then; later ones had taken no step.
fn row_length(point: &Point) -> usize {
    point.start.processes.max(point.process as usize + 1)
}
