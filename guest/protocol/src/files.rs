//! A container's files: what is asked for, what is told, and how archives travel.
//!
//! An archive goes as frames ([`crate::stream`]): `Stdout` to the host, `Stdin` to the agent, an empty
//! one being its end. Towards the host a `Stderr` frame says why it broke off; towards the agent the
//! connection's end does, and the agent answers the whole with one more message.

use serde::{Deserialize, Serialize};

use crate::request::LayerRange;

/// A container whose files are meant, running or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerFiles {
    /// The container's id.
    pub container: String,
    /// The image's layers, lowest first: for a container that does not run.
    pub layers: Vec<LayerRange>,
}

/// What goes into an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pack {
    /// What is at a path, under the path's last name.
    Path(String),
    /// Every file, as for an export.
    All,
    /// What differs from the image, as a layer with whiteouts.
    Layer,
    /// No archive but a list of what differs: a letter (`A`, `C`, `D`), the path, a zero byte.
    Changes,
}

/// An archive to be unpacked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unpack {
    /// Where.
    pub files: ContainerFiles,
    /// The folder, which must be there.
    pub path: String,
    /// Whether a folder that would take a file's place, or a file a folder's, is an error.
    pub keep_kinds: bool,
    /// Docker's `User`, who shall own everything; empty is whoever the archive says.
    pub owner: String,
}

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathStat {
    /// The path's last name.
    pub name: String,
    /// Bytes of a file.
    pub size: u64,
    /// Kind and permissions, as `stat` has them.
    pub mode: u32,
    /// When it was changed last, seconds since 1970.
    pub modified_seconds: i64,
    /// And nanoseconds.
    pub modified_nanoseconds: u32,
    /// Where a symbolic link leads in the end, as an absolute path; empty otherwise.
    pub link_target: String,
}
