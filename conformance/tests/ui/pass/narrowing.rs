//! Narrowing, and what each set still allows.
use asupersync_kernel::{Cx, caps};

async fn wait(cx: &Cx<caps::OnlyTime>) {
    let _ = cx.sleep(std::time::Duration::from_secs(1)).await;
}

async fn both(cx: &Cx) {
    wait(&cx.restrict()).await;
    let no_io: Cx<caps::NoIo> = cx.restrict();
    wait(&no_io.restrict()).await;
}

fn main() {
    let _ = both;
}
