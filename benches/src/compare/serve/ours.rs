//! The servers on asupersync.

use std::pin::Pin;

use asupersync_core::{Cancelled, IntoOutcome as _, Outcome};
use asupersync_io::{ReadExt as _, WriteExt as _};
use asupersync_kernel::{Cx, Scope};
use asupersync_net::{TcpListener, TcpStream};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;

use super::{HTTP1, LOOPBACK, hello};
use crate::compare::ECHO;
use crate::compare::hyper_io::{HyperIo, Started};
use crate::meter::{Sample, Size};
use crate::on_ours::{End, joined, on_worker, region};
use crate::wire::Load;

/// HTTP/1.1 by hyper.
pub(crate) fn http1(size: Size) -> Sample {
    serve(size, HTTP1, |cx, stream| {
        Box::pin(async move {
            let io = HyperIo::new(stream);
            let served = http1::Builder::new().serve_connection(io, service_fn(hello));
            ended(&cx, served.await).into_outcome()
        })
    })
}

/// HTTP/2 by hyper; each connection is a region, and its requests are tasks in it.
pub(crate) fn http2(size: Size) -> Sample {
    serve(size, Load::H2load, |cx, stream| {
        Box::pin(async move {
            cx.region(async |scope: Scope<'_, Cancelled>| {
                let (io, started) = (HyperIo::new(stream), Started::default());
                let connection = http2::Builder::new(started.clone());
                let connection = connection.serve_connection(io, service_fn(hello));
                ended(scope.cx(), started.serve(&scope, connection).await)
            })
            .await
        })
    })
}

/// How a connection has ended: the server is cancelled as soon as the load is over, which may be before it has seen that the client is gone.
fn ended(cx: &Cx, served: hyper::Result<()>) -> End<()> {
    if let Err(error) = served {
        cx.checkpoint()?;
        panic!("the client speaks as it is answered, and not: {error}");
    }
    Ok(())
}

/// The echo.
pub(crate) fn echo(size: Size, load: Load) -> Sample {
    serve(size, load, |_, mut stream| {
        Box::pin(async move {
            let mut heard = [0; ECHO.len()];
            while stream.read_exact(&mut heard).await.is_ok() {
                let answered = stream.write_all(&heard).await;
                answered.expect("the client reads");
            }
            Outcome::Ok(())
        })
    })
}

/// What is done with a connection.
type Handle = fn(Cx, TcpStream) -> Pin<Box<dyn Future<Output = Outcome<(), Cancelled>> + Send>>;

/// Serves until the load has been measured.
fn serve(size: Size, load: Load, handle: Handle) -> Sample {
    on_worker(async move |cx: Cx| {
        region!(cx, async |scope: Scope<'_, Cancelled>| {
            let listener = TcpListener::bind(scope.cx(), LOOPBACK).await;
            let listener = listener.expect("the loopback has a free port");
            let address = listener.local_addr().expect("is bound");
            let accepting = scope.spawn(async move |cx: Cx| {
                cx.region(async |scope: Scope<'_, Cancelled>| {
                    accept(&scope, &listener, handle).await
                })
                .await
            });
            let measuring = scope.spawn(async move |cx: Cx| {
                let measure = move || load.begin(address).measure(size);
                End::Ok(cx.blocking(measure).await.expect("the load is carried"))
            });
            let sample = joined(&scope, measuring).await;
            accepting.cancel();
            assert!(accepting.join(scope.cx()).await.is_cancelled());
            End::Ok(sample)
        })
    })
}

/// Accepts until it is cancelled, and hands each connection to a task.
async fn accept(scope: &Scope<'_, Cancelled>, listener: &TcpListener, handle: Handle) -> End<()> {
    loop {
        scope.cx().checkpoint()?;
        let Ok((stream, _)) = listener.accept(scope.cx()).await else {
            continue;
        };
        stream.set_nodelay(true).expect("takes the option");
        scope.spawn(move |cx: Cx| handle(cx, stream));
    }
}
