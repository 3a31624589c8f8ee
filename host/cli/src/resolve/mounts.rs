//! `-v`, `--tmpfs` and `--mount`.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use dhow_api::client::request::{
    Mount, MountTmpfsOptions, MountType, MountVolumeOptions, MountVolumeOptionsDriverConfig,
};

use super::size;

/// What `-v` comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Volumes {
    /// With a source, for the daemon to read.
    pub(crate) binds: Vec<String>,
    /// Only a place: a volume of the container's own.
    pub(crate) anonymous: Vec<String>,
}

/// Sorts `-v`. A path of ours that is not absolute is taken from here.
pub(crate) fn parse_volumes(given: &[String], here: &Path) -> Result<Volumes> {
    let mut volumes = Volumes::default();
    for text in given {
        match text.split_once(':') {
            None if text.starts_with('/') => volumes.anonymous.push(text.clone()),
            None => bail!("invalid --volume \"{text}\": it must be [SOURCE:]/PATH[:OPTIONS]"),
            Some((source, rest)) if source.starts_with('.') => {
                let source = here.join(source);
                let source = source.to_str().context("our folder's path is no text")?;
                volumes.binds.push(format!("{source}:{rest}"));
            }
            Some(_) => volumes.binds.push(text.clone()),
        }
    }
    Ok(volumes)
}

/// Reads one `--tmpfs path[:options]`.
pub(crate) fn parse_tmpfs(given: &[String]) -> Result<HashMap<String, String>> {
    let mut mounts = HashMap::new();
    for text in given {
        let (path, options) = text.split_once(':').unwrap_or((text, ""));
        if !path.starts_with('/') {
            bail!("invalid --tmpfs \"{text}\": the path must be absolute");
        }
        mounts.insert(path.to_owned(), options.to_owned());
    }
    Ok(mounts)
}

/// Reads one `--mount type=volume,source=db,target=/path,…`.
pub(crate) fn parse_mount(text: &str) -> Result<Mount> {
    parse_fields(text).with_context(|| format!("invalid --mount \"{text}\""))
}

fn parse_fields(text: &str) -> Result<Mount> {
    let mut mount = Mount::default();
    let mut tmpfs = MountTmpfsOptions::default();
    let mut volume = MountVolumeOptions::default();
    let mut kind = "volume";
    for field in text.split(',') {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (field, None),
        };
        let key = key.trim().to_ascii_lowercase();
        // Switches may stand alone.
        match (key.as_str(), value) {
            ("readonly" | "ro", value) => mount.read_only = Some(switch(value)?),
            ("volume-nocopy", value) => volume.no_copy = Some(switch(value)?),
            (_, None) => bail!("\"{field}\" must be key=value"),
            ("type", Some(value)) => kind = value,
            ("source" | "src", Some(value)) => mount.source = Some(value.to_owned()),
            ("target" | "destination" | "dst", Some(value)) => {
                mount.target = Some(value.to_owned());
            }
            ("consistency", Some(_)) => {}
            ("tmpfs-size", Some(value)) => tmpfs.size_bytes = Some(size::parse(value)?),
            ("tmpfs-mode", Some(value)) => {
                let mode = i64::from_str_radix(value, 8).context("tmpfs-mode must be octal")?;
                tmpfs.mode = Some(mode);
            }
            (_, Some(value)) if key.starts_with("volume-") => {
                volume_field(&mut volume, &key, value)?;
            }
            // Of the host's files, of which only the API's socket can be had.
            ("bind-propagation" | "bind-recursive" | "bind-nonrecursive", Some(_)) => {}
            _ => bail!("unknown field \"{field}\""),
        }
    }
    let kind = match kind {
        "tmpfs" => MountType::TMPFS,
        "bind" => MountType::BIND,
        "volume" => MountType::VOLUME,
        other => bail!("unknown type \"{other}\""),
    };
    let fits = (kind == MountType::TMPFS || tmpfs == MountTmpfsOptions::default())
        && (kind == MountType::VOLUME || volume == MountVolumeOptions::default());
    if !fits {
        bail!("options of another type");
    }
    let absolute = |path: &str| path.starts_with('/');
    if !mount.target.as_deref().is_some_and(absolute) {
        bail!("it needs an absolute target");
    }
    mount.tmpfs_options = (tmpfs != MountTmpfsOptions::default()).then_some(tmpfs);
    mount.volume_options = (volume != MountVolumeOptions::default()).then_some(volume);
    mount.typ = Some(kind);
    Ok(mount)
}

fn volume_field(volume: &mut MountVolumeOptions, key: &str, value: &str) -> Result<()> {
    let pair = || {
        let (key, value) = value.split_once('=').unwrap_or((value, ""));
        (key.to_owned(), value.to_owned())
    };
    match key {
        "volume-label" => {
            let (key, value) = pair();
            let labels = volume.labels.get_or_insert_default();
            labels.insert(key, value);
        }
        "volume-subpath" => volume.subpath = Some(value.to_owned()),
        "volume-driver" => {
            let config = volume.driver_config.get_or_insert_default();
            config.name = Some(value.to_owned());
        }
        "volume-opt" => {
            let (key, value) = pair();
            let config: &mut MountVolumeOptionsDriverConfig =
                volume.driver_config.get_or_insert_default();
            config.options.get_or_insert_default().insert(key, value);
        }
        _ => bail!("unknown field \"{key}\""),
    }
    Ok(())
}

/// A switch with or without its value.
fn switch(value: Option<&str>) -> Result<bool> {
    match value {
        None | Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        Some(other) => bail!("\"{other}\" is neither true nor false"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use dhow_api::client::request::MountType;

    use super::{Volumes, parse_mount, parse_tmpfs, parse_volumes};

    #[test]
    fn a_tmpfs_mount_with_size_and_mode() {
        let mount = parse_mount("type=tmpfs,target=/run,tmpfs-size=1m,tmpfs-mode=1770,ro")
            .expect("a mount");
        let options = mount.tmpfs_options.expect("its options");
        assert_eq!(mount.target.as_deref(), Some("/run"));
        assert_eq!(mount.read_only, Some(true));
        assert_eq!(options.size_bytes, Some(1_048_576));
        assert_eq!(options.mode, Some(0o1770));
    }

    #[test]
    fn a_volume_mount_with_every_option() {
        let mount = parse_mount(
            "source=db,target=/data,readonly=false,volume-nocopy,volume-label=a=b,volume-subpath=x",
        )
        .expect("a mount");
        let options = mount.volume_options.expect("its options");
        assert_eq!(mount.typ, Some(MountType::VOLUME));
        assert_eq!(mount.read_only, Some(false));
        assert_eq!(options.no_copy, Some(true));
        assert_eq!(options.labels.expect("labels")["a"], "b");
        assert_eq!(options.subpath.as_deref(), Some("x"));
    }

    #[test]
    fn mistakes_in_a_mount_are_refused() {
        for text in [
            "target=/x,type=carpet",
            "source=db",
            "target=/x,tmpfs-size=1m",
            "target=/x,flying=true",
            "target=/x,ro=perhaps",
        ] {
            let _refused = parse_mount(text).expect_err(text);
        }
    }

    #[test]
    fn volumes_are_sorted_by_whether_they_have_a_source() {
        let given = ["/data", "db:/data:ro", "./here:/x"].map(str::to_owned);
        let volumes = parse_volumes(&given, Path::new("/home/me")).expect("volumes");
        assert_eq!(
            volumes,
            Volumes {
                binds: vec!["db:/data:ro".to_owned(), "/home/me/./here:/x".to_owned()],
                anonymous: vec!["/data".to_owned()],
            }
        );
        let _refused = parse_volumes(&["data".to_owned()], Path::new("/")).expect_err("a refusal");
    }

    #[test]
    fn a_tmpfs_keeps_its_options() {
        let mounts = parse_tmpfs(&["/run:rw,size=64k".to_owned()]).expect("a mount");
        assert_eq!(mounts["/run"], "rw,size=64k");
        let _refused = parse_tmpfs(&["run".to_owned()]).expect_err("a refusal");
    }
}
