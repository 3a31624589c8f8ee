//! Answers of the API, reduced to what a client here reads.
//!
//! Own structs and not the generated ones: an answer may come from any daemon, and an unknown
//! state or a `null` where a list was promised must not make a listing fail.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

/// Reads `null` as the empty value: Go daemons write empty lists and maps that way.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Answer of `containers/create`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreatedContainer {
    /// Full id.
    pub id: String,
    /// What the daemon accepted but would rather not have.
    #[serde(default, deserialize_with = "or_default")]
    pub warnings: Vec<String>,
}

/// The networks of a container in a list.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SummaryNetworks {
    /// By name.
    #[serde(deserialize_with = "or_default")]
    pub networks: BTreeMap<String, serde_json::Value>,
}

/// One network of `networks`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NetworkSummary {
    /// Full id.
    pub id: String,
    /// Name.
    pub name: String,
    /// What it is made of.
    pub driver: String,
    /// `local`.
    pub scope: String,
    /// When it was made.
    pub created: String,
    /// Whether nothing goes beyond it.
    pub internal: bool,
    /// Whether it has IPv4 addresses.
    #[serde(rename = "EnableIPv4")]
    pub enable_ipv4: bool,
    /// Whether it has IPv6 addresses.
    #[serde(rename = "EnableIPv6")]
    pub enable_ipv6: bool,
    /// Labels.
    #[serde(deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
}

/// One line of `containers/json`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerSummary {
    /// Full id.
    pub id: String,
    /// Names, each with a leading slash.
    #[serde(deserialize_with = "or_default")]
    pub names: Vec<String>,
    /// The image as the user named it.
    pub image: String,
    /// The image's full id.
    #[serde(rename = "ImageID")]
    pub image_id: String,
    /// The command in one line.
    pub command: String,
    /// Seconds since 1970.
    pub created: i64,
    /// Published and exposed ports.
    #[serde(deserialize_with = "or_default")]
    pub ports: Vec<PortBinding>,
    /// Labels.
    #[serde(deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    /// `running`, `exited`, …
    pub state: String,
    /// State in words, with its age.
    pub status: String,
    /// The networks it is on.
    #[serde(deserialize_with = "or_default")]
    pub network_settings: SummaryNetworks,
    /// Bytes written in the container's own layer; only when asked for.
    pub size_rw: Option<i64>,
    /// Bytes of everything the container sees; only when asked for.
    pub size_root_fs: Option<i64>,
}

/// What verbs need of `containers/{id}/json`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerFacts {
    /// Full id.
    pub id: String,
    /// Whether it runs.
    pub state: ContainerStateFacts,
    /// How it was configured.
    pub config: ContainerConfigFacts,
    /// How the host treats it.
    pub host_config: ContainerHostFacts,
    /// Where it is reached.
    pub network_settings: NetworkFacts,
}

/// Whether a container runs.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerStateFacts {
    /// It runs, or is paused.
    pub running: bool,
    /// It is frozen.
    pub paused: bool,
}

/// How a container's streams were set up.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerConfigFacts {
    /// It has a terminal.
    pub tty: bool,
    /// It takes input.
    pub open_stdin: bool,
}

/// What happens to a container when it stops.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerHostFacts {
    /// It is removed.
    pub auto_remove: bool,
}

/// Where a container is reached.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NetworkFacts {
    /// By container port, such as `80/tcp`; `null` when exposed and not published.
    #[serde(deserialize_with = "or_default")]
    pub ports: BTreeMap<String, Option<Vec<HostAddress>>>,
}

/// An address on the host.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HostAddress {
    /// Address.
    pub host_ip: String,
    /// Port.
    pub host_port: String,
}

/// A port of a container and, if published, where it is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(default)]
pub struct PortBinding {
    /// Address on the host.
    #[serde(rename = "IP")]
    pub address: Option<String>,
    /// Port in the container.
    #[serde(rename = "PrivatePort")]
    pub container_port: u16,
    /// Port on the host.
    #[serde(rename = "PublicPort")]
    pub host_port: Option<u16>,
    /// `tcp` or `udp`.
    #[serde(rename = "Type")]
    pub protocol: String,
}

/// Answer of `containers/{id}/wait`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerExit {
    /// Exit code of the container's process.
    pub status_code: i64,
    /// Why waiting itself went wrong.
    #[serde(default)]
    pub error: Option<ExitError>,
}

/// The daemon's trouble with waiting for a container.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ExitError {
    /// In words.
    #[serde(default)]
    pub message: Option<String>,
}

/// Answer of `containers/{id}/top`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TopReply {
    /// Column names.
    #[serde(deserialize_with = "or_default")]
    pub titles: Vec<String>,
    /// A row per process.
    #[serde(deserialize_with = "or_default")]
    pub processes: Vec<Vec<String>>,
}

/// Answer of `exec/{id}/json`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ExecState {
    /// Whether the process has not ended yet.
    #[serde(default)]
    pub running: bool,
    /// Its exit code, once it has.
    #[serde(default)]
    pub exit_code: Option<i64>,
}

/// One line of `images/json`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageSummary {
    /// Full id, with its algorithm.
    pub id: String,
    /// Names.
    #[serde(deserialize_with = "or_default")]
    pub repo_tags: Vec<String>,
    /// Names by digest.
    #[serde(deserialize_with = "or_default")]
    pub repo_digests: Vec<String>,
    /// Seconds since 1970.
    pub created: i64,
    /// Bytes of all layers.
    pub size: i64,
    /// Containers that use it; -1 when not counted.
    pub containers: i64,
    /// Labels.
    #[serde(deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
}

/// One line of the answer to removing an image.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RemovedImage {
    /// A name that is gone.
    pub untagged: Option<String>,
    /// An image or layer that is gone.
    pub deleted: Option<String>,
}

/// One step of something long, such as a load.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// Text to show as it is.
    pub stream: Option<String>,
    /// What is being done.
    pub status: Option<String>,
    /// What it is done to.
    pub id: Option<String>,
    /// A bar drawn by the daemon.
    pub progress: Option<String>,
    /// How far it is.
    #[serde(rename = "progressDetail")]
    pub progress_detail: Option<ProgressDetail>,
    /// Set when the whole has failed.
    pub error: Option<String>,
    /// The same with a code.
    #[serde(rename = "errorDetail")]
    pub error_detail: Option<ProgressError>,
}

/// How far something is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ProgressDetail {
    /// So much is done.
    pub current: Option<i64>,
    /// Of so much.
    pub total: Option<i64>,
}

/// What came of a pruning.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct PrunedImages {
    /// Names and images that are gone.
    #[serde(rename = "ImagesDeleted")]
    pub images: Option<Vec<RemovedImage>>,
    /// Bytes freed.
    #[serde(rename = "SpaceReclaimed")]
    pub space_reclaimed: i64,
}

/// One step of an image's making.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct HistoryStep {
    /// The image after it, `<missing>` if it is none.
    pub id: String,
    /// Seconds since 1970.
    pub created: i64,
    /// The instruction.
    pub created_by: String,
    /// Bytes it added.
    pub size: i64,
    /// A remark.
    pub comment: String,
}

/// A repository that a search found.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct FoundImage {
    /// Its name.
    pub name: String,
    /// What it is.
    pub description: String,
    /// How many people like it.
    pub star_count: i64,
    /// Whether the registry's makers keep it.
    pub is_official: bool,
}

/// What a registry says to a login.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct LoginReply {
    /// In words.
    pub status: String,
    /// A token to use from now on instead of the password.
    pub identity_token: String,
}

/// Why something long has failed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ProgressError {
    /// In words.
    pub message: String,
}

/// Something that happened.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Event {
    /// `container`, `image`, `network`, …
    #[serde(rename = "Type")]
    pub kind: String,
    /// What happened: `create`, `start`, `die`, …
    #[serde(rename = "Action")]
    pub action: String,
    /// To whom.
    #[serde(rename = "Actor")]
    pub actor: EventActor,
    /// Seconds since 1970.
    pub time: i64,
    /// The same in nanoseconds.
    #[serde(rename = "timeNano")]
    pub time_nanoseconds: i64,
}

/// Who an event is about.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct EventActor {
    /// Full id.
    #[serde(rename = "ID")]
    pub id: String,
    /// What else is known: name, image, exit code.
    #[serde(rename = "Attributes", deserialize_with = "or_default")]
    pub attributes: BTreeMap<String, String>,
}
