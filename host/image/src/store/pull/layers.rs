//! The layers of a pull: three threads that read, verify and convert.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{LayerStep, PullError, PullEvent};
use crate::decompress::{Compression, Decompressor};
use crate::digest::Digest;
use crate::hashing::HashingReader;
use crate::layer::LayerError;
use crate::registry::RegistryError;
use crate::registry::blob::BlobReader;
use crate::registry::repository::Repository;
use crate::store::ImageStore;
use crate::store::commit::{StageError, StagedLayer};

/// Layers on their way at once, as with Docker.
const PARALLEL_LAYERS: usize = 3;

/// Between two words on how far a layer is.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// Bytes read at once before it is known how a layer is compressed.
const SNIFF_BYTES: usize = 4096;

/// Letters of a digest that name a layer in messages.
const SHORT_DIGITS: usize = 12;

/// A blob and the layer it is to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Wanted {
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) diff_id: Digest,
}

/// What the threads share.
struct Download<'a> {
    store: &'a ImageStore,
    repository: &'a Repository<'a>,
    wanted: &'a [Wanted],
    next: AtomicUsize,
    staged: Mutex<Vec<(Digest, StagedLayer)>>,
    failed: Mutex<Option<PullError>>,
    report: &'a (dyn Fn(PullEvent) + Sync),
}

impl ImageStore {
    /// All layers, lowest first, and how many bytes had to come.
    pub(super) fn fetch_layers(
        &self,
        repository: &Repository<'_>,
        wanted: &[Wanted],
        report: &(dyn Fn(PullEvent) + Sync),
    ) -> Result<(Vec<StagedLayer>, u64), PullError> {
        let mut staged = Vec::new();
        let mut missing: Vec<Wanted> = Vec::new();
        let mut known = HashSet::new();
        for one in wanted.iter().filter(|one| known.insert(**one)) {
            let step = match self.pin_layer(one.diff_id).map_err(PullError::Store)? {
                Some(pinned) => {
                    staged.push((one.diff_id, pinned));
                    LayerStep::Exists
                }
                None => {
                    missing.push(*one);
                    LayerStep::Waiting
                }
            };
            report(event(one.digest, step));
        }
        let fetched_bytes = missing.iter().map(|one| one.size).sum();
        let download = Download {
            store: self,
            repository,
            wanted: &missing,
            next: AtomicUsize::new(0),
            staged: Mutex::new(staged),
            failed: Mutex::default(),
            report,
        };
        std::thread::scope(|scope| {
            for _ in 0..PARALLEL_LAYERS.min(missing.len()) {
                scope.spawn(|| download.work());
            }
        });
        let failed = download
            .failed
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = failed {
            return Err(error);
        }
        let staged = download
            .staged
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let find = |one: &Wanted| {
            let found = staged.iter().find(|(diff_id, _)| *diff_id == one.diff_id);
            found.map(|(_, layer)| layer.clone())
        };
        let layers = wanted
            .iter()
            .map(|one| find(one).expect("each was staged or failed"));
        Ok((layers.collect(), fetched_bytes))
    }
}

impl Download<'_> {
    /// Takes one layer after the other until there is none or one has failed.
    fn work(&self) {
        loop {
            let failed = || self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(one) = self.wanted.get(self.next.fetch_add(1, Ordering::Relaxed)) else {
                return;
            };
            if failed().is_some() {
                return;
            }
            match self.fetch(one) {
                Ok(layer) => {
                    let mut staged = self.staged.lock().unwrap_or_else(PoisonError::into_inner);
                    staged.push((one.diff_id, layer));
                    (self.report)(event(one.digest, LayerStep::Complete));
                }
                Err(error) => {
                    let mut failed = failed();
                    if failed.is_none() {
                        *failed = Some(error);
                        drop(failed);
                        // The others' bytes are of no use any more.
                        self.repository.transport.interrupt();
                    }
                    return;
                }
            }
        }
    }

    /// One layer: read, verified and converted in one pass.
    fn fetch(&self, one: &Wanted) -> Result<StagedLayer, PullError> {
        let told = Mutex::new(Instant::now());
        let progress = |current| {
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            if current == one.size || told.elapsed() >= PROGRESS_INTERVAL {
                *told = Instant::now();
                let total = one.size;
                (self.report)(event(one.digest, LayerStep::Downloading { current, total }));
            }
        };
        let reader = BlobReader::new(self.repository, one.digest, one.size, &progress);
        let failure = reader.failure();
        let result = self.convert(one, reader);
        // Why reading failed is known better here than by whoever could not read on.
        let broken = failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let layer = match broken {
            Some(error) => Err(error.into()),
            None => result,
        }?;
        (self.report)(event(one.digest, LayerStep::Verified));
        Ok(layer)
    }

    fn convert(&self, one: &Wanted, reader: BlobReader<'_>) -> Result<StagedLayer, PullError> {
        let layer_error = |source| PullError::Layer {
            digest: one.digest,
            source,
        };
        let read_error = |source| layer_error(LayerError::Read(source));
        let hashed = HashingReader::new(reader).map_err(read_error)?;
        let mut input = BufReader::with_capacity(SNIFF_BYTES, hashed);
        let start = input.fill_buf().map_err(read_error)?;
        let compression = Compression::sniff(start);
        let mut plain = Decompressor::new(input, compression).map_err(read_error)?;
        let staged = self.store.stage_layer(&mut plain);
        // Also after a failure: bytes that are not those of the digest explain any other error.
        let (actual, _) = plain
            .into_inner()
            .into_inner()
            .finish()
            .map_err(read_error)?;
        if actual != one.digest {
            return Err(wrong_digest(one.digest, one.digest, actual).into());
        }
        let layer = staged.map_err(|error| match error {
            StageError::Layer(source) => layer_error(source),
            StageError::Store(source) => PullError::Store(source),
        })?;
        if layer.diff_id != one.diff_id {
            return Err(wrong_digest(one.digest, one.diff_id, layer.diff_id).into());
        }
        Ok(layer)
    }
}

fn wrong_digest(layer: Digest, expected: Digest, actual: Digest) -> RegistryError {
    RegistryError::Digest {
        what: format!("layer {}", short(layer)),
        expected,
        actual,
    }
}

fn short(digest: Digest) -> String {
    digest.hex()[..SHORT_DIGITS].to_owned()
}

fn event(digest: Digest, step: LayerStep) -> PullEvent {
    PullEvent::Layer {
        id: short(digest),
        step,
    }
}
