use asupersync::{Cx, scope};

async fn run(cx: &Cx) {
    let _ = scope!(cx, deadline = 7, |scope| { Ok::<_, asupersync::Cancelled>(()) });
}

fn main() {}
