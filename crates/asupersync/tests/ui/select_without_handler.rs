use asupersync::{Cx, select};

async fn run(cx: &Cx) {
    select! { cx;
        _ = cx.yield_now(),
    }
}

fn main() {}
