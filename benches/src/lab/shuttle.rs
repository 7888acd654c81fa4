//! The rows under shuttle.

use std::sync::Arc;

use shuttle::future;
use shuttle::sync::Mutex;
use shuttle::sync::mpsc;

use super::{MESSAGES, ROUNDS, TASKS};
use crate::meter::{Meter, Sample, Size};

fn check(size: Size, program: impl Fn() + Send + Sync + 'static) -> Sample {
    let schedules = size.ops * size.batches;
    let meter = Meter::start();
    let iterations = usize::try_from(schedules).expect("it is small");
    shuttle::check_random(program, iterations);
    meter.stop(schedules)
}

pub(crate) fn locks(size: Size) -> Sample {
    check(size, || {
        future::block_on(async {
            let sum = Arc::new(Mutex::new(0));
            let tasks: Vec<_> = (0..TASKS)
                .map(|_| {
                    let sum = Arc::clone(&sum);
                    future::spawn(async move {
                        for _ in 0..ROUNDS {
                            *sum.lock().expect("nobody panics") += 1;
                            future::yield_now().await;
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.expect("it ends");
            }
        });
    })
}

pub(crate) fn channel(size: Size) -> Sample {
    check(size, || {
        let (sender, receiver) = mpsc::sync_channel(1);
        let sending = future::spawn(async move {
            for n in 0..MESSAGES {
                sender.send(n).expect("the receiver waits");
            }
        });
        let mut sum = 0;
        while let Ok(n) = receiver.recv() {
            sum += n;
        }
        future::block_on(sending).expect("it ends");
        assert_eq!(sum, MESSAGES * (MESSAGES - 1) / 2);
    })
}
