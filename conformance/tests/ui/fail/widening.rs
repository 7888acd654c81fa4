//! Nothing widens.
use asupersync_kernel::{Cx, caps};

fn widen(cx: &Cx<caps::OnlyTime>) -> Cx {
    cx.restrict()
}

fn main() {
    let _ = widen;
}
