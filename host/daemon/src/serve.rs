//! Accepts connections until told to stop or idle.

use std::convert::Infallible;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Request, Response, header};
use axum::response::IntoResponse;
use dhow_engine::Engine;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::unix::SocketAddr;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::activity::Activity;
use crate::body::keeping;
use crate::hangup::Hangup;
use crate::{guest_door, route, version};

/// Longest wait for a request's headers; also how long an idle connection is kept. A client that
/// sends a byte a minute costs a connection for so long and no more.
const HEADER_TIMEOUT: Duration = Duration::from_secs(300);

/// After a failed accept (descriptors used up), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Longest wait, once leaving, for answers on their way. A client that follows events would never be
/// done.
const LAST_ANSWERS_TIMEOUT: Duration = Duration::from_secs(1);

/// The socket is its user's alone: who may write to it is root in every container.
const SOCKET_MODE: u32 = 0o600;

/// How to serve.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Leave after so long without running containers and requests; `None` is never.
    pub idle_timeout: Option<Duration>,
    /// Leave when this is cancelled.
    pub shutdown: CancellationToken,
}

/// Where clients come in.
#[derive(Debug)]
pub struct Doors {
    /// The socket of the host's clients.
    pub clients: UnixListener,
    /// The socket behind the machine's port for containers that were given the API's.
    pub containers: Option<UnixListener>,
}

/// Most connections from the machine that have not shown their token yet; more wait.
const MAX_UNPROVEN: usize = 64;

/// Why the API is not served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The socket could not be made.
    #[error("failed to listen on {path}")]
    Listen {
        /// Its path.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The machine did not stop as it should.
    #[error("failed to stop the machine")]
    Machine(#[source] dhow_engine::machine::StopMachineError),
}

/// Makes the API's socket. The caller holds the daemon's lock: a socket that is there already was
/// left by a daemon that was killed.
///
/// # Errors
/// [`ServeError::Listen`].
pub fn bind(path: &Path) -> Result<UnixListener, ServeError> {
    let listen = || {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // Bound under another name and renamed, so that nobody connects before the mode is set.
        let temporary = path.with_extension("new");
        let _left_behind = fs::remove_file(&temporary);
        let listener = UnixListener::bind(&temporary)?;
        fs::set_permissions(&temporary, Permissions::from_mode(SOCKET_MODE))?;
        fs::rename(&temporary, path)?;
        Ok(listener)
    };
    listen().map_err(|source| ServeError::Listen {
        path: path.display().to_string(),
        source,
    })
}

/// Serves the API until shut down or idle; the machine is stopped then.
///
/// # Errors
/// [`ServeError::Machine`] where it did not stop in an orderly way; it has ended all the same.
pub async fn serve(doors: Doors, engine: Engine, options: ServeOptions) -> Result<(), ServeError> {
    let activity = Activity::new();
    let router = route::router(engine.clone(), options.shutdown.clone());
    let connections = TaskTracker::new();
    let leaving = options.shutdown.child_token();
    let unproven = Arc::new(Semaphore::new(MAX_UNPROVEN));
    let idle = idle(&engine, &activity, options.idle_timeout);
    tokio::pin!(idle);
    loop {
        tokio::select! {
            (accepted, permit) = next_container(doors.containers.as_ref(), &unproven) => {
                match accepted {
                    Ok((stream, _address)) => {
                        let (router, activity) = (router.clone(), activity.clone());
                        let (engine, leaving) = (engine.clone(), leaving.clone());
                        connections.spawn(async move {
                            let admitted = guest_door::admit(stream, engine.api_token()).await;
                            drop(permit);
                            if let Some(stream) = admitted {
                                connection(stream, router, activity, leaving).await;
                            }
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "failed to accept a container");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
            accepted = doors.clients.accept() => match accepted {
                Ok((stream, _address)) => {
                    let (router, activity) = (router.clone(), activity.clone());
                    connections.spawn(connection(stream, router, activity, leaving.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a client");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            () = &mut idle => {
                tracing::info!("idle, leaving");
                break;
            }
            () = options.shutdown.cancelled() => {
                tracing::info!("told to stop, leaving");
                break;
            }
        }
    }
    drop(doors);
    let stopped = engine.machine_down().await.map_err(ServeError::Machine);
    leaving.cancel();
    connections.close();
    // The answer to the request that told us to leave is among those.
    let _cut_off = tokio::time::timeout(LAST_ANSWERS_TIMEOUT, connections.wait()).await;
    stopped
}

/// The next connection from the machine, with the place it takes until it has shown its token.
async fn next_container(
    listener: Option<&UnixListener>,
    unproven: &Arc<Semaphore>,
) -> (io::Result<(UnixStream, SocketAddr)>, OwnedSemaphorePermit) {
    let Some(listener) = listener else {
        return std::future::pending().await;
    };
    match Arc::clone(unproven).acquire_owned().await {
        Ok(permit) => (listener.accept().await, permit),
        Err(_closed) => std::future::pending().await,
    }
}

/// Resolves once nothing has run and nobody has asked for the whole period.
async fn idle(engine: &Engine, activity: &Activity, period: Option<Duration>) {
    let Some(period) = period else {
        return std::future::pending().await;
    };
    let mut requests = activity.watch();
    let mut containers = engine.activity();
    loop {
        let quiet = *requests.borrow_and_update() == 0 && engine.containers().active() == 0;
        containers.borrow_and_update();
        let elapsed = async {
            if quiet {
                tokio::time::sleep(period).await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        // The senders outlive this loop.
        tokio::select! {
            _ = requests.changed() => {}
            _ = containers.changed() => {}
            () = elapsed => return,
        }
    }
}

async fn connection(
    stream: UnixStream,
    router: Router,
    activity: Activity,
    leaving: CancellationToken,
) {
    let hangup = match Hangup::watch(&stream) {
        Ok(hangup) => hangup,
        Err(error) => {
            tracing::warn!(%error, "failed to watch a client");
            return;
        }
    };
    let kept = Arc::clone(&hangup);
    let service = service_fn(move |request| {
        let (router, activity, hangup) = (router.clone(), activity.clone(), Arc::clone(&kept));
        async move { Ok::<_, Infallible>(respond(request, router, &activity, hangup).await) }
    });
    let serving = http1::Builder::new()
        .half_close(true)
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(serving);
    let served = async {
        tokio::select! {
            outcome = &mut serving => return outcome,
            () = leaving.cancelled() => serving.as_mut().graceful_shutdown(),
        }
        serving.await
    };
    tokio::select! {
        outcome = served => {
            if let Err(error) = outcome {
                tracing::debug!(%error, "connection broke");
            }
        }
        () = hangup.happened() => {}
    }
}

async fn respond(
    mut request: Request<Incoming>,
    router: Router,
    activity: &Activity,
    hangup: Arc<Hangup>,
) -> Response<Body> {
    let ongoing = activity.begin();
    let mut response = match version::strip(&mut request) {
        Ok(()) => {
            request.extensions_mut().insert(hangup);
            request.extensions_mut().insert(Arc::clone(&ongoing));
            let response = router.oneshot(request.map(Body::new)).await;
            response.unwrap_or_else(|never| match never {})
        }
        Err(failure) => failure.into_response(),
    };
    add_headers(&mut response);
    response.map(|body| keeping(body, ongoing))
}

fn add_headers(response: &mut Response<Body>) {
    let headers = response.headers_mut();
    let version = HeaderValue::from_str(&version::NEWEST.to_string()).expect("digits and a dot");
    headers.insert(HeaderName::from_static("api-version"), version);
    headers.insert(
        HeaderName::from_static("docker-experimental"),
        HeaderValue::from_static("false"),
    );
    headers.insert(
        HeaderName::from_static("ostype"),
        HeaderValue::from_static("linux"),
    );
    headers.insert(
        header::SERVER,
        HeaderValue::from_static(concat!("dhow/", env!("CARGO_PKG_VERSION"), " (linux)")),
    );
}
