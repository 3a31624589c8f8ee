//! Warnings beside an answer that has no body: HTTP's `Warning` field, as `299 dhow "text"`.
//!
//! One place for both ends, so that what the daemon writes is what the client reads.

use hyper::HeaderMap;
use hyper::header::{HeaderValue, InvalidHeaderValue, WARNING};

/// "Miscellaneous persistent warning" (RFC 7234, 5.5.7), and who says it.
const BEFORE: &str = "299 dhow \"";
/// After the text.
const AFTER: &str = "\"";

/// The field's value for one line of text.
///
/// # Errors
/// Where the text cannot be in a header.
pub fn header(text: &str) -> Result<HeaderValue, InvalidHeaderValue> {
    HeaderValue::from_str(&format!("{BEFORE}{text}{AFTER}"))
}

/// The lines of text in an answer's header.
pub(crate) fn read(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(WARNING).into_iter();
    values
        .filter_map(|value| {
            let text = value.to_str().ok()?;
            Some(text.strip_prefix(BEFORE)?.strip_suffix(AFTER)?.to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut headers = HeaderMap::new();
        headers.append(WARNING, header("no cpuset").unwrap());
        headers.append(WARNING, header("no \"swap\"").unwrap());

        assert_eq!(read(&headers), ["no cpuset", "no \"swap\""]);
    }

    #[test]
    fn warnings_of_others_are_passed_over() {
        let mut headers = HeaderMap::new();
        headers.append(WARNING, HeaderValue::from_static("110 proxy \"stale\""));

        assert!(read(&headers).is_empty());
    }
}
