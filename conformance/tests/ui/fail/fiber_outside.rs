//! A fiber borrows from its scope and cannot leave the body.
use asupersync_kernel::Cx;

async fn leak(cx: &Cx) {
    let _ = cx
        .region(async |scope| {
            let fiber = scope.fiber(async |_: Cx| Ok::<(), std::io::Error>(()));
            Ok::<_, std::io::Error>(fiber)
        })
        .await;
}

fn main() {
    let _ = leak;
}
