//! `GET /containers/{name}/logs`.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::{BufMut, Bytes, BytesMut};
use dhow_engine::Engine;
use dhow_engine::log::{LogEntry, LogOptions};
use dhow_engine::verb::logs::Logs;
use futures_util::stream;

use super::Shared;
use crate::failure::Failure;
use crate::hijack::media_type;
use crate::parameters::Parameters;

/// How entries are written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    pub(super) tty: bool,
    pub(super) timestamps: bool,
}

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/containers/{name}/logs", get(logs))
}

/// What `tail` says: a number, or all.
fn tail(parameters: &Parameters) -> Result<Option<u64>, Failure> {
    match parameters.text("tail") {
        None | Some("all" | "-1") => Ok(None),
        Some(_) => parameters.number("tail"),
    }
}

async fn logs(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    parameters: Parameters,
) -> Result<Response, Failure> {
    let options = LogOptions {
        stdout: parameters.flag("stdout"),
        stderr: parameters.flag("stderr"),
        tail: tail(&parameters)?,
        since: parameters.time("since")?,
        until: parameters.time("until")?,
        follow: parameters.flag("follow"),
    };
    if !options.stdout && !options.stderr {
        let message = "Bad parameters: you must choose at least one stream";
        return Err(Failure::invalid(message));
    }
    let Logs { entries, tty } = engine.logs(&name, options)?;
    let form = Form {
        tty,
        timestamps: parameters.flag("timestamps"),
    };
    let pieces = stream::unfold(entries, move |mut entries| async move {
        let piece = entries.recv().await?.map(|entry| wire_form(&entry, form));
        Some((piece, entries))
    });
    let content_type = [(header::CONTENT_TYPE, media_type(tty))];
    Ok((content_type, Body::from_stream(pieces)).into_response())
}

/// An entry with the header of multiplexed streams, unless it goes raw.
pub(super) fn wire_form(entry: &LogEntry, form: Form) -> Bytes {
    let time = if form.timestamps {
        format!("{} ", entry.time)
    } else {
        String::new()
    };
    let length = time.len() + entry.text.len();
    let mut bytes = BytesMut::with_capacity(8 + length);
    if !form.tty {
        // The header is the one of `dhow_engine::stream`; an entry is at most 16 KiB and a time.
        bytes.put_slice(&[entry.kind as u8, 0, 0, 0]);
        bytes.put_u32(u32::try_from(length).expect("entries are short"));
    }
    bytes.put_slice(time.as_bytes());
    bytes.put_slice(&entry.text);
    bytes.freeze()
}
