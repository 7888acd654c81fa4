//! Tasks that are not `Send` stay on their worker.

use std::cell::Cell;
use std::rc::Rc;

use asupersync_conformance::on_both_hosts;
use asupersync_core::Outcome;
use asupersync_kernel::Cx;

use crate::support::{End, TICK};

#[test]
fn a_local_task_is_polled_on_one_thread_only() {
    on_both_hosts(async |cx| {
        let end = cx
            .region(async |scope| {
                let shared = Rc::new(Cell::new(0_u32));
                let handles: Vec<_> = (0..8)
                    .map(|_| {
                        let shared = Rc::clone(&shared);
                        scope.spawn_local(async move |cx: Cx| {
                            let home = std::thread::current().id();
                            for _ in 0..20 {
                                cx.yield_now().await?;
                                cx.sleep(TICK / 20).await?;
                                assert_eq!(std::thread::current().id(), home);
                                shared.set(shared.get() + 1);
                            }
                            End::Ok(Rc::clone(&shared))
                        })
                    })
                    .collect();
                // Tasks that any worker may run keep the others busy.
                for _ in 0..8 {
                    scope.spawn(async |cx: Cx| {
                        for _ in 0..50 {
                            cx.yield_now().await?;
                        }
                        End::Ok(())
                    });
                }
                for handle in handles {
                    handle.join(scope.cx()).await.flatten()?;
                }
                End::Ok(shared.get())
            })
            .await;
        assert_eq!(end, Outcome::Ok(160));
    });
}
