//! The bare server behind the floor F_http: hyper, one thread, the request's body comes back, nothing else.
//!
//! It runs as a child process, as the product does, and lives as long as its parent holds its standard input open.

use std::convert::Infallible;
use std::io::{self, Read as _, Write as _};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// What the first line of its output starts with, before the address.
pub(crate) const GREETING: &str = "listening ";

/// Serves until standard input ends.
pub(crate) async fn serve() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{GREETING}{}", listener.local_addr()?);
    io::stdout().flush()?;
    let mut parent_gone = watch_parent();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                stream.set_nodelay(true)?;
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(echo)));
            }
            _ = &mut parent_gone => return Ok(()),
        }
    }
}

/// Resolves when standard input ends. A thread, because a terminal or a file can't be polled.
fn watch_parent() -> oneshot::Receiver<()> {
    let (gone, parent_gone) = oneshot::channel();
    std::thread::spawn(move || {
        let mut ignored = [0; 64];
        while matches!(io::stdin().read(&mut ignored), Ok(1..)) {}
        // Nobody waits any more when the server has already failed.
        let _ = gone.send(());
    });
    parent_gone
}

async fn echo(request: Request<Incoming>) -> Result<Response<Incoming>, Infallible> {
    Ok(Response::new(request.into_body()))
}
