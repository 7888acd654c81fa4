//! The servers on tokio.

use std::pin::Pin;

use ::tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use ::tokio::net::{TcpListener, TcpStream};
use ::tokio::task;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::{HTTP1, LOOPBACK, hello};
use crate::compare::ECHO;
use crate::meter::{Sample, Size};
use crate::on_tokio::{joined, on_worker};
use crate::wire::Load;

/// HTTP/1.1 by hyper.
pub(crate) fn http1(size: Size) -> Sample {
    serve(size, HTTP1, |stream| {
        Box::pin(async {
            let io = TokioIo::new(stream);
            let served = http1::Builder::new().serve_connection(io, service_fn(hello));
            served.await.expect("the client speaks HTTP/1.1");
        })
    })
}

/// HTTP/2 by hyper.
pub(crate) fn http2(size: Size) -> Sample {
    serve(size, Load::H2load, |stream| {
        Box::pin(async {
            let io = TokioIo::new(stream);
            let served = http2::Builder::new(TokioExecutor::new());
            let served = served.serve_connection(io, service_fn(hello));
            served.await.expect("the client speaks HTTP/2");
        })
    })
}

/// The echo.
pub(crate) fn echo(size: Size, load: Load) -> Sample {
    serve(size, load, |mut stream| {
        Box::pin(async move {
            let mut heard = [0; ECHO.len()];
            while stream.read_exact(&mut heard).await.is_ok() {
                let answered = stream.write_all(&heard).await;
                answered.expect("the client reads");
            }
        })
    })
}

/// What is done with a connection.
type Handle = fn(TcpStream) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// Serves until the load has been measured.
fn serve(size: Size, load: Load, handle: Handle) -> Sample {
    on_worker(async move {
        let listener = TcpListener::bind(LOOPBACK).await;
        let listener = listener.expect("the loopback has a free port");
        let address = listener.local_addr().expect("is bound");
        let accepting = task::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).expect("takes the option");
                task::spawn(handle(stream));
            }
        });
        let measuring = task::spawn_blocking(move || load.begin(address).measure(size));
        let sample = joined(measuring).await;
        accepting.abort();
        sample
    })
}
