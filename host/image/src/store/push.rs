//! Pushes an image: the layers that the registry lacks, its configuration, and its manifest.
//!
//! A layer is known to registries by the digest of its compressed bytes, which the store does not keep.
//! Where it came from a registry or went to one, that digest is remembered, and a registry that has the
//! blob is not sent it again: in the same repository it is there, from another it is mounted. Else the
//! layer's archive is put together and compressed with gzip, the same way every time. When all layers
//! keep their old digests, the image also keeps its manifest, byte for byte.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::read::GzEncoder;
use serde_json::json;
use ureq::http::{Method, StatusCode};

use super::manifests::StoredManifest;
use super::{Image, ImageStore, ResolveError, StoreError};
use crate::digest::{Digest, ImageId};
use crate::hashing::HashingReader;
use crate::layer::Assembler;
use crate::reference::Reference;
use crate::registry::manifest::{DOCKER_MANIFEST, Descriptor, OCI_MANIFEST, parse_manifest};
use crate::registry::repository::{Access, Repository};
use crate::registry::transport::{Answer, Call, Payload};
use crate::registry::{Credentials, RegistryClient, RegistryError};

/// Layers on their way at once.
const PARALLEL_LAYERS: usize = 3;

/// Between two words on how far a layer is.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// Letters of a digest that name a layer in messages.
const SHORT_DIGITS: usize = 12;

/// Repositories that a layer is tried to be mounted from.
const MAX_SOURCES: usize = 4;

/// Docker's media types, for images that came without a manifest.
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// OCI's.
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// What to push.
#[derive(Debug, Clone)]
pub struct PushRequest {
    /// The image, under the name it is to have.
    pub reference: Reference,
    /// Who asks.
    pub credentials: Credentials,
}

/// What happens while an image is pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushEvent {
    /// It goes there.
    Begun {
        /// The repository with its registry.
        repository: String,
    },
    /// A layer got on.
    Layer {
        /// The first digits of its diff id.
        id: String,
        /// How far it is.
        step: PushStep,
    },
}

/// How far a layer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushStep {
    /// Its turn will come.
    Preparing,
    /// The registry has it.
    Exists,
    /// The registry has it elsewhere.
    Mounted {
        /// The repository.
        from: String,
    },
    /// On its way.
    Pushing {
        /// Bytes of its archive that went.
        current: u64,
        /// Bytes there are.
        total: u64,
    },
    /// The registry has it now.
    Pushed,
}

/// An image that a registry has now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The tag it has there.
    pub tag: String,
    /// What the registry knows it by.
    pub digest: Digest,
    /// Bytes of its manifest.
    pub size: u64,
}

/// Why an image was not pushed.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// No such image.
    #[error("an image does not exist locally with the tag: {reference}")]
    NotFound {
        /// What was asked for.
        reference: String,
    },
    /// A name cannot be pushed to.
    #[error("cannot push a digest reference: {reference}")]
    Digest {
        /// What was asked for.
        reference: String,
    },
    /// The registry did not take it.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A layer's archive cannot be made again.
    #[error("failed to put the archive of layer {diff_id} together")]
    Layer {
        /// The layer.
        diff_id: Digest,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// The image was not read.
    #[error("failed to read the image")]
    Resolve(#[source] ResolveError),
    /// The store failed.
    #[error("failed to use the image store")]
    Store(#[source] StoreError),
}

/// A layer, and under which digests registries may know it.
struct Outgoing {
    diff_id: Digest,
    known: Vec<Descriptor>,
    /// Repositories of the same registry that may have it.
    sources: Vec<String>,
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
    /// Pushes an image. Whoever holds `client` may end it from another thread.
    ///
    /// # Errors
    /// If there is no such image, the registry does not take it, or a layer is damaged.
    pub fn push(
        &self,
        client: &RegistryClient,
        request: &PushRequest,
        report: &(dyn Fn(PushEvent) + Sync),
    ) -> Result<Pushed, PushError> {
        let reference = request.reference.clone().or_latest();
        let Some(tag) = reference.tag().filter(|_| reference.digest().is_none()) else {
            let reference = reference.familiar();
            return Err(PushError::Digest { reference });
        };
        let image = self
            .resolve(&reference.to_string())
            .map_err(|error| match error {
                ResolveError::NotFound { .. } => PushError::NotFound {
                    reference: reference.familiar(),
                },
                other => PushError::Resolve(other),
            })?;
        report(PushEvent::Begun {
            repository: reference.name(),
        });
        let manifests = self.stored_manifests(&image.id).map_err(PushError::Store)?;
        let outgoing = self
            .outgoing(&image, &reference)
            .map_err(PushError::Store)?;
        let sources: BTreeSet<String> = outgoing
            .iter()
            .flat_map(|one| one.sources.clone())
            .collect();
        let bases = client.bases(reference.domain());
        let transport = client.transport();
        let repository = Repository::open(
            transport,
            &bases,
            reference.path(),
            Access::Push,
            &request.credentials,
        )?
        .reading(sources.into_iter().collect());
        let is_oci = manifests
            .first()
            .is_some_and(|known| known.media_type == OCI_MANIFEST);
        let layers = self.send_layers(&repository, &outgoing, is_oci, report)?;
        send_configuration(&repository, &image)?;
        let manifest = manifest_of(&image, &layers, &manifests, is_oci);
        let (digest, size) = send_manifest(&repository, tag, &manifest)?;
        self.remember(&image.id, &reference.at_digest(digest), &manifest)
            .map_err(PushError::Store)?;
        Ok(Pushed {
            tag: tag.to_owned(),
            digest,
            size,
        })
    }

    /// Each layer once, with what is known of it from all images that have it.
    fn outgoing(&self, image: &Image, reference: &Reference) -> Result<Vec<Outgoing>, StoreError> {
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
    fn send_layers(
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

    /// Records what the registry knows the image by.
    fn remember(
        &self,
        id: &ImageId,
        reference: &Reference,
        manifest: &StoredManifest,
    ) -> Result<(), StoreError> {
        let _lock = self.lock()?;
        // Another process may have removed it meanwhile.
        if self.configuration(id)?.is_none() {
            return Ok(());
        }
        self.write_manifest(id, manifest)?;
        let mut references = self.references()?;
        references.set(reference.clone(), *id);
        references.write(&self.inner.root, self.session())
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
                        self.repository.transport.cancel();
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
                    if attempts >= crate::registry::repository::MAX_ATTEMPTS {
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

/// Whether the repository has a blob.
fn exists(repository: &Repository<'_>, digest: &str) -> Result<bool, RegistryError> {
    let address = repository.address(&format!("blobs/{digest}"));
    let call = || Call::new(Method::HEAD, address.clone());
    let expected = [StatusCode::OK, StatusCode::NOT_FOUND];
    let answer = repository.fetch(call, &expected, "the blob")?;
    Ok(answer.status == StatusCode::OK)
}

/// Asks for a blob of another repository; `false` if that does not have it or may not be seen.
fn mount(repository: &Repository<'_>, digest: &str, from: &str) -> Result<bool, RegistryError> {
    let address = repository.address(&format!("blobs/uploads/?mount={digest}&from={from}"));
    let answer = repository.send(Call::new(Method::POST, address).payload(Payload::Bytes(&[])))?;
    if answer.status == StatusCode::ACCEPTED {
        // It began an upload instead, which nobody is to wait for.
        let location = next_location(&answer)?;
        let _expires = repository.send(Call::new(Method::DELETE, location));
    }
    Ok(answer.status == StatusCode::CREATED)
}

fn begin_upload(repository: &Repository<'_>) -> Result<String, RegistryError> {
    let address = repository.address("blobs/uploads/");
    let call = Call::new(Method::POST, address).payload(Payload::Bytes(&[]));
    let answer = repository.send(call)?;
    if answer.status == StatusCode::ACCEPTED {
        next_location(&answer)
    } else {
        Err(answer.refusal("the repository"))
    }
}

fn end_upload(
    repository: &Repository<'_>,
    location: &str,
    digest: Digest,
) -> Result<(), RegistryError> {
    put_blob(repository, location, digest, &[])
}

fn put_blob(
    repository: &Repository<'_>,
    location: &str,
    digest: Digest,
    content: &[u8],
) -> Result<(), RegistryError> {
    let separator = if location.contains('?') { '&' } else { '?' };
    let address = format!("{location}{separator}digest={digest}");
    let call = Call::new(Method::PUT, address)
        .header("content-type", "application/octet-stream")
        .payload(Payload::Bytes(content));
    let answer = repository.send(call)?;
    match answer.status.is_success() {
        true => Ok(()),
        false => Err(answer.refusal("the blob")),
    }
}

/// Where an upload goes on.
fn next_location(answer: &Answer) -> Result<String, RegistryError> {
    let location = answer.header("location");
    let location = location.and_then(|location| crate::registry::join(&answer.address, location));
    location.ok_or_else(|| RegistryError::Invalid {
        host: answer.host.clone(),
        problem: "it does not say where an upload goes on".to_owned(),
    })
}

fn send_configuration(repository: &Repository<'_>, image: &Image) -> Result<(), RegistryError> {
    let digest = image.id.digest();
    if exists(repository, &digest.to_string())? {
        return Ok(());
    }
    let location = begin_upload(repository)?;
    put_blob(repository, &location, digest, &image.config_json)
}

/// A known manifest if all layers are as it says, else a new one of the same family.
fn manifest_of(
    image: &Image,
    layers: &[(Digest, Descriptor)],
    known: &[StoredManifest],
    is_oci: bool,
) -> StoredManifest {
    let of = |diff_id: &Digest| {
        let found = layers.iter().find(|(known, _)| known == diff_id);
        found
            .map(|(_, descriptor)| descriptor.clone())
            .expect("all layers were sent")
    };
    let mut layers: Vec<Descriptor> = image
        .layers
        .iter()
        .map(|layer| of(&layer.diff_id))
        .collect();
    let same = |manifest: &&StoredManifest| {
        parse_manifest(manifest.text.as_bytes()).is_some_and(|(_, theirs)| {
            let digests = theirs.iter().map(|one| &one.digest);
            digests.eq(layers.iter().map(|one| &one.digest))
        })
    };
    if let Some(manifest) = known.iter().find(same) {
        return manifest.clone();
    }
    let is_oci = is_oci
        || layers
            .iter()
            .any(|layer| layer.media_type.ends_with("zstd"));
    let (media_type, config_type, layer_type) = match is_oci {
        true => (OCI_MANIFEST, OCI_CONFIG, OCI_LAYER),
        false => (DOCKER_MANIFEST, DOCKER_CONFIG, DOCKER_LAYER),
    };
    for layer in layers
        .iter_mut()
        .filter(|layer| layer.media_type.ends_with("gzip"))
    {
        layer_type.clone_into(&mut layer.media_type);
    }
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": {
            "mediaType": config_type,
            "size": image.config_json.len(),
            "digest": image.id.to_string(),
        },
        "layers": layers,
    });
    StoredManifest {
        media_type: media_type.to_owned(),
        text: manifest.to_string(),
    }
}

fn send_manifest(
    repository: &Repository<'_>,
    tag: &str,
    manifest: &StoredManifest,
) -> Result<(Digest, u64), RegistryError> {
    let bytes = manifest.text.as_bytes();
    let answer = repository.retrying(|| {
        let call = Call::new(Method::PUT, repository.address(&format!("manifests/{tag}")))
            .header("content-type", manifest.media_type.clone())
            .payload(Payload::Bytes(bytes));
        repository.send(call)
    })?;
    if !answer.status.is_success() {
        return Err(answer.refusal("the manifest"));
    }
    Ok((Digest::of(bytes), bytes.len() as u64))
}
