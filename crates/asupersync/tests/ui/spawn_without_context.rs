use asupersync::{Cancelled, Cx, scope, spawn};

async fn run(cx: &Cx) {
    let _ = scope!(cx, |scope| {
        spawn!(scope, || Ok::<_, Cancelled>(()));
        Ok::<_, Cancelled>(())
    });
}

fn main() {}
