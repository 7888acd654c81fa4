//! Looking again for a while, instead of sleeping at once.
//!
//! The problem: a thread that sleeps is woken by a system call, and by a processor that may have to be started; where two threads answer one another at once that is nearly all of the time.
//! A look in vain costs too, so how often one is taken goes by how often another thread has answered before.

/// Looks so many times; whether `comes` held.
pub(crate) fn looks_again(looks: u32, comes: impl Fn() -> bool) -> bool {
    (0..looks).any(|_| {
        std::hint::spin_loop();
        comes()
    })
}

/// Whether other threads answer while one looks again: what is learnt by trying, less often each time in vain.
pub(crate) struct Answers {
    /// How many sleeps go without a spin after the last one in vain.
    pause: u8,
    /// How many of them are left.
    left: u8,
}

impl Answers {
    /// The first few sleeps are not worth a try: a program that hardly ever sleeps gains nothing.
    pub(crate) const UNKNOWN: Self = Self { pause: 7, left: 7 };

    pub(crate) const fn are_worth_a_spin(&mut self) -> bool {
        if self.left > 0 {
            self.left -= 1;
            return false;
        }
        true
    }

    pub(crate) const fn note(&mut self, came: bool) {
        // 0, 1, 3, and so on up to 255.
        self.pause = if came { 0 } else { self.pause << 1 | 1 };
        self.left = self.pause;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spins(answers: &mut Answers, sleeps: u32, comes: bool) -> u32 {
        (0..sleeps)
            .filter(|_| {
                let spins = answers.are_worth_a_spin();
                if spins {
                    answers.note(comes);
                }
                spins
            })
            .count() as u32
    }

    #[test]
    fn a_worker_spins_for_answers_that_come_and_hardly_ever_for_those_that_do_not() {
        let mut answers = Answers::UNKNOWN;
        assert_eq!(spins(&mut answers, 1_000, true), 1_000 - 7);
        assert_eq!(spins(&mut answers, 10_000, false), 46);
        let until_next = (0..256).find(|_| spins(&mut answers, 1, true) == 1);
        assert!(until_next.is_some());
        assert_eq!(
            spins(&mut answers, 1_000, true),
            1_000,
            "one that came is enough"
        );
    }
}
