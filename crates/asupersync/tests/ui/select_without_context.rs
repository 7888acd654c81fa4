use asupersync::{Cx, select};

async fn run(cx: &Cx) {
    select! {
        _ = cx.yield_now() => {}
    }
}

fn main() {}
