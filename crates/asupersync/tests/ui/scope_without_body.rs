use asupersync::{Cx, scope};

async fn run(cx: &Cx) {
    let _ = scope!(cx, 7);
}

fn main() {}
