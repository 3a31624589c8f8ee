//! The layers of a push: found in the registry, mounted, or put together, compressed and sent.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::read::GzEncoder;
use ureq::http::{Method, StatusCode};

use super::blobs::{begin_upload, end_upload, exists, mount, next_location};
use super::{DOCKER_LAYER, OCI_LAYER, PushError, PushEvent, PushStep};
use crate::digest::Digest;
use crate::hashing::HashingReader;
use crate::layer::Assembler;
use crate::reference::Reference;
use crate::registry::manifest::{Descriptor, parse_manifest};
use crate::registry::repository::{MAX_ATTEMPTS, Repository};
use crate::registry::transport::{Call, Payload};
use crate::store::{Image, ImageStore, StoreError};

/// Layers on their way at once.
const PARALLEL_LAYERS: usize = 3;

/// Between two words on how far a layer is.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// Letters of a digest that name a layer in messages.
const SHORT_DIGITS: usize = 12;

/// Repositories that a layer is tried to be mounted from.
const MAX_SOURCES: usize = 4;

/// A layer, and under which digests registries may know it.
pub(super) struct Outgoing {
    diff_id: Digest,
    known: Vec<Descriptor>,
    /// Repositories of the same registry that may have it.
    pub(super) sources: Vec<String>,
}

/// What the threads share.
struct Upload<'a> {
    store: &'a ImageStore,
    repository: &'a Repository<'a>,
    outgoing: &'a [Outgoing],
    layer_type: &'static str,
    next: AtomicUsize,
    /// Under which digest the registry now knows each.
    done: Mutex<Vec<Option<Descriptor>>>,
    failed: Mutex<Option<PushError>>,
    report: &'a (dyn Fn(PushEvent) + Sync),
}

impl ImageStore {
    /// Each layer once, with what is known of it from all images that have it.
    pub(super) fn outgoing(
        &self,
        image: &Image,
        reference: &Reference,
    ) -> Result<Vec<Outgoing>, StoreError> {
        let mut outgoing: Vec<Outgoing> = Vec::new();
        for layer in &image.layers {
            if outgoing.iter().all(|known| known.diff_id != layer.diff_id) {
                outgoing.push(Outgoing {
                    diff_id: layer.diff_id,
                    known: Vec::new(),
                    sources: Vec::new(),
                });
            }
        }
        let references = self.references()?;
        // The image's own manifests first: a push that changes nothing keeps its digest.
        let mut ids = self.image_ids()?;
        ids.sort_by_key(|id| *id != image.id);
        for id in ids {
            let Some(other) = self.image(&id)? else {
                continue;
            };
            let names = references.of(&id).into_iter();
            let names = names.filter(|name| name.domain() == reference.domain());
            let sources: BTreeSet<String> = names
                .filter(|name| name.path() != reference.path() && name.digest().is_some())
                .map(|name| name.path().to_owned())
                .collect();
            let manifests = self.stored_manifests(&id)?;
            let parsed = manifests
                .iter()
                .filter_map(|one| parse_manifest(one.text.as_bytes()));
            for (_, descriptors) in parsed {
                for (layer, descriptor) in other.layers.iter().zip(descriptors) {
                    let ours = outgoing.iter_mut().find(|one| one.diff_id == layer.diff_id);
                    let Some(ours) = ours else { continue };
                    ours.sources.extend(sources.iter().cloned());
                    if ours
                        .known
                        .iter()
                        .all(|known| known.digest != descriptor.digest)
                    {
                        ours.known.push(descriptor);
                    }
                }
            }
        }
        for one in &mut outgoing {
            one.sources.sort();
            one.sources.dedup();
            one.sources.truncate(MAX_SOURCES);
        }
        Ok(outgoing)
    }

    /// Sees to it that the registry has all layers; what it knows the image's layers by, lowest first.
    pub(super) fn send_layers(
        &self,
        repository: &Repository<'_>,
        outgoing: &[Outgoing],
        is_oci: bool,
        report: &(dyn Fn(PushEvent) + Sync),
    ) -> Result<Vec<(Digest, Descriptor)>, PushError> {
        for one in outgoing {
            report(event(one.diff_id, PushStep::Preparing));
        }
        let upload = Upload {
            store: self,
            repository,
            outgoing,
            layer_type: if is_oci { OCI_LAYER } else { DOCKER_LAYER },
            next: AtomicUsize::new(0),
            done: Mutex::new(vec![None; outgoing.len()]),
            failed: Mutex::default(),
            report,
        };
        std::thread::scope(|scope| {
            for _ in 0..PARALLEL_LAYERS.min(outgoing.len()) {
                scope.spawn(|| upload.work());
            }
        });
        let failed = upload
            .failed
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = failed {
            return Err(error);
        }
        let done = upload
            .done
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let pairs = outgoing.iter().zip(done);
        let pairs = pairs.map(|(one, done)| (one.diff_id, done.expect("each was sent or failed")));
        Ok(pairs.collect())
    }
}

impl Upload<'_> {
    fn work(&self) {
        loop {
            let at = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(one) = self.outgoing.get(at) else {
                return;
            };
            let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            if failed.is_some() {
                return;
            }
            drop(failed);
            match self.see_to(one) {
                Ok(descriptor) => {
                    let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
                    done[at] = Some(descriptor);
                }
                Err(error) => {
                    failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
                    if failed.is_none() {
                        *failed = Some(error);
                        drop(failed);
                        self.repository.transport.interrupt();
                    }
                    return;
                }
            }
        }
    }

    /// Finds a layer in the registry, mounts it, or sends it.
    fn see_to(&self, one: &Outgoing) -> Result<Descriptor, PushError> {
        for known in &one.known {
            if exists(self.repository, &known.digest)? {
                (self.report)(event(one.diff_id, PushStep::Exists));
                return Ok(known.clone());
            }
        }
        for known in &one.known {
            for from in &one.sources {
                if mount(self.repository, &known.digest, from)? {
                    let from = from.clone();
                    (self.report)(event(one.diff_id, PushStep::Mounted { from }));
                    return Ok(known.clone());
                }
            }
        }
        let mut attempts = 0;
        let (digest, size) = loop {
            match self.send(one.diff_id) {
                Err(PushError::Registry(error)) if error.is_transient() => {
                    attempts += 1;
                    if attempts >= MAX_ATTEMPTS {
                        return Err(error.into());
                    }
                    self.repository.wait(attempts, &error)?;
                }
                other => break other?,
            }
        };
        (self.report)(event(one.diff_id, PushStep::Pushed));
        Ok(Descriptor {
            media_type: self.layer_type.to_owned(),
            size,
            digest: digest.to_string(),
            platform: None,
        })
    }

    /// Compresses a layer into an upload. Its digest is known only when all of it went, and is told at
    /// the end; a layer that turns out damaged is never ended.
    fn send(&self, diff_id: Digest) -> Result<(Digest, u64), PushError> {
        let failed = |source| PushError::Layer { diff_id, source };
        let location = begin_upload(self.repository)?;
        let assembler = self.store.layer_archive(&diff_id).map_err(failed)?;
        let counted = Counted {
            total: assembler.size(),
            assembler,
            current: 0,
            told: Instant::now(),
            tell: |current, total| {
                (self.report)(event(diff_id, PushStep::Pushing { current, total }));
            },
        };
        let archive = HashingReader::new(counted).map_err(failed)?;
        let packed = GzEncoder::new(archive, Compression::default());
        let mut packed = HashingReader::new(packed).map_err(failed)?;
        let call = Call::new(Method::PATCH, location)
            .header("content-type", "application/octet-stream")
            .payload(Payload::Stream(&mut packed));
        let answer = self.repository.send(call)?;
        if !matches!(answer.status, StatusCode::ACCEPTED | StatusCode::NO_CONTENT) {
            return Err(answer.refusal("the upload").into());
        }
        let location = next_location(&answer)?;
        let (packed, digest, size) = packed.finish_with().map_err(failed)?;
        let (actual, _) = packed.into_inner().finish().map_err(failed)?;
        if actual != diff_id {
            let problem = format!("its archive has the digest {actual}");
            return Err(failed(io::Error::new(io::ErrorKind::InvalidData, problem)));
        }
        end_upload(self.repository, &location, digest)?;
        Ok((digest, size))
    }
}

/// Tells how far a layer's archive was read.
struct Counted<F> {
    assembler: Assembler,
    total: u64,
    current: u64,
    told: Instant,
    tell: F,
}

impl<F: FnMut(u64, u64)> Read for Counted<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.assembler.read(buffer)?;
        self.current += count as u64;
        if self.told.elapsed() >= PROGRESS_INTERVAL || count == 0 {
            self.told = Instant::now();
            (self.tell)(self.current, self.total);
        }
        Ok(count)
    }
}

fn event(diff_id: Digest, step: PushStep) -> PushEvent {
    PushEvent::Layer {
        id: diff_id.hex()[..SHORT_DIGITS].to_owned(),
        step,
    }
}
