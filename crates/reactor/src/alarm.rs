//! Timeouts finer than the milliseconds that the poll call takes.
//!
//! # Problem
//! `epoll_wait` counts whole milliseconds, but timers are kept to a fraction of one.
//!
//! # Answer
//! Short timeouts are put on a timer of the kernel's that is a source like any other.
//! A long timeout is rounded down instead, which costs no system call in a turn that I/O will end anyway; the rest is then short.
//! The timer is made for the first short timeout; while the system has no file descriptor for it, short timeouts are rounded up.
//! Elsewhere than on Linux timeouts are rounded up to what the poll call takes.

#[cfg(target_os = "linux")]
pub(crate) use linux::Alarm;
#[cfg(not(target_os = "linux"))]
pub(crate) use other::Alarm;

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::os::fd::{AsRawFd, OwnedFd};
    use std::time::Duration;

    use mio::unix::SourceFd;
    use mio::{Interest, Registry};
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };

    use crate::slots::ALARM;

    /// The kernel's timer, once there is one, and whether it may still ring.
    pub(crate) struct Alarm {
        timer: Option<OwnedFd>,
        armed: bool,
    }

    impl Alarm {
        pub(crate) const fn new() -> Self {
            Self {
                timer: None,
                armed: false,
            }
        }

        /// Prepares a wait of at most `timeout` and gives the timeout for the poll call.
        pub(crate) fn arm(
            &mut self,
            registry: &Registry,
            timeout: Option<Duration>,
        ) -> io::Result<Option<Duration>> {
            let Some(wanted) = timeout.filter(|wanted| !wanted.is_zero()) else {
                self.disarm()?;
                return Ok(timeout);
            };
            let whole =
                Duration::from_millis(u64::try_from(wanted.as_millis()).unwrap_or(u64::MAX));
            if whole == wanted || whole >= LONG {
                self.disarm()?;
                return Ok(Some(whole));
            }
            if self.timer.is_none() {
                self.timer = timer(registry).ok();
            }
            let Some(timer) = &self.timer else {
                return Ok(Some(whole + Duration::from_millis(1)));
            };
            set(timer, wanted)?;
            self.armed = true;
            // Should the timer fail to ring, the poll call ends the wait a little later.
            Ok(Some(whole + Duration::from_millis(2)))
        }

        /// Notes that the timer has rung.
        pub(crate) const fn rung(&mut self) {
            self.armed = false;
        }

        fn disarm(&mut self) -> io::Result<()> {
            if let Some(timer) = self.timer.as_ref().filter(|_| self.armed) {
                set(timer, Duration::ZERO)?;
                self.armed = false;
            }
            Ok(())
        }
    }

    /// A timer of the kernel's that the registry watches.
    fn timer(registry: &Registry) -> io::Result<OwnedFd> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        registry.register(&mut SourceFd(&timer.as_raw_fd()), ALARM, Interest::READABLE)?;
        Ok(timer)
    }

    fn set(timer: &OwnedFd, after: Duration) -> io::Result<()> {
        let zero = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let value = Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(after.subsec_nanos()),
        };
        let spec = Itimerspec {
            it_interval: zero,
            it_value: value,
        };
        timerfd_settime(timer, TimerfdTimerFlags::empty(), &spec)?;
        Ok(())
    }

    /// From here on a timeout is rounded down to whole milliseconds; it must be below a second.
    const LONG: Duration = Duration::from_millis(16);
}

#[cfg(not(target_os = "linux"))]
mod other {
    use std::io;
    use std::time::Duration;

    use mio::Registry;

    /// No finer clock than the poll call's.
    pub(crate) struct Alarm;

    impl Alarm {
        pub(crate) const fn new() -> Self {
            Self
        }

        pub(crate) fn arm(
            &mut self,
            _: &Registry,
            timeout: Option<Duration>,
        ) -> io::Result<Option<Duration>> {
            Ok(timeout)
        }

        pub(crate) const fn rung(&mut self) {}
    }
}
