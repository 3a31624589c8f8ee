//! Connections that become a process's streams.
//!
//! A client that asks for an upgrade gets 101 and the raw connection, both ways. One that does not
//! gets the output as the body of a 200.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use dhow_engine::stream::{Attachment, InputSender, OutputFrame};
use futures_util::stream;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};

use crate::activity::Ongoing;
use crate::detach::{DetachKeys, Typed};
use crate::failure::Failure;
use crate::hangup::Hangup;

/// Read at once from a client.
const READ_BYTES: usize = 64 * 1024;

/// Docker's media type of output that goes as it is.
const RAW_STREAM: &str = "application/vnd.docker.raw-stream";
/// Docker's media type of output with headers that tell the streams apart.
const MULTIPLEXED_STREAM: &str = "application/vnd.docker.multiplexed-stream";

/// What a request brought along to become a stream. Taken before the body is read.
pub(crate) struct Hijack {
    upgrade: Option<OnUpgrade>,
    hangup: Option<Arc<Hangup>>,
    ongoing: Option<Arc<Ongoing>>,
}

/// The streams to carry.
pub(crate) struct Session {
    /// The process's side.
    pub(crate) attachment: Attachment,
    /// Output to send before the process's.
    pub(crate) first: Vec<Bytes>,
    /// Whether output goes raw.
    pub(crate) tty: bool,
    /// Whether the process's input ends with the client's.
    pub(crate) end_input_with_client: bool,
    /// Keys that detach the client.
    pub(crate) detach_keys: Option<DetachKeys>,
}

/// The media type of a process's output.
pub(crate) fn media_type(tty: bool) -> &'static str {
    if tty { RAW_STREAM } else { MULTIPLEXED_STREAM }
}

impl Hijack {
    pub(crate) fn of(request: &mut Request) -> Self {
        let wanted = request.headers().contains_key(header::UPGRADE);
        let extensions = request.extensions();
        let hangup = extensions.get::<Arc<Hangup>>().cloned();
        let ongoing = extensions.get::<Arc<Ongoing>>().cloned();
        Self {
            upgrade: wanted.then(|| hyper::upgrade::on(request)),
            hangup,
            ongoing,
        }
    }

    /// Answers, and carries the streams until they end.
    pub(crate) fn carry(self, session: Session) -> Result<Response, Failure> {
        let response = Response::builder().header(header::CONTENT_TYPE, media_type(session.tty));
        let Some(upgrade) = self.upgrade else {
            return built(response.body(output_body(session)));
        };
        let response = response
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "tcp");
        let (hangup, ongoing) = (self.hangup, self.ongoing);
        tokio::spawn(async move {
            match upgrade.await {
                Ok(upgraded) => run(upgraded, session, hangup.as_deref()).await,
                Err(error) => tracing::debug!(%error, "client did not upgrade"),
            }
            drop((hangup, ongoing));
        });
        built(response.body(Body::empty()))
    }
}

fn built(response: Result<Response, axum::http::Error>) -> Result<Response, Failure> {
    response.map_err(|error| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

fn wire_form(frame: &OutputFrame, tty: bool) -> Bytes {
    if tty {
        frame.payload()
    } else {
        frame.multiplexed()
    }
}

/// Output alone, for a client that cannot upgrade. Its input has ended.
fn output_body(session: Session) -> Body {
    let Session {
        attachment,
        first,
        tty,
        ..
    } = session;
    let before = stream::iter(first.into_iter().map(Ok::<_, std::convert::Infallible>));
    let after = stream::unfold(attachment.output, move |mut output| async move {
        let frame = output.recv().await?;
        Some((Ok(wire_form(&frame, tty)), output))
    });
    Body::from_stream(futures_util::StreamExt::chain(before, after))
}

type Client = TokioIo<Upgraded>;

async fn run(upgraded: Upgraded, session: Session, hangup: Option<&Hangup>) {
    let (reader, writer) = tokio::io::split(TokioIo::new(upgraded));
    let Session {
        attachment,
        first,
        tty,
        end_input_with_client,
        detach_keys,
    } = session;
    let Attachment { output, input } = attachment;
    let sending = async {
        if let Some(hangup) = hangup {
            hangup.caught_up().await;
        }
        let sent = send(writer, first, output, tty);
        match hangup {
            Some(hangup) => tokio::select! {
                () = sent => Sent::Ended,
                () = hangup.happened() => Sent::ClientGone,
            },
            None => {
                sent.await;
                Sent::Ended
            }
        }
    };
    let receiving = async {
        let detached = match &input {
            Some(input) => receive(reader, input, detach_keys).await,
            None => ignore(reader).await,
        };
        if let (Received::Ended, Some(input), true) = (detached, &input, end_input_with_client) {
            input.end().await;
        }
        detached
    };
    tokio::pin!(sending, receiving);
    tokio::select! {
        sent = &mut sending => {
            if sent == Sent::ClientGone {
                // What it wrote before it went is still read, up to its end.
                receiving.await;
            }
        }
        received = &mut receiving => {
            if received == Received::Ended {
                sending.await;
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sent {
    /// The process's output is complete.
    Ended,
    /// Nobody is there to take it.
    ClientGone,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Received {
    /// The client's input is complete.
    Ended,
    /// The client typed the keys that detach it.
    Detached,
}

async fn send(
    mut writer: WriteHalf<Client>,
    first: Vec<Bytes>,
    mut output: tokio::sync::mpsc::Receiver<OutputFrame>,
    tty: bool,
) {
    for bytes in first {
        if writer.write_all(&bytes).await.is_err() {
            return;
        }
    }
    while let Some(frame) = output.recv().await {
        if writer.write_all(&wire_form(&frame, tty)).await.is_err() {
            return;
        }
    }
    let _client_gone = writer.shutdown().await;
}

async fn receive(
    mut reader: ReadHalf<Client>,
    input: &InputSender,
    mut detach_keys: Option<DetachKeys>,
) -> Received {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(READ_BYTES);
        match reader.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return Received::Ended,
            Ok(_) => {}
        }
        let typed = buffer.split().freeze();
        let outcome = match &mut detach_keys {
            Some(keys) => keys.take(&typed),
            None => Typed::Input(typed.into()),
        };
        let (bytes, detached) = match outcome {
            Typed::Input(bytes) => (bytes, false),
            Typed::Detach(bytes) => (bytes, true),
        };
        if input.send(bytes.into()).await.is_err() {
            // The process reads no more; its client may still write, to nobody.
            return ignore(reader).await;
        }
        if detached {
            return Received::Detached;
        }
    }
}

/// Reads what nobody takes, so that the client can finish.
async fn ignore(mut reader: ReadHalf<Client>) -> Received {
    let mut buffer = BytesMut::new();
    loop {
        buffer.clear();
        buffer.reserve(READ_BYTES);
        match reader.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return Received::Ended,
            Ok(_) => {}
        }
    }
}
