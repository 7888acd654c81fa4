use asupersync::{Cx, select};

async fn run(cx: &Cx) {
    select! { cx;
        else => {}
        _ = cx.yield_now() => {}
    }
}

fn main() {}
