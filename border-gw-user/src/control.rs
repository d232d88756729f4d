//! HTTP for people and machines: on the metrics address `/metrics` and whether all is well; on the control socket everything, and
//! the few orders that change something.

mod connections;
mod orders;
mod socket;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Serialize;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, mpsc, watch};

use self::connections::LIMITS;
pub use self::orders::{Order, Question, orders, questions};
use self::socket::SocketFile;
use crate::dataplane;
use crate::dataplane::counters::{Counters, hold_still};
use crate::intent::Intent;
use crate::state::State;
use crate::{health, metrics, view};

/// A place where the daemon cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The control socket.
    #[error("cannot listen on control socket {path}: {cause}")]
    Socket {
        /// Its path.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// Somebody else's.
    #[error("another process answers on control socket {0}: stop it, or set another `gateway.control`")]
    Taken(PathBuf),
    /// Somebody's file.
    #[error(
        "cannot make control socket {0}: a file that is no socket has this path, and it is not removed; remove it, or set \
         another `gateway.control`"
    )]
    NotASocket(PathBuf),
    /// The metrics address.
    #[error("cannot serve metrics on {address}: {cause}; set another `gateway.metrics`")]
    Metrics {
        /// Address and port.
        address: std::net::SocketAddr,
        /// Why not.
        cause: io::Error,
    },
}

/// Sockets that are open, and not served yet. The control socket's file goes when they are closed.
pub struct Listeners {
    control: UnixListener,
    file: SocketFile,
    metrics: Option<TcpListener>,
}

/// Opens the sockets of an intent. A control socket that nobody answers on is left over, and is replaced.
pub async fn listen(intent: &Intent) -> Result<Listeners, Error> {
    let (control, file) = socket::bind(&intent.gateway.control).await?;
    let metrics = match intent.gateway.metrics {
        None => None,
        Some(address) => {
            Some(TcpListener::bind(address).await.map_err(|cause| Error::Metrics { address, cause })?)
        }
    };
    Ok(Listeners { control, file, metrics })
}

/// What a request can see.
struct Context {
    states: watch::Receiver<State>,
    orders: mpsc::Sender<Order>,
    questions: mpsc::Sender<Question>,
    counters: Counters,
    /// Reading a hundred thousand counters takes time: scrapers queue here, and not in memory.
    turns: Semaphore,
}

/// Requests that are worked on at a time.
const AT_ONCE: usize = 4;
/// Longest that a request may take, waiting included.
const LONGEST: Duration = Duration::from_secs(10);

/// Serves until it is dropped.
pub async fn serve(
    listeners: Listeners,
    gateway: String,
    states: watch::Receiver<State>,
    (orders, questions): (mpsc::Sender<Order>, mpsc::Sender<Question>),
) -> Result<(), ServeError> {
    let counters = Counters::open(&gateway)?;
    let context = Arc::new(Context { states, orders, questions, counters, turns: Semaphore::new(AT_ONCE) });
    let metrics = Router::new()
        .route("/metrics", get(|context| page(context, metrics_page)))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready));
    let control = metrics
        .clone()
        .route(
            "/v1/vifs",
            get(|context| page(context, |state, counters| json(&view::vifs(state, counters)?))),
        )
        .route("/v1/routes", get(|context| page(context, |state, _| json(&view::routes(state)))))
        .route("/v1/groups", get(|context| page(context, |state, _| json(&view::groups(state)))))
        .route("/v1/neighbors", get(|context| page(context, |state, _| json(&view::neighbors(state)))))
        .route(
            "/v1/drops",
            get(|context| page(context, |state, counters| json(&view::drops(state, counters)?))),
        )
        .route("/v1/vifs/{vif}/drain", post(orders::drain))
        .route("/v1/vifs/{vif}/undrain", post(orders::undrain))
        .route("/v1/vifs/{vif}/drill", post(orders::drill))
        .route("/v1/refused/{vif}", get(orders::refused))
        .route("/v1/bgp", get(|context| page(context, |state, _| json(&view::bgp(state)))))
        .route("/v1/health", get(|context| page(context, |state, _| json(&view::health(state)))))
        .route("/v1/failovers", get(|context| page(context, |state, _| json(&view::failovers(state)))))
        .route(
            "/v1/losses",
            get(|context| page(context, |state, counters| json(&view::losses(state, counters)?))),
        )
        .route(
            "/v1/summary",
            get(|context| page(context, |state, counters| json(&view::summary(state, counters)?))),
        )
        .with_state(Arc::clone(&context));
    let metrics = metrics.with_state(context);
    let Listeners { control: socket, file: _removed_at_the_end, metrics: address } = listeners;
    let on_socket = connections::serve(socket, control, LIMITS);
    match address {
        None => on_socket.await,
        Some(listener) => {
            tokio::join!(on_socket, connections::serve(listener, metrics, LIMITS));
        }
    }
    Ok(())
}

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The counters.
    #[error(transparent)]
    Counters(#[from] dataplane::Error),
}

/// Why a page is missing.
#[derive(Debug, thiserror::Error)]
enum PageError {
    #[error(transparent)]
    Counters(#[from] dataplane::Error),
    #[error(transparent)]
    Metrics(#[from] metrics::Error),
    #[error("cannot write JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// Content type and text.
type Page = (&'static str, String);

fn json(rows: &impl Serialize) -> Result<Page, PageError> {
    Ok(("application/json", serde_json::to_string(rows)?))
}

fn metrics_page(state: &State, counters: &Counters) -> Result<Page, PageError> {
    Ok(("text/plain; version=0.0.4; charset=utf-8", metrics::render(state, counters)?))
}

/// Makes a page off the runtime's threads, for a bounded number of requests and a bounded time.
async fn page(
    Shared(context): Shared<Arc<Context>>,
    make: impl Fn(&State, &Counters) -> Result<Page, PageError> + Send + 'static,
) -> Response {
    let work = async {
        let _turn = context.turns.acquire().await;
        let reader = Arc::clone(&context);
        let state = context.states.borrow().clone();
        tokio::task::spawn_blocking(move || {
            let _still = hold_still();
            make(&state, &reader.counters)
        })
        .await
    };
    let (status, (kind, text)) = match tokio::time::timeout(LONGEST, work).await {
        Ok(Ok(Ok(page))) => (StatusCode::OK, page),
        Ok(Ok(Err(error))) => (StatusCode::INTERNAL_SERVER_ERROR, failure(&error.to_string())),
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, failure(&error.to_string())),
        Err(_elapsed) => (StatusCode::SERVICE_UNAVAILABLE, failure("too many requests at once: try again")),
    };
    (status, [(header::CONTENT_TYPE, kind)], text).into_response()
}

fn failure(error: &str) -> Page {
    ("application/json", serde_json::json!({ "error": error }).to_string())
}

/// Ready when the server is fit to be given traffic; else why not, a line each.
async fn ready(Shared(context): Shared<Arc<Context>>) -> Response {
    // Nobody who publishes waits for this.
    let state = context.states.borrow().clone();
    let why = health::unfit(&state, Instant::now());
    if why.is_empty() {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, why.join("\n") + "\n").into_response()
}
