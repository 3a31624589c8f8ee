//! Blobs: read as a stream that mends itself.
//!
//! A connection that breaks or falls silent is opened again where it ended (RFC 9110, section 14, range
//! requests); a registry that does not know ranges sends everything again, and what we had is skipped.
//! What comes out of here is not verified: whoever reads hashes it.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use ureq::BodyReader;
use ureq::http::{Method, StatusCode};

use super::error::RegistryError;
use super::repository::{MAX_ATTEMPTS, Repository};
use super::transport::Call;
use crate::digest::Digest;

/// How often one blob may be cut before we give up, however much came in between.
const MAX_CUTS: u32 = 50;

/// Where the reason of a broken read is kept, since [`Read`] has no room for it.
pub(crate) type FailureSlot = Arc<Mutex<Option<RegistryError>>>;

/// The bytes of a blob.
pub(crate) struct BlobReader<'a> {
    repository: &'a Repository<'a>,
    digest: Digest,
    size: u64,
    position: u64,
    body: Option<BodyReader<'static>>,
    host: String,
    /// Attempts since the last byte, and cuts in all.
    failures: u32,
    cuts: u32,
    failure: FailureSlot,
    progress: &'a dyn Fn(u64),
}

impl<'a> BlobReader<'a> {
    /// A reader of `size` bytes; nothing is asked for before the first read.
    pub(crate) fn new(
        repository: &'a Repository<'a>,
        digest: Digest,
        size: u64,
        progress: &'a dyn Fn(u64),
    ) -> Self {
        Self {
            repository,
            digest,
            size,
            position: 0,
            body: None,
            host: String::new(),
            failures: 0,
            cuts: 0,
            failure: FailureSlot::default(),
            progress,
        }
    }

    /// Where to look for the reason when reading failed.
    pub(crate) fn failure(&self) -> FailureSlot {
        Arc::clone(&self.failure)
    }

    /// Asks for what is missing.
    fn open(&mut self) -> Result<BodyReader<'static>, RegistryError> {
        let what = format!("blob {}", self.digest);
        let start = self.position;
        let address = self.repository.address(&format!("blobs/{}", self.digest));
        let mut call = Call::new(Method::GET, address);
        if start > 0 {
            call = call.header("range", format!("bytes={start}-"));
        }
        let answer = self.repository.send(call)?;
        self.host.clone_from(&answer.host);
        match answer.status {
            StatusCode::OK => {
                let mut body = answer.into_reader();
                self.skip(&mut body, start)?;
                Ok(body)
            }
            StatusCode::PARTIAL_CONTENT => {
                let range = answer.header("content-range").unwrap_or_default();
                if range_start(range) != Some(start) {
                    return Err(self.invalid(format!("it sent {range:?} when asked for {start}-")));
                }
                Ok(answer.into_reader())
            }
            _ => Err(answer.refusal(&what)),
        }
    }

    /// Reads over what we have already.
    fn skip(&self, body: &mut impl Read, count: u64) -> Result<(), RegistryError> {
        let skipped = io::copy(&mut body.take(count), &mut io::sink());
        match skipped {
            Ok(skipped) if skipped == count => Ok(()),
            Ok(_) => Err(self.cut(&io::ErrorKind::UnexpectedEof.into())),
            Err(error) => Err(self.cut(&error)),
        }
    }

    fn invalid(&self, problem: String) -> RegistryError {
        RegistryError::Invalid {
            host: self.host.clone(),
            problem,
        }
    }

    /// A connection that ended too early.
    fn cut(&self, cause: &io::Error) -> RegistryError {
        if self.repository.transport.is_cancelled() {
            return RegistryError::Cancelled;
        }
        let (position, size) = (self.position, self.size);
        let text = format!("the connection ended after {position} of {size} bytes: {cause}");
        RegistryError::Unreachable {
            host: self.host.clone(),
            source: io::Error::new(cause.kind(), text),
        }
    }

    fn read_or(&mut self, buffer: &mut [u8]) -> Result<usize, RegistryError> {
        loop {
            match self.read_once(buffer) {
                Ok(count) => return Ok(count),
                Err(error) if error.is_transient() => {
                    self.body = None;
                    self.failures += 1;
                    self.cuts += 1;
                    if self.failures >= MAX_ATTEMPTS || self.cuts >= MAX_CUTS {
                        return Err(error);
                    }
                    self.repository.wait(self.failures, &error)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn read_once(&mut self, buffer: &mut [u8]) -> Result<usize, RegistryError> {
        let mut body = match self.body.take() {
            Some(body) => body,
            None => self.open()?,
        };
        let count = match body.read(buffer) {
            Ok(0) if self.position < self.size => {
                return Err(self.cut(&io::ErrorKind::UnexpectedEof.into()));
            }
            Ok(count) => count,
            // All is here; how the connection ends does not matter any more.
            Err(_) if self.position == self.size => 0,
            Err(error) => return Err(self.cut(&error)),
        };
        self.position += count as u64;
        if self.position > self.size {
            let problem = format!("{} is longer than its {} bytes", self.digest, self.size);
            return Err(self.invalid(problem));
        }
        if count > 0 {
            self.failures = 0;
            (self.progress)(self.position);
        }
        self.body = Some(body);
        Ok(count)
    }
}

impl Read for BlobReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || (self.position == self.size && self.body.is_none()) {
            return Ok(0);
        }
        self.read_or(buffer).map_err(|error| {
            let text = error.to_string();
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            io::Error::other(text)
        })
    }
}

/// The first byte of `bytes 5-9/10`.
fn range_start(text: &str) -> Option<u64> {
    let (start, _) = text.trim().strip_prefix("bytes ")?.split_once('-')?;
    start.trim().parse().ok()
}

/// A small blob as a whole, verified.
pub(crate) fn fetch_whole(
    repository: &Repository<'_>,
    digest: Digest,
    size: u64,
) -> Result<Vec<u8>, RegistryError> {
    let mut reader = BlobReader::new(repository, digest, size, &|_| ());
    let failure = reader.failure();
    let mut bytes = Vec::new();
    if let Err(source) = reader.read_to_end(&mut bytes) {
        let known = failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        return Err(known.unwrap_or(RegistryError::Unreachable {
            host: reader.host.clone(),
            source,
        }));
    }
    let actual = Digest::of(&bytes);
    if actual == digest {
        return Ok(bytes);
    }
    Err(RegistryError::Digest {
        what: format!("blob {digest}"),
        expected: digest,
        actual,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_where_a_range_starts() {
        assert_eq!(range_start("bytes 5-9/10"), Some(5));
        assert_eq!(range_start("bytes */10"), None);
        assert_eq!(range_start(""), None);
    }
}
