//! The servers on smol.

use std::pin::Pin;

use ::smol::net::{TcpListener, TcpStream};
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;

use super::{HTTP1, LOOPBACK, hello};
use crate::compare::hyper_io::HyperIo;
use crate::meter::{Sample, Size};
use crate::on_smol::{on_worker, spawn};
use crate::wire::Load;

/// HTTP/1.1 by hyper.
pub(crate) fn http1(size: Size) -> Sample {
    serve(size, HTTP1, |stream| {
        Box::pin(async {
            let io = HyperIo::new(stream);
            let served = http1::Builder::new().serve_connection(io, service_fn(hello));
            served.await.expect("the client speaks HTTP/1.1");
        })
    })
}

/// HTTP/2 by hyper.
pub(crate) fn http2(size: Size) -> Sample {
    serve(size, Load::H2load, |stream| {
        Box::pin(async {
            let io = HyperIo::new(stream);
            let served = http2::Builder::new(Detached);
            let served = served.serve_connection(io, service_fn(hello));
            served.await.expect("the client speaks HTTP/2");
        })
    })
}

/// Spawns what hyper starts for a connection.
#[derive(Clone, Copy)]
struct Detached;

impl<Fut> Executor<Fut> for Detached
where
    Fut: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: Fut) {
        spawn(task).detach();
    }
}

/// What is done with a connection.
type Handle = fn(TcpStream) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// Serves until the load has been measured.
fn serve(size: Size, load: Load, handle: Handle) -> Sample {
    on_worker(async move {
        let listener = TcpListener::bind(LOOPBACK).await;
        let listener = listener.expect("the loopback has a free port");
        let address = listener.local_addr().expect("is bound");
        let accepting = spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).expect("takes the option");
                spawn(handle(stream)).detach();
            }
        });
        let sample = ::smol::unblock(move || load.begin(address).measure(size)).await;
        accepting.cancel().await;
        sample
    })
}
