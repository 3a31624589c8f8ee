//! A connection that stopped being HTTP: raw bytes both ways until either side ends.

use bytes::{Buf, Bytes};
use hyper::StatusCode;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::connection::Client;
use super::error::ClientError;
use super::target::Target;

/// Both ends of an attach or exec stream. Shutting the writer down tells the process that its
/// input has ended; its output keeps coming.
#[derive(Debug)]
pub struct Hijacked {
    /// What the process writes, in frames unless it has a terminal.
    pub reader: HijackedReader,
    /// What the process reads.
    pub writer: OwnedWriteHalf,
}

/// The output side of a [`Hijacked`] stream.
#[derive(Debug)]
pub struct HijackedReader {
    /// What came in the same packet as the daemon's "101".
    early: Bytes,
    half: OwnedReadHalf,
}

impl HijackedReader {
    /// Reads some bytes; 0 is the end.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ClientError> {
        if self.early.has_remaining() {
            let length = self.early.len().min(buffer.len());
            self.early.copy_to_slice(&mut buffer[..length]);
            return Ok(length);
        }
        self.half
            .read(buffer)
            .await
            .map_err(|source| ClientError::Stream { source })
    }
}

impl Client {
    /// Sends the request and takes the connection over.
    pub(super) async fn hijack(
        &self,
        target: &Target,
        json: Option<Vec<u8>>,
    ) -> Result<Hijacked, ClientError> {
        let call = format!("POST {target}");
        let response = self.upgrade(target, json).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(ClientError::NotUpgraded {
                call,
                status: response.status().as_u16(),
            });
        }
        let upgraded = hyper::upgrade::on(response)
            .await
            .map_err(|source| ClientError::Exchange { call, source })?;
        let parts = upgraded
            .downcast::<TokioIo<UnixStream>>()
            .expect("this client makes no connection but over a unix stream");
        let (half, writer) = parts.io.into_inner().into_split();
        Ok(Hijacked {
            reader: HijackedReader {
                early: parts.read_buf,
                half,
            },
            writer,
        })
    }
}
