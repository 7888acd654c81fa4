use asupersync::{Cancelled, Cx, Outcome, scope, spawn};

async fn run(cx: &Cx) -> Outcome<(), Cancelled> {
    let local = String::from("local");
    let borrowed = &local;
    scope!(cx, |scope| {
        spawn!(scope, |_cx| {
            drop(borrowed.len());
            Ok::<_, Cancelled>(())
        });
        Ok::<_, Cancelled>(())
    })
}

fn main() {}
