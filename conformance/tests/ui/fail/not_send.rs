//! What any worker may run must be `Send`.
use asupersync_kernel::Cx;
use std::rc::Rc;

async fn spawn(cx: &Cx) {
    let _ = cx
        .region(async |scope| {
            let shared = Rc::new(1);
            scope.spawn(async move |_: Cx| {
                drop(shared);
                Ok::<(), std::io::Error>(())
            });
            Ok::<(), std::io::Error>(())
        })
        .await;
}

fn main() {
    let _ = spawn;
}
