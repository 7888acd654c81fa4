//! A context without spawning cannot open a region.
use asupersync_kernel::{Cx, caps};

async fn open(cx: &Cx<caps::NoSpawn>) {
    let _ = cx.region(async |_scope| Ok::<(), std::io::Error>(())).await;
}

fn main() {
    let _ = open;
}
