//! The API version in a request's path: `/v1.51/containers/json`.

use axum::http::{Request, StatusCode, Uri};

use crate::failure::Failure;

/// The newest version spoken.
pub(crate) const NEWEST: Version = Version(1, 51);
/// The oldest version spoken.
pub(crate) const OLDEST: Version = Version(1, 24);

/// The first version in which pruning volumes spares those that were named.
pub(crate) const ONLY_ANONYMOUS_PRUNED_SINCE: Version = Version(1, 42);

/// An API version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(u32, u32);

impl std::fmt::Display for Version {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}.{}", self.0, self.1)
    }
}

/// Takes the version off the path and leaves it with the request; a path without one means the
/// newest.
pub(crate) fn strip<B>(request: &mut Request<B>) -> Result<(), Failure> {
    let Some((version, rest)) = split(request.uri()) else {
        return Ok(());
    };
    if version > NEWEST {
        let message = format!(
            "client version {version} is too new. Maximum supported API version is {NEWEST}"
        );
        return Err(Failure::new(StatusCode::BAD_REQUEST, message));
    }
    if version < OLDEST {
        let message = format!(
            "client version {version} is too old. Minimum supported API version is {OLDEST}, \
             please upgrade your client to a newer version"
        );
        return Err(Failure::new(StatusCode::BAD_REQUEST, message));
    }
    if let Ok(uri) = rest.parse::<Uri>() {
        *request.uri_mut() = uri;
    }
    request.extensions_mut().insert(version);
    Ok(())
}

fn split(uri: &Uri) -> Option<(Version, String)> {
    let rest = uri.path_and_query()?.as_str().strip_prefix("/v")?;
    let (version, path) = rest.split_once('/')?;
    let (major, minor) = version.split_once('.')?;
    let version = Version(major.parse().ok()?, minor.parse().ok()?);
    Some((version, format!("/{path}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stripped(path: &str) -> Result<String, String> {
        let mut request = Request::builder().uri(path).body(()).unwrap();
        strip(&mut request)
            .map(|()| request.uri().to_string())
            .map_err(|failure| failure.message().to_owned())
    }

    #[test]
    fn a_version_is_taken_off() {
        assert_eq!(stripped("/v1.47/info?a=b"), Ok("/info?a=b".to_owned()));
        assert_eq!(stripped("/volumes"), Ok("/volumes".to_owned()));
    }

    #[test]
    fn versions_beyond_ours_are_refused_in_dockers_words() {
        assert_eq!(
            stripped("/v9.9/info"),
            Err("client version 9.9 is too new. Maximum supported API version is 1.51".to_owned())
        );
        assert!(stripped("/v1.12/info").unwrap_err().contains("too old"));
    }
}
