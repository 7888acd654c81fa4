//! A task cannot take its region's scope along.
use asupersync_kernel::Cx;

async fn steal(cx: &Cx) {
    let _ = cx
        .region(async |scope| {
            scope.spawn(async move |_: Cx| {
                scope.spawn(async |_: Cx| Ok::<(), std::io::Error>(()));
                Ok::<(), std::io::Error>(())
            });
            Ok::<(), std::io::Error>(())
        })
        .await;
}

fn main() {
    let _ = steal;
}
