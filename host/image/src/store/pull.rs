//! Pulls an image: its manifest, its configuration, and those of its layers that are not here.
//!
//! Layers arrive on three threads, each converted while it is being read. Nothing is believed before
//! its digest and size are right, and nothing is committed before everything is believed: until then
//! all is in the session folder, which goes with us.

use std::collections::HashSet;
use std::io::BufReader;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use oci_spec::image::ImageConfiguration;

use super::commit::{StageError, StagedImage, StagedLayer};
use super::load::MAX_DOCUMENT_BYTES;
use super::manifests::StoredManifest;
use super::{ImageStore, StoreError, diff_ids};
use crate::decompress::{Compression, Decompressor};
use crate::digest::{Digest, ImageId};
use crate::hashing::HashingReader;
use crate::layer::LayerError;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::registry::blob::{self, BlobReader};
use crate::registry::manifest::{self, Descriptor, FetchedManifest};
use crate::registry::repository::{Access, Repository};
use crate::registry::{Credentials, RegistryClient, RegistryError};

/// Layers on their way at once, as with Docker.
const PARALLEL_LAYERS: usize = 3;

/// Between two words on how far a layer is.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// Bytes read at once before it is known how a layer is compressed.
const SNIFF_BYTES: usize = 4096;

/// Letters of a digest that name a layer in messages.
const SHORT_DIGITS: usize = 12;

/// What to pull.
#[derive(Debug, Clone)]
pub struct PullRequest {
    /// The image.
    pub reference: Reference,
    /// For which machine; this one if `None`.
    pub platform: Option<Platform>,
    /// Who asks.
    pub credentials: Credentials,
}

/// What happens while an image is pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PullEvent {
    /// The registry has it.
    Begun {
        /// The repository, as in `library/busybox`.
        repository: String,
        /// The tag or digest asked for.
        reference: String,
    },
    /// A layer got on.
    Layer {
        /// The first digits of its blob's digest.
        id: String,
        /// How far it is.
        step: LayerStep,
    },
}

/// How far a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerStep {
    /// Its turn will come.
    Waiting,
    /// It is here already.
    Exists,
    /// On its way; it becomes a file system while it arrives.
    Downloading {
        /// Bytes that came.
        current: u64,
        /// Bytes there are.
        total: u64,
    },
    /// All of it came and is what it should be.
    Verified,
    /// It can be used.
    Complete,
}

/// An image that is now here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// Its identity.
    pub id: ImageId,
    /// What the registry knows it by.
    pub digest: Digest,
    /// Whether the name meant it before.
    pub was_here: bool,
    /// Bytes that came over the network for layers.
    pub fetched_bytes: u64,
}

/// Why nothing was pulled.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The registry did not give it.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Its configuration is none.
    #[error("{name} is no container image")]
    Configuration {
        /// The image.
        name: String,
        /// Where its configuration goes wrong.
        #[source]
        source: serde_json::Error,
    },
    /// Manifest and configuration disagree.
    #[error(
        "{name} is no container image: its manifest has {layers} layers, its configuration {diff_ids}"
    )]
    LayerCount {
        /// The image.
        name: String,
        /// How many the manifest has.
        layers: usize,
        /// How many the configuration has.
        diff_ids: usize,
    },
    /// For another machine.
    #[error("{name} is for {os}/{architecture} and cannot run here; this machine runs {here}")]
    Platform {
        /// The image.
        name: String,
        /// What it is for.
        os: String,
        /// What it is for.
        architecture: String,
        /// What runs here.
        here: Platform,
    },
    /// A layer was refused.
    #[error("failed to use the layer {digest}")]
    Layer {
        /// The blob.
        digest: Digest,
        /// What is wrong with it.
        #[source]
        source: LayerError,
    },
    /// The store failed.
    #[error("failed to store the image")]
    Store(#[source] StoreError),
}

/// A blob and the layer it is to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Wanted {
    digest: Digest,
    size: u64,
    diff_id: Digest,
}

/// Who is asked for an image, and as whom.
struct Asked<'a> {
    client: &'a RegistryClient,
    bases: &'a [String],
    credentials: &'a Credentials,
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
    /// Pulls an image. Whoever holds `client` may end it from another thread.
    ///
    /// # Errors
    /// If the registry does not give it, something is not what it should be, or the store cannot be
    /// written; then the store is as before.
    pub fn pull(
        &self,
        client: &RegistryClient,
        request: &PullRequest,
        report: &(dyn Fn(PullEvent) + Sync),
    ) -> Result<Pulled, PullError> {
        let reference = request.reference.clone().or_latest();
        let nobody = Credentials::default();
        for mirror in &client.mirrors(reference.domain()) {
            let asked = Asked {
                client,
                bases: std::slice::from_ref(mirror),
                credentials: &nobody,
            };
            match self.pull_from(&asked, &reference, request, report) {
                Err(PullError::Registry(RegistryError::Cancelled)) => {
                    return Err(RegistryError::Cancelled.into());
                }
                Err(PullError::Registry(error)) => {
                    tracing::warn!(%mirror, %error, "a mirror does not help");
                }
                other => return other,
            }
        }
        let asked = Asked {
            client,
            bases: &client.bases(reference.domain()),
            credentials: &request.credentials,
        };
        self.pull_from(&asked, &reference, request, report)
    }

    fn pull_from(
        &self,
        asked: &Asked<'_>,
        reference: &Reference,
        request: &PullRequest,
        report: &(dyn Fn(PullEvent) + Sync),
    ) -> Result<Pulled, PullError> {
        let (path, transport) = (reference.path(), asked.client.transport());
        let repository = Repository::open(
            transport,
            asked.bases,
            path,
            Access::Pull,
            asked.credentials,
        )?;
        let asked_for = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.unwrap_or_default().to_owned(),
        };
        let name = reference.familiar();
        let platform = request.platform.clone().unwrap_or_else(Platform::here);
        let manifest = manifest::fetch(&repository, &name, &asked_for, &platform)?;
        report(PullEvent::Begun {
            repository: path.to_owned(),
            reference: asked_for,
        });
        let (config_json, configuration) =
            self.fetch_configuration(&repository, &name, &manifest)?;
        check_platform(&name, &configuration, &platform)?;
        let wanted = wanted(&name, reference.domain(), &manifest, &configuration)?;
        let (layers, fetched_bytes) = self.fetch_layers(&repository, &wanted, report)?;
        let id = ImageId::new(Digest::of(&config_json));
        let was_here = self.references().map_err(PullError::Store)?.get(reference) == Some(id);
        let mut references = vec![reference.at_digest(manifest.top)];
        if reference.digest().is_none() {
            references.push(reference.clone());
        }
        let image = StagedImage {
            id,
            config_json,
            layers,
            references,
            manifest: Some(StoredManifest {
                media_type: manifest.media_type,
                text: String::from_utf8_lossy(&manifest.bytes).into_owned(),
            }),
        };
        self.commit_all(vec![image]).map_err(PullError::Store)?;
        Ok(Pulled {
            id,
            digest: manifest.top,
            was_here,
            fetched_bytes,
        })
    }

    fn fetch_configuration(
        &self,
        repository: &Repository<'_>,
        name: &str,
        manifest: &FetchedManifest,
    ) -> Result<(Vec<u8>, ImageConfiguration), PullError> {
        let digest = manifest.config.checked_digest(name)?;
        let size = manifest.config.size;
        let known = self
            .configuration(&ImageId::new(digest))
            .map_err(PullError::Store)?;
        if let Some(known) = known {
            return Ok(known);
        }
        if size > MAX_DOCUMENT_BYTES {
            return Err(PullError::Registry(RegistryError::Invalid {
                host: name.to_owned(),
                problem: format!("its configuration has {size} bytes"),
            }));
        }
        let bytes = blob::fetch_whole(repository, digest, size)?;
        match serde_json::from_slice(&bytes) {
            Ok(configuration) => Ok((bytes, configuration)),
            Err(source) => Err(PullError::Configuration {
                name: name.to_owned(),
                source,
            }),
        }
    }

    /// All layers, lowest first, and how many bytes had to come.
    fn fetch_layers(
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
                        self.repository.transport.cancel();
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
        let start = std::io::BufRead::fill_buf(&mut input).map_err(read_error)?;
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

/// The blobs of an image with the layers they are, lowest first.
fn wanted(
    name: &str,
    host: &str,
    manifest: &FetchedManifest,
    configuration: &ImageConfiguration,
) -> Result<Vec<Wanted>, PullError> {
    let diff_ids = diff_ids(configuration).ok_or_else(|| RegistryError::Invalid {
        host: host.to_owned(),
        problem: format!("the configuration of {name} names a layer that is no digest"),
    })?;
    if diff_ids.len() != manifest.layers.len() {
        return Err(PullError::LayerCount {
            name: name.to_owned(),
            layers: manifest.layers.len(),
            diff_ids: diff_ids.len(),
        });
    }
    let pairs = manifest.layers.iter().zip(diff_ids);
    let wanted = pairs.map(|(descriptor, diff_id): (&Descriptor, _)| {
        Ok(Wanted {
            digest: descriptor.checked_digest(host)?,
            size: descriptor.size,
            diff_id,
        })
    });
    wanted.collect()
}

/// Manifests without an index do not say what they are for; configurations do.
fn check_platform(
    name: &str,
    configuration: &ImageConfiguration,
    platform: &Platform,
) -> Result<(), PullError> {
    let os = configuration.os().to_string();
    let architecture = configuration.architecture().to_string();
    let silent = os.is_empty() || architecture.is_empty();
    if silent || platform.is(&os, &architecture) {
        return Ok(());
    }
    Err(PullError::Platform {
        name: name.to_owned(),
        os,
        architecture,
        here: platform.clone(),
    })
}
