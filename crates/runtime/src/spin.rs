//! Looking again for a while, instead of sleeping at once.
//!
//! The problem: a thread that sleeps is woken by a system call, and by a processor that may have to be started; where two threads answer one another at once that is nearly all of the time.
//! A look in vain costs too, so how often one is taken goes by how often another thread has answered before.

use std::time::Duration;

/// For so long one watches at most; a thread or a processor that slept may take as long to answer.
pub(crate) const WATCH: Duration = Duration::from_micros(80);

/// Looks so many times; whether `comes` held.
pub(crate) fn looks_again(looks: u32, comes: impl Fn() -> bool) -> bool {
    (0..looks).any(|_| {
        std::hint::spin_loop();
        comes()
    })
}

/// What came of looking again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    InTime,
    /// It took as long as if its thread had slept; now that both are awake the next one may be in time.
    Late,
    None,
}

/// Whether other threads answer while one looks again: what is learnt by trying, less often each time in vain.
pub(crate) struct Answers {
    /// How many sleeps go without a spin after the last one in vain.
    pause: u8,
    /// How many of them are left.
    left: u8,
    last: Answer,
}

impl Answers {
    /// The first few sleeps are not worth a try: a program that hardly ever sleeps gains nothing.
    pub(crate) const UNKNOWN: Self = Self {
        pause: 7,
        left: 7,
        last: Answer::None,
    };

    pub(crate) const fn are_worth_a_spin(&mut self) -> bool {
        if self.left > 0 {
            self.left -= 1;
            return false;
        }
        true
    }

    /// Whether it is worth waiting until one that is late has come, which those that are always late are not.
    pub(crate) const fn may_be_late(&self) -> bool {
        !matches!(self.last, Answer::Late)
    }

    pub(crate) const fn note(&mut self, answer: Answer) {
        // 0, 1, 3, and so on up to 255.
        let more = self.pause << 1 | 1;
        (self.pause, self.left) = match answer {
            Answer::InTime => (0, 0),
            Answer::Late => (more, 0),
            Answer::None => (more, more),
        };
        self.last = answer;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spins(answers: &mut Answers, sleeps: u32, answer: Answer) -> u32 {
        (0..sleeps)
            .filter(|_| {
                let spins = answers.are_worth_a_spin();
                if spins {
                    answers.note(answer);
                }
                spins
            })
            .count() as u32
    }

    #[test]
    fn a_worker_spins_for_answers_that_come_and_hardly_ever_for_those_that_do_not() {
        let mut answers = Answers::UNKNOWN;
        assert_eq!(spins(&mut answers, 1_000, Answer::InTime), 1_000 - 7);
        assert_eq!(spins(&mut answers, 10_000, Answer::None), 46);
        let until_next = (0..256).find(|_| spins(&mut answers, 1, Answer::InTime) == 1);
        assert!(until_next.is_some());
        assert_eq!(
            spins(&mut answers, 1_000, Answer::InTime),
            1_000,
            "one that came is enough"
        );
    }

    /// As a worker does it: one that comes late is waited for if it may be worth it.
    fn waits(answers: &mut Answers, sleeps: u32) -> u32 {
        (0..sleeps)
            .filter(|_| {
                if !answers.are_worth_a_spin() {
                    return false;
                }
                let waits = answers.may_be_late();
                answers.note(if waits { Answer::Late } else { Answer::None });
                waits
            })
            .count() as u32
    }

    #[test]
    fn answers_that_are_always_late_are_hardly_ever_waited_for() {
        let mut answers = Answers::UNKNOWN;
        spins(&mut answers, 8, Answer::InTime);
        assert!(waits(&mut answers, 10_000) < 50);
    }

    #[test]
    fn one_that_is_late_may_be_followed_by_one_in_time() {
        let mut answers = Answers::UNKNOWN;
        spins(&mut answers, 10_000, Answer::None);
        while !answers.are_worth_a_spin() {}
        answers.note(Answer::Late);
        assert!(answers.are_worth_a_spin(), "the next one is watched for");
        answers.note(Answer::InTime);
        assert!(answers.are_worth_a_spin() && answers.may_be_late());
    }
}
