//! A context without time cannot sleep.
use asupersync_kernel::{Cx, caps};

async fn wait(cx: &Cx<caps::Nothing>) {
    let _ = cx.sleep(std::time::Duration::from_secs(1)).await;
}

fn main() {
    let _ = wait;
}
