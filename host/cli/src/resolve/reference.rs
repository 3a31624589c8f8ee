//! Image names: what a name without tag means, and where repository ends and tag begins.

use anyhow::{Result, bail};

/// The tag of a name that says none.
const DEFAULT_TAG: &str = "latest";

/// Splits `repository[:tag]`; a colon before a slash belongs to a registry's port.
pub(crate) fn split_tag(name: &str) -> (&str, Option<&str>) {
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        _ => (name, None),
    }
}

/// A name to give to an image: repository and tag, the tag being `latest` when not said.
pub(crate) fn new_name(name: &str) -> Result<(&str, &str)> {
    if name.contains('@') {
        bail!("\"{name}\" names a digest; a name to give has a tag at most");
    }
    let (repository, tag) = split_tag(name);
    if repository.is_empty() || tag == Some("") {
        bail!("\"{name}\" is not an image name");
    }
    Ok((repository, tag.unwrap_or(DEFAULT_TAG)))
}

/// The name with its tag, for messages.
pub(crate) fn with_tag(name: &str) -> String {
    match split_tag(name) {
        (_, None) if !name.contains('@') => format!("{name}:{DEFAULT_TAG}"),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{new_name, with_tag};

    #[test]
    fn a_name_without_tag_is_the_latest() {
        assert_eq!(with_tag("busybox"), "busybox:latest");
        assert_eq!(with_tag("host:5000/app"), "host:5000/app:latest");
        assert_eq!(with_tag("busybox:1.36"), "busybox:1.36");
    }

    #[test]
    fn names_to_give_are_split() {
        assert_eq!(
            new_name("host:5000/app:2").expect("a name"),
            ("host:5000/app", "2")
        );
        assert_eq!(new_name("app").expect("a name"), ("app", "latest"));
        let _refused = new_name("app@sha256:0").expect_err("a refusal");
        let _refused = new_name(":x").expect_err("a refusal");
    }
}
