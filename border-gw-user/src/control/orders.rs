//! Commands that change something, on the control socket alone: handed to the loop, which owns the state, and answered by it.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};

use super::Context;
use crate::maintenance::Command;
use crate::routing::Refused;

/// Orders that wait for the loop.
const QUEUE: usize = 16;
/// Longest that an order may take.
const LONGEST: Duration = Duration::from_secs(10);

/// What somebody asks of a virtual interface.
#[derive(Debug)]
pub struct Order {
    /// Its name.
    pub vif: String,
    /// What is to be done.
    pub command: Command,
    /// Where the answer goes: what is so now, or why nothing has changed.
    pub answer: oneshot::Sender<Result<String, String>>,
}

/// Somebody wants to know which of a VIF's routes are refused.
#[derive(Debug)]
pub struct Question {
    /// Its name.
    pub vif: String,
    /// Most routes that are listed.
    pub most: usize,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Result<Refused, String>>,
}

/// A way for questions.
pub fn questions() -> (mpsc::Sender<Question>, mpsc::Receiver<Question>) {
    mpsc::channel(QUEUE)
}

/// Routes that are listed where nobody says how many.
const MOST_REFUSED: usize = 1000;

pub(super) async fn refused(context: Shared<Arc<Context>>, vif: Path<String>) -> Response {
    let (answer, answered) = oneshot::channel();
    let work = async {
        let question = Question { vif: vif.0, most: MOST_REFUSED, answer };
        context.questions.send(question).await.ok()?;
        answered.await.ok()
    };
    match tokio::time::timeout(LONGEST, work).await {
        Ok(Some(Ok(refused))) => Json(refused.routes).into_response(),
        Ok(Some(Err(error))) => (StatusCode::NOT_FOUND, error).into_response(),
        _ => {
            (StatusCode::SERVICE_UNAVAILABLE, "the routing daemon does not answer".to_owned()).into_response()
        }
    }
}

/// A way for orders.
pub fn orders() -> (mpsc::Sender<Order>, mpsc::Receiver<Order>) {
    mpsc::channel(QUEUE)
}

/// The length of a drill.
#[derive(Deserialize)]
pub(super) struct Drill {
    seconds: u64,
}

pub(super) async fn drain(context: Shared<Arc<Context>>, vif: Path<String>) -> Response {
    order(&context, vif.0, Command::Drain).await
}

pub(super) async fn undrain(context: Shared<Arc<Context>>, vif: Path<String>) -> Response {
    order(&context, vif.0, Command::Undrain).await
}

pub(super) async fn drill(context: Shared<Arc<Context>>, vif: Path<String>, drill: Query<Drill>) -> Response {
    order(&context, vif.0, Command::Drill(Duration::from_secs(drill.seconds))).await
}

async fn order(context: &Context, vif: String, command: Command) -> Response {
    let (answer, answered) = oneshot::channel();
    let work = async {
        context.orders.send(Order { vif, command, answer }).await.ok()?;
        answered.await.ok()
    };
    let (status, text) = match tokio::time::timeout(LONGEST, work).await {
        Ok(Some(Ok(done))) => (StatusCode::OK, done),
        Ok(Some(Err(refused))) => (StatusCode::CONFLICT, refused),
        Ok(None) => (StatusCode::SERVICE_UNAVAILABLE, "the daemon is about to end".to_owned()),
        Err(_elapsed) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the daemon is busy: look with `border-gw show vifs` whether it was done".to_owned(),
        ),
    };
    (status, text).into_response()
}
