//! An answer that goes on arriving: log output, events, progress.

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

use super::error::ClientError;

/// A body read piece by piece, as bytes or as JSON values one after the other.
#[derive(Debug)]
pub struct StreamedBody {
    body: Incoming,
    call: String,
    /// Bytes that have arrived but do not make a whole JSON value yet.
    pending: BytesMut,
}

impl StreamedBody {
    pub(super) fn new(body: Incoming, call: String) -> Self {
        Self {
            body,
            call,
            pending: BytesMut::new(),
        }
    }

    /// The next piece of the body; `None` at its end.
    ///
    /// # Errors
    /// When the connection breaks before the end.
    pub async fn next_chunk(&mut self) -> Result<Option<Bytes>, ClientError> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|source| ClientError::Exchange {
                call: self.call.clone(),
                source,
            })?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// The next JSON value; `None` at the end. Values may be separated by anything or nothing:
    /// daemons differ, and chunk borders mean nothing.
    ///
    /// # Errors
    /// When the connection breaks, or what arrives is not JSON of this shape.
    pub async fn next_json<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ClientError> {
        loop {
            let mut values = serde_json::Deserializer::from_slice(&self.pending).into_iter::<T>();
            match values.next() {
                Some(Ok(value)) => {
                    let used = values.byte_offset();
                    self.pending.advance(used);
                    return Ok(Some(value));
                }
                Some(Err(source)) if !source.is_eof() => {
                    return Err(ClientError::Decode {
                        call: self.call.clone(),
                        source,
                    });
                }
                Some(Err(_)) | None => {}
            }
            match self.next_chunk().await? {
                Some(chunk) => self.pending.extend_from_slice(&chunk),
                None => return Ok(None),
            }
        }
    }
}
