//! A scope cannot be used once its context is gone.
use asupersync_kernel::{Cx, Scope};

async fn keep(cx: Cx) -> Option<Scope<'static, std::io::Error>> {
    let mut kept = None;
    let _ = cx
        .region(async |scope| {
            kept = Some(scope);
            Ok::<(), std::io::Error>(())
        })
        .await;
    kept
}

fn main() {
    let _ = keep;
}
