//! Image references, archives, content store and layers as EROFS.
//!
//! [`ImageStore`] is the door: it loads archives, imports root file systems, and answers what images
//! there are. A layer is converted once, while its archive streams by, into an EROFS file named by
//! its diff id; a machine then mounts that file as it is. Everything runs as an ordinary user, without
//! root, mounts or loop devices, and without an asynchronous runtime.
//!
//! All input is hostile until it is checked: digests are verified, every length has a bound, and a
//! refused archive leaves nothing behind.
#![forbid(unsafe_code)]

mod decompress;
mod digest;
mod erofs;
mod hashing;
mod layer;
mod manifest;
mod platform;
mod reference;
mod registry;
mod store;
mod tar;

pub use digest::{Digest, ImageId, ParseDigestError};
pub use erofs::{ErofsError, TreeError, XattrError};
pub use layer::{LayerError, PathError};
pub use manifest::ManifestError;
pub use platform::{ParsePlatformError, Platform};
pub use reference::{ParseReferenceError, Reference};
pub use registry::{
    Credentials, FoundRepository, ParseCredentialsError, RegistryClient, RegistryError,
    RegistrySettings, SettingsError,
};
pub use store::{
    CommitError, CommitOptions, Image, ImageStore, ImageSummary, ImportError, ImportOptions, Layer,
    LayerStep, LoadError, LoadEvent, LoadedImage, OpenError, PullError, PullEvent, PullRequest,
    Pulled, PushError, PushEvent, PushRequest, PushStep, Pushed, RemoveError, Removed,
    ResolveError, SaveError, StoreError, TagError,
};
pub use tar::TarError;
