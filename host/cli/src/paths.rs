//! Where things live: the home, the run folder with its sockets, and what was installed with us.
//!
//! `DHOW_HOME` keeps everything of one dhow in one folder, so two homes never meet. Without it the
//! XDG folders are used. The address of a unix socket has room for 107 bytes only; a run folder too
//! deep for that is reached through a short symbolic link in a folder that only we can write to.

use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use etcetera::BaseStrategy;
use nix::unistd::Uid;

/// Bytes a unix socket's address has room for, without the final zero (unix(7), `sun_path`).
const MAX_SOCKET_PATH_BYTES: usize = 107;

/// Room kept below the run folder for the longest socket name, such as `machine/forward-65535.sock`.
const SOCKET_NAME_BYTES: usize = 40;

/// Name of the API's socket in the run folder.
const API_SOCKET: &str = "docker.sock";

/// Name of the settings in the folder for what the user writes.
const SETTINGS: &str = "daemon.json";

/// All folders and files the command line itself touches.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    /// State that lasts.
    pub(crate) home: PathBuf,
    /// Sockets, locks and logs; short enough for sockets.
    pub(crate) run: PathBuf,
    /// What the user writes: settings and certificates.
    config: PathBuf,
}

impl Paths {
    /// Finds the folders from the environment and makes them.
    pub(crate) fn prepare() -> Result<Self> {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let (home, run) = locate(variable)?;
        let config = locate_config(variable)?;
        for folder in [&home, &run] {
            make_private(folder)
                .with_context(|| format!("failed to create {}", folder.display()))?;
        }
        let run = if fits(&run) {
            run
        } else {
            shorten(&run, Path::new("/tmp"))?
        };
        Ok(Self { home, run, config })
    }

    /// The API's socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.run.join(API_SOCKET)
    }

    /// What the user says about registries; it need not be there.
    pub(crate) fn settings(&self) -> PathBuf {
        self.config.join(SETTINGS)
    }

    /// The socket of the API behind the machine's port for containers.
    pub(crate) fn container_socket(&self) -> PathBuf {
        self.run.join("containers.sock")
    }

    /// Held by whoever starts a daemon.
    pub(crate) fn start_lock(&self) -> PathBuf {
        self.run.join("start.lock")
    }

    /// Held by the daemon for as long as it lives.
    pub(crate) fn daemon_lock(&self) -> PathBuf {
        self.run.join("daemon.lock")
    }

    /// What the daemon has to say.
    pub(crate) fn daemon_log(&self) -> PathBuf {
        self.run.join("daemon.log")
    }
}

/// Folder with kernels and initramfs: `DHOW_LIB`, or `lib/dhow` beside our `bin`.
pub(crate) fn library() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("DHOW_LIB").filter(|value| !value.is_empty()) {
        return Ok(PathBuf::from(folder));
    }
    let program = std::env::current_exe().context("failed to find our own program file")?;
    let bin = program.parent().context("our program file has no folder")?;
    Ok(bin.parent().unwrap_or(bin).join("lib").join("dhow"))
}

/// Home and run folder, as the environment says.
fn locate(variable: impl Fn(&str) -> Option<OsString>) -> Result<(PathBuf, PathBuf)> {
    if let Some(home) = variable("DHOW_HOME") {
        let home = std::path::absolute(&home).context("failed to make DHOW_HOME absolute")?;
        let run = home.join("run");
        return Ok((home, run));
    }
    let base = match variable("XDG_DATA_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
    {
        Some(base) => base,
        None => etcetera::base_strategy::choose_base_strategy()
            .context("failed to find your home folder; set DHOW_HOME")?
            .data_dir(),
    };
    let home = base.join("dhow");
    let runtime = variable("XDG_RUNTIME_DIR").map(PathBuf::from);
    let run = match runtime.filter(|folder| folder.is_dir()) {
        Some(folder) => folder.join("dhow"),
        None => home.join("run"),
    };
    Ok((home, run))
}

/// Folder of what the user writes: in the home where one is set, else where XDG has it.
fn locate_config(variable: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf> {
    if let Some(home) = variable("DHOW_HOME") {
        let home = std::path::absolute(&home).context("failed to make DHOW_HOME absolute")?;
        return Ok(home.join("config"));
    }
    let base = variable("XDG_CONFIG_HOME").map(PathBuf::from);
    let base = match base.filter(|path| path.is_absolute()) {
        Some(base) => base,
        None => etcetera::base_strategy::choose_base_strategy()
            .context("failed to find your home folder; set DHOW_HOME")?
            .config_dir(),
    };
    Ok(base.join("dhow"))
}

fn make_private(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn fits(run: &Path) -> bool {
    run.as_os_str().len() + SOCKET_NAME_BYTES <= MAX_SOCKET_PATH_BYTES
}

/// A short symbolic link to `run`, made below `base` unless it is there.
fn shorten(run: &Path, base: &Path) -> Result<PathBuf> {
    let user = Uid::effective();
    let folder = base.join(format!("dhow-{user}"));
    match DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("failed to create {}", folder.display()));
        }
        _ => {}
    }
    // Everybody may write to /tmp: what is there must be a real folder that is ours alone.
    let metadata = fs::symlink_metadata(&folder)
        .with_context(|| format!("failed to look at {}", folder.display()))?;
    if !metadata.is_dir() || metadata.uid() != user.as_raw() || metadata.mode() & 0o077 != 0 {
        bail!(
            "the path {} is too long for sockets, and {} is not a folder of yours alone",
            run.display(),
            folder.display()
        );
    }
    let link = folder.join(format!("{:016x}", fingerprint(run.as_os_str().as_bytes())));
    match symlink(run, &link) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => other.with_context(|| format!("failed to create {}", link.display()))?,
    }
    let target =
        fs::read_link(&link).with_context(|| format!("failed to read {}", link.display()))?;
    if target != run {
        bail!(
            "{} leads to {} and not to {}",
            link.display(),
            target.display(),
            run.display()
        );
    }
    Ok(link)
}

/// FNV-1a: two homes of one user must get different names, nobody attacks their own.
fn fingerprint(bytes: &[u8]) -> u64 {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    bytes.iter().fold(OFFSET_BASIS, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(PRIME)
    })
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::{Path, PathBuf};

    use super::{fits, locate, locate_config, shorten};

    #[test]
    fn a_home_keeps_everything_together() {
        let found = locate(|name| (name == "DHOW_HOME").then(|| OsString::from("/data/one")));
        let (home, run) = found.expect("folders");
        assert_eq!(
            (home, run),
            (PathBuf::from("/data/one"), PathBuf::from("/data/one/run"))
        );
    }

    #[test]
    fn without_a_home_the_xdg_folders_count() {
        let runtime = tempfile::tempdir().expect("a temporary folder");
        let (home, run) = locate(|name| match name {
            "XDG_DATA_HOME" => Some(OsString::from("/data")),
            "XDG_RUNTIME_DIR" => Some(runtime.path().into()),
            _ => None,
        })
        .expect("folders");
        assert_eq!(home, Path::new("/data/dhow"));
        assert_eq!(run, runtime.path().join("dhow"));
    }

    #[test]
    fn settings_are_in_the_home_or_where_xdg_has_them() {
        let in_home = locate_config(|name| (name == "DHOW_HOME").then(|| OsString::from("/one")));
        assert_eq!(in_home.expect("a folder"), Path::new("/one/config"));
        let xdg =
            locate_config(|name| (name == "XDG_CONFIG_HOME").then(|| OsString::from("/settings")));
        assert_eq!(xdg.expect("a folder"), Path::new("/settings/dhow"));
    }

    #[test]
    fn a_deep_home_is_reached_through_a_short_link() {
        let base = tempfile::tempdir().expect("a temporary folder");
        let run = base.path().join("d".repeat(120));
        fs::create_dir(&run).expect("a deep folder");
        let link = shorten(&run, base.path()).expect("a link");
        let again = shorten(&run, base.path()).expect("the same link");
        assert!(!fits(&run));
        assert_eq!(link, again);
        assert_eq!(
            fs::canonicalize(&link).expect("a target"),
            fs::canonicalize(&run).expect("it")
        );
    }

    #[test]
    fn a_link_folder_others_can_write_to_is_refused() {
        let base = tempfile::tempdir().expect("a temporary folder");
        let folder = base
            .path()
            .join(format!("dhow-{}", nix::unistd::Uid::effective()));
        fs::create_dir(&folder).expect("a folder");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).expect("its mode");
        let error = shorten(Path::new("/far/away"), base.path()).expect_err("a refusal");
        assert!(
            error.to_string().contains("not a folder of yours alone"),
            "{error}"
        );
    }
}
