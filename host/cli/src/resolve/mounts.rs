//! `--tmpfs` and `--mount`; `-v` and bind mounts are understood well enough to be refused clearly.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use dhow_api::client::request::{Mount, MountTmpfsOptions, MountType};

use super::size;

/// What we say to everything that would need the host's files or a named volume.
pub(crate) const NO_VOLUMES: &str = "volumes and bind mounts are not available in this version";

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

/// Reads one `--mount type=tmpfs,target=/path,…`.
pub(crate) fn parse_mount(text: &str) -> Result<Mount> {
    parse_fields(text).with_context(|| format!("invalid --mount \"{text}\""))
}

fn parse_fields(text: &str) -> Result<Mount> {
    let mut mount = Mount::default();
    let mut options = MountTmpfsOptions::default();
    let mut kind = "volume";
    for field in text.split(',') {
        let (key, value) = field.split_once('=').unwrap_or((field, ""));
        match key.trim() {
            "type" => kind = value,
            "target" | "destination" | "dst" => mount.target = Some(value.to_owned()),
            "readonly" | "ro" => mount.read_only = Some(!matches!(value, "false" | "0")),
            "tmpfs-size" => options.size_bytes = Some(size::parse(value)?),
            "tmpfs-mode" => {
                let mode = i64::from_str_radix(value, 8).context("tmpfs-mode must be octal")?;
                options.mode = Some(mode);
            }
            "source" | "src" => {}
            other => bail!("unknown field \"{other}\""),
        }
    }
    match kind {
        "tmpfs" => {}
        "bind" | "volume" => bail!(NO_VOLUMES),
        other => bail!("unknown type \"{other}\""),
    }
    if !mount
        .target
        .as_deref()
        .is_some_and(|target| target.starts_with('/'))
    {
        bail!("it needs an absolute target");
    }
    mount.typ = Some(MountType::TMPFS);
    mount.tmpfs_options = Some(options);
    Ok(mount)
}

#[cfg(test)]
mod tests {
    use super::{parse_mount, parse_tmpfs};

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
    fn bind_mounts_are_refused_clearly() {
        let error = parse_mount("type=bind,src=/a,dst=/b").expect_err("an error");
        assert!(format!("{error:#}").ends_with("not available in this version"));
    }

    #[test]
    fn a_tmpfs_keeps_its_options() {
        let mounts = parse_tmpfs(&["/run:rw,size=64k".to_owned()]).expect("a mount");
        assert_eq!(mounts["/run"], "rw,size=64k");
        let _refused = parse_tmpfs(&["run".to_owned()]).expect_err("a refusal");
    }
}
