//! Connections to the daemon, and the one exchange every call is made of.

use std::fmt;
use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, UPGRADE};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::error::ClientError;
use super::streamed::StreamedBody;
use super::target::Target;

/// Every request's body, whether JSON or a file being uploaded.
pub(super) type RequestBody = UnsyncBoxBody<Bytes, io::Error>;

/// Idle connections kept; a command rarely has more than two calls open at once.
const MAX_IDLE_CONNECTIONS: usize = 4;

/// Host header of every request: HTTP/1.1 wants one, and a unix socket has no name.
const HOST_NAME: &str = "dhow";

/// A daemon on a unix socket. Cheap to make; connects on the first call.
pub struct Client {
    socket: PathBuf,
    idle: Mutex<Vec<SendRequest<RequestBody>>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Client")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client of whoever listens on `socket`.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into(),
            idle: Mutex::new(Vec::new()),
        }
    }

    /// Takes a connection that is already open, so that testing whether a daemon answers is not
    /// paid for twice. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When the stream cannot be driven by the runtime.
    pub async fn adopt(&self, stream: StdUnixStream) -> Result<(), ClientError> {
        let adopted = (|| {
            stream.set_nonblocking(true)?;
            UnixStream::from_std(stream)
        })();
        let stream = adopted.map_err(|source| self.connect_error(source))?;
        let sender = handshake(stream).await?;
        self.put_back(sender);
        Ok(())
    }

    /// Where the daemon listens.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// A call whose answer is JSON.
    pub(super) async fn fetch<T: DeserializeOwned>(
        &self,
        method: Method,
        target: &Target,
    ) -> Result<T, ClientError> {
        self.exchange_json(method, target, None).await
    }

    /// A call whose answer is JSON that is to be shown as it came.
    pub(super) async fn fetch_text(&self, target: &Target) -> Result<String, ClientError> {
        let bytes = self.whole(Method::GET, target, None).await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A call with a JSON body whose answer is JSON.
    pub(super) async fn submit<T: DeserializeOwned>(
        &self,
        target: &Target,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let call = describe(&Method::POST, target);
        let json =
            serde_json::to_vec(body).map_err(|source| ClientError::Encode { call, source })?;
        self.exchange_json(Method::POST, target, Some(json)).await
    }

    /// A call with a JSON body whose answer has nothing to say.
    pub(super) async fn submit_quietly(
        &self,
        target: &Target,
        body: &impl Serialize,
    ) -> Result<(), ClientError> {
        let call = describe(&Method::POST, target);
        let json =
            serde_json::to_vec(body).map_err(|source| ClientError::Encode { call, source })?;
        self.whole(Method::POST, target, Some(json))
            .await
            .map(|_| ())
    }

    /// A call whose answer has nothing to say.
    pub(super) async fn command(&self, method: Method, target: &Target) -> Result<(), ClientError> {
        self.whole(method, target, None).await.map(|_| ())
    }

    /// A call whose answer goes on arriving.
    pub(super) async fn stream(
        &self,
        method: Method,
        target: &Target,
        body: RequestBody,
        content_type: Option<&str>,
    ) -> Result<StreamedBody, ClientError> {
        let call = describe(&method, target);
        let request = request(method, target, body, content_type, false)?;
        let (response, _sender) = self.send(request, &call).await?;
        let response = refuse_errors(response, &call).await?;
        Ok(StreamedBody::new(response.into_body(), call))
    }

    /// A call that asks for the connection itself; hands back whatever was answered.
    pub(super) async fn upgrade(
        &self,
        target: &Target,
        json: Option<Vec<u8>>,
    ) -> Result<Response<Incoming>, ClientError> {
        let call = describe(&Method::POST, target);
        let content_type = json.is_some().then_some("application/json");
        let request = request(Method::POST, target, full(json), content_type, true)?;
        // The sender may go: the connection's task keeps itself alive until it is handed over.
        let (response, _sender) = self.send(request, &call).await?;
        refuse_errors(response, &call).await
    }

    async fn exchange_json<T: DeserializeOwned>(
        &self,
        method: Method,
        target: &Target,
        json: Option<Vec<u8>>,
    ) -> Result<T, ClientError> {
        let call = describe(&method, target);
        let bytes = self.whole(method, target, json).await?;
        serde_json::from_slice(&bytes).map_err(|source| ClientError::Decode { call, source })
    }

    /// One exchange, read to its end; the connection is kept for the next.
    async fn whole(
        &self,
        method: Method,
        target: &Target,
        json: Option<Vec<u8>>,
    ) -> Result<Bytes, ClientError> {
        let (_headers, bytes) = self.exchange(method, target, json).await?;
        Ok(bytes)
    }

    /// As [`whole`](Self::whole), with the answer's header.
    pub(super) async fn exchange(
        &self,
        method: Method,
        target: &Target,
        json: Option<Vec<u8>>,
    ) -> Result<(HeaderMap, Bytes), ClientError> {
        let call = describe(&method, target);
        let content_type = json.is_some().then_some("application/json");
        let request = request(method, target, full(json), content_type, false)?;
        let (response, sender) = self.send(request, &call).await?;
        let status = response.status();
        let (parts, body) = response.into_parts();
        let bytes = body
            .collect()
            .await
            .map_err(|source| ClientError::Exchange { call, source })?
            .to_bytes();
        self.put_back(sender);
        // 304 is how the API says "it already was so": start of a running container, and alike.
        if status.is_success() || status == StatusCode::NOT_MODIFIED {
            Ok((parts.headers, bytes))
        } else {
            Err(refusal(status, &bytes))
        }
    }

    async fn send(
        &self,
        request: Request<RequestBody>,
        call: &str,
    ) -> Result<(Response<Incoming>, SendRequest<RequestBody>), ClientError> {
        let mut sender = self.take_or_connect().await?;
        let response =
            sender
                .send_request(request)
                .await
                .map_err(|source| ClientError::Exchange {
                    call: call.to_owned(),
                    source,
                })?;
        Ok((response, sender))
    }

    async fn take_or_connect(&self) -> Result<SendRequest<RequestBody>, ClientError> {
        while let Some(sender) = self.take_idle() {
            if sender.is_ready() {
                return Ok(sender);
            }
        }
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|source| self.connect_error(source))?;
        handshake(stream).await
    }

    fn take_idle(&self) -> Option<SendRequest<RequestBody>> {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop()
    }

    fn put_back(&self, sender: SendRequest<RequestBody>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE_CONNECTIONS && !sender.is_closed() {
            idle.push(sender);
        }
    }

    fn connect_error(&self, source: io::Error) -> ClientError {
        ClientError::Connect {
            socket: self.socket.clone(),
            source,
        }
    }
}

/// Starts HTTP on a fresh stream; the connection lives in a task until both sides are done.
async fn handshake(stream: UnixStream) -> Result<SendRequest<RequestBody>, ClientError> {
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|source| ClientError::Exchange {
                call: "the greeting".to_owned(),
                source,
            })?;
    tokio::spawn(async move {
        // A broken connection is reported by the call that was using it.
        let _ended = connection.with_upgrades().await;
    });
    sender
        .ready()
        .await
        .map_err(|source| ClientError::Exchange {
            call: "the greeting".to_owned(),
            source,
        })?;
    Ok(sender)
}

fn describe(method: &Method, target: &Target) -> String {
    format!("{method} {target}")
}

fn request(
    method: Method,
    target: &Target,
    body: RequestBody,
    content_type: Option<&str>,
    upgrade: bool,
) -> Result<Request<RequestBody>, ClientError> {
    let call = describe(&method, target);
    let mut builder = Request::builder()
        .method(method)
        .uri(target.as_str())
        .header(HOST, HOST_NAME);
    if let Some(content_type) = content_type {
        builder = builder.header(CONTENT_TYPE, content_type);
    }
    if upgrade {
        builder = builder.header(CONNECTION, "Upgrade").header(UPGRADE, "tcp");
    }
    builder
        .body(body)
        .map_err(|source| ClientError::Request { call, source })
}

/// A body that is known in whole; nothing at all when there is none.
pub(super) fn full(json: Option<Vec<u8>>) -> RequestBody {
    Full::new(Bytes::from(json.unwrap_or_default()))
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// Lets success and 101 pass; reads the daemon's words otherwise.
async fn refuse_errors(
    response: Response<Incoming>,
    call: &str,
) -> Result<Response<Incoming>, ClientError> {
    let status = response.status();
    if status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(response);
    }
    let bytes = response
        .into_body()
        .collect()
        .await
        .map_err(|source| ClientError::Exchange {
            call: call.to_owned(),
            source,
        })?
        .to_bytes();
    Err(refusal(status, &bytes))
}

/// The API wraps its words as `{"message": …}`; anything else is shown as it came.
fn refusal(status: StatusCode, body: &[u8]) -> ClientError {
    #[derive(serde::Deserialize)]
    struct Words {
        message: String,
    }
    let message = match serde_json::from_slice::<Words>(body) {
        Ok(words) => words.message,
        Err(_) if body.is_empty() => format!("the daemon answered {status}"),
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    ClientError::Refused {
        status: status.as_u16(),
        message: message.trim().to_owned(),
    }
}
