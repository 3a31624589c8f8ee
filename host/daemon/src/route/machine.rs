//! Our own routes: the machine and the daemon.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use dhow_engine::Engine;
use dhow_engine::machine::MachineStatus;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::Shared;
use crate::failure::Failure;
use crate::parameters::Parameters;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/dhow/machine", get(status).delete(remove))
        .route("/dhow/machine/up", post(up))
        .route("/dhow/machine/down", post(down))
        .route("/dhow/daemon/stop", post(stop_daemon))
        .route("/dhow/notices", get(notices))
}

fn encoded(engine: &Engine, status: &MachineStatus) -> Value {
    let facts = status.facts.as_ref();
    json!({
        "State": status.phase,
        "Running": status.phase == "up",
        "Engine": facts.map(|facts| &facts.engine),
        "Kernel": facts.map(|facts| &facts.kernel_release),
        "MemoryBytes": facts.map(|facts| facts.memory_bytes),
        "Cpus": facts.map(|facts| facts.cpus),
        "BootMilliseconds": facts.map(|facts| u64::try_from(facts.boot_time.as_millis()).unwrap_or(u64::MAX)),
        "RunningContainers": engine.containers().active(),
        "LastEnd": status.last_end,
    })
}

async fn status(State(engine): State<Engine>) -> Json<Value> {
    Json(encoded(&engine, &engine.machine_status()))
}

async fn up(State(engine): State<Engine>) -> Result<Json<Value>, Failure> {
    let status = engine.machine_up().await?;
    Ok(Json(encoded(&engine, &status)))
}

fn refuse_while_running(engine: &Engine, parameters: &Parameters) -> Result<(), Failure> {
    let running = engine.containers().active();
    if running > 0 && !parameters.flag("force") {
        let message = format!("{running} container(s) run; stop them first or use force");
        return Err(Failure::new(StatusCode::CONFLICT, message));
    }
    Ok(())
}

async fn down(State(engine): State<Engine>, parameters: Parameters) -> Result<StatusCode, Failure> {
    refuse_while_running(&engine, &parameters)?;
    engine.machine_down().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn remove(
    State(engine): State<Engine>,
    parameters: Parameters,
) -> Result<StatusCode, Failure> {
    refuse_while_running(&engine, &parameters)?;
    engine.machine_remove().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn stop_daemon(State(shutdown): State<CancellationToken>) -> StatusCode {
    shutdown.cancel();
    StatusCode::ACCEPTED
}

/// What the user should be told once.
async fn notices(State(engine): State<Engine>) -> Json<Vec<String>> {
    Json(engine.take_notices())
}
