//! The API's routes, one file for each part.

mod attach;
mod containers;
mod events;
mod exec;
mod files;
mod images;
mod lifecycle;
mod logs;
mod look;
mod machine;
mod networks;
mod nothing;
mod registry;
mod system;
mod wait;

use axum::extract::FromRef;
use axum::http::StatusCode;
use axum::{Router, middleware};
use dhow_engine::Engine;
use tokio_util::sync::CancellationToken;

use crate::body::read_small;
use crate::failure::Failure;

/// What handlers share.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    engine: Engine,
    shutdown: CancellationToken,
}

impl FromRef<Shared> for Engine {
    fn from_ref(shared: &Shared) -> Self {
        shared.engine.clone()
    }
}

impl FromRef<Shared> for CancellationToken {
    fn from_ref(shared: &Shared) -> Self {
        shared.shutdown.clone()
    }
}

/// Every route, without a version.
pub fn router(engine: Engine, shutdown: CancellationToken) -> Router {
    Router::new()
        .merge(system::routes())
        .merge(events::routes())
        .merge(containers::routes())
        .merge(lifecycle::routes())
        .merge(attach::routes())
        .merge(logs::routes())
        .merge(look::routes())
        .merge(wait::routes())
        .merge(exec::routes())
        .merge(files::routes())
        .merge(images::routes())
        .merge(machine::routes())
        .merge(networks::routes())
        .merge(nothing::routes())
        .fallback(|| async { Failure::new(StatusCode::NOT_FOUND, "page not found") })
        .layer(middleware::from_fn(read_small))
        .with_state(Shared { engine, shutdown })
}
