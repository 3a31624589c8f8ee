//! The requests that a push is made of (OCI distribution specification, "Push").

use ureq::http::{Method, StatusCode};

use crate::digest::Digest;
use crate::registry::RegistryError;
use crate::registry::join;
use crate::registry::repository::Repository;
use crate::registry::transport::{Answer, Call, Payload};

/// Whether the repository has a blob.
pub(super) fn exists(repository: &Repository<'_>, digest: &str) -> Result<bool, RegistryError> {
    let address = repository.address(&format!("blobs/{digest}"));
    let call = || Call::new(Method::HEAD, address.clone());
    let expected = [StatusCode::OK, StatusCode::NOT_FOUND];
    let answer = repository.fetch(call, &expected, "the blob")?;
    Ok(answer.status == StatusCode::OK)
}

/// Asks for a blob of another repository; `false` if that does not have it or may not be seen.
pub(super) fn mount(
    repository: &Repository<'_>,
    digest: &str,
    from: &str,
) -> Result<bool, RegistryError> {
    let address = repository.address(&format!("blobs/uploads/?mount={digest}&from={from}"));
    let answer = repository.send(Call::new(Method::POST, address).payload(Payload::Bytes(&[])))?;
    if answer.status == StatusCode::ACCEPTED {
        // It began an upload instead, which nobody is to wait for.
        let location = next_location(&answer)?;
        let _expires = repository.send(Call::new(Method::DELETE, location));
    }
    Ok(answer.status == StatusCode::CREATED)
}

pub(super) fn begin_upload(repository: &Repository<'_>) -> Result<String, RegistryError> {
    let address = repository.address("blobs/uploads/");
    let call = Call::new(Method::POST, address).payload(Payload::Bytes(&[]));
    let answer = repository.send(call)?;
    if answer.status == StatusCode::ACCEPTED {
        next_location(&answer)
    } else {
        Err(answer.refusal("the repository"))
    }
}

pub(super) fn end_upload(
    repository: &Repository<'_>,
    location: &str,
    digest: Digest,
) -> Result<(), RegistryError> {
    put_blob(repository, location, digest, &[])
}

pub(super) fn put_blob(
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
pub(super) fn next_location(answer: &Answer) -> Result<String, RegistryError> {
    let location = answer.header("location");
    let location = location.and_then(|location| join(&answer.address, location));
    location.ok_or_else(|| RegistryError::Invalid {
        host: answer.host.clone(),
        problem: "it does not say where an upload goes on".to_owned(),
    })
}
