//! Connections of a listener: so many at a time, each for one request and for so long. Who opens a thousand must not take the
//! descriptors of the loop that keeps the tables.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// What one listener's clients may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Connections at a time; further ones wait in the kernel's queue.
    pub(super) connections: usize,
    /// Until a request's headers are there.
    pub(super) headers: Duration,
    /// For the whole of a connection.
    pub(super) whole: Duration,
}

/// A scraper takes one connection and milliseconds; the longest request takes ten seconds and its transfer.
pub(super) const LIMITS: Limits =
    Limits { connections: 64, headers: Duration::from_secs(5), whole: Duration::from_secs(30) };

/// Serves until it is dropped, and its connections with it.
pub(super) async fn serve<L: Listener>(mut listener: L, router: Router, limits: Limits) {
    let mut open = JoinSet::new();
    let places = Arc::new(Semaphore::new(limits.connections));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        // When descriptors run out all the same, this waits a second and tries again.
        let (stream, _peer) = listener.accept().await;
        while open.try_join_next().is_some() {}
        let service = TowerToHyperService::new(router.clone());
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.headers)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service);
        open.spawn(async move {
            let _place = place;
            // A client that goes away, or is sent away, is no event.
            drop(tokio::time::timeout(limits.whole, connection).await);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use std::time::Instant;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    const SHORT: Duration = Duration::from_millis(300);
    const LONG: Duration = Duration::from_mins(1);

    async fn server(limits: Limits) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/", get(|| async { "here\n" }))
            .route("/never", get(std::future::pending::<&str>));
        tokio::spawn(serve(listener, router, limits));
        address
    }

    /// Sends a request, or a part of one; all that comes until the connection is closed.
    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    const REQUEST: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";

    #[tokio::test]
    async fn idle_connections_beyond_the_limit_wait_outside() {
        let address = server(Limits { connections: 3, headers: LONG, whole: LONG }).await;
        let mut idle = Vec::new();
        for _ in 0..3 {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        tokio::time::timeout(SHORT, ask(address, REQUEST)).await.expect_err("there is no place");
        idle.clear();
        assert!(ask(address, REQUEST).await.ends_with("here\n"));
    }

    #[tokio::test]
    async fn who_sends_no_headers_loses_the_place() {
        let address = server(Limits { connections: 1, headers: SHORT, whole: LONG }).await;
        for part in ["", "GET / HTTP/1.1\r\nhost: x\r\n"] {
            let started = Instant::now();
            assert!(!ask(address, part).await.contains("here"), "{part:?}");
            assert!(started.elapsed() < 10 * SHORT, "{part:?}");
            assert!(ask(address, REQUEST).await.ends_with("here\n"));
        }
    }

    #[tokio::test]
    async fn no_connection_is_for_ever() {
        let address = server(Limits { connections: 1, headers: LONG, whole: SHORT }).await;
        let started = Instant::now();
        assert_eq!(ask(address, "GET /never HTTP/1.1\r\nhost: x\r\n\r\n").await, "");
        assert!(started.elapsed() < 10 * SHORT);
        assert!(ask(address, REQUEST).await.ends_with("here\n"));
    }
}
