use asupersync::{Cx, join};

async fn run(cx: &Cx) {
    let _ = join!(cx);
}

fn main() {}
