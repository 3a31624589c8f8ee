//! Docker's `filters` query parameter: a JSON object from key to values.
//!
//! Two encodings are in use: `{"key":["value"]}` and, from older clients, `{"key":{"value":true}}`.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::class::{Classified, ErrorClass};

/// Keys and their values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters(BTreeMap<String, Vec<String>>);

/// Why filters were refused.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// Not the JSON that filters are.
    #[error("invalid filter")]
    Malformed(#[source] serde_json::Error),
    /// A key that means nothing here.
    #[error("invalid filter '{0}'")]
    UnknownKey(String),
    /// A value that the key does not take.
    #[error("invalid filter '{key}={value}'")]
    InvalidValue {
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
}

impl Classified for FilterError {
    fn class(&self) -> ErrorClass {
        ErrorClass::InvalidParameter
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    List(Vec<String>),
    Set(BTreeMap<String, bool>),
}

impl Filters {
    /// Reads the query parameter; empty text is no filter.
    ///
    /// # Errors
    /// [`FilterError::Malformed`] where it is not such JSON.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let raw: BTreeMap<String, Values> =
            serde_json::from_str(text).map_err(FilterError::Malformed)?;
        let filters = raw.into_iter().map(|(key, values)| match values {
            Values::List(values) => (key, values),
            Values::Set(values) => (key, values.into_keys().collect()),
        });
        Ok(Self(filters.collect()))
    }

    /// Refuses keys other than these.
    ///
    /// # Errors
    /// [`FilterError::UnknownKey`] naming the first other one.
    pub fn only(&self, keys: &[&str]) -> Result<(), FilterError> {
        let unknown = self.0.keys().find(|key| !keys.contains(&key.as_str()));
        unknown.map_or(Ok(()), |key| Err(FilterError::UnknownKey(key.clone())))
    }

    /// The values of a key.
    pub fn values(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.get(key).into_iter().flatten().map(String::as_str)
    }

    /// Whether every key has a value that matches; labels must all match, as with Docker.
    pub(crate) fn all_of(&self, matches: impl Fn(&str, &str) -> bool) -> bool {
        self.0.iter().all(|(key, values)| {
            let mut values = values.iter();
            if values.len() == 0 {
                true
            } else if key == "label" {
                values.all(|value| matches(key, value))
            } else {
                values.any(|value| matches(key, value))
            }
        })
    }

    /// `key` or `key=value` against labels.
    pub(crate) fn label_matches(labels: &BTreeMap<String, String>, wanted: &str) -> bool {
        match wanted.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|found| found == value),
            None => labels.contains_key(wanted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_encodings() {
        let list = Filters::parse(r#"{"status":["exited","created"]}"#).unwrap();
        let set = Filters::parse(r#"{"status":{"created":true,"exited":true}}"#).unwrap();

        assert_eq!(list.values("status").count(), 2);
        assert_eq!(
            set.values("status").collect::<Vec<_>>(),
            ["created", "exited"]
        );
    }

    #[test]
    fn names_an_unknown_key() {
        let filters = Filters::parse(r#"{"colour":["red"]}"#).unwrap();

        assert_eq!(
            filters.only(&["name"]).unwrap_err().to_string(),
            "invalid filter 'colour'"
        );
    }

    #[test]
    fn labels_match_by_key_or_by_value() {
        let labels = BTreeMap::from([("tier".to_owned(), "web".to_owned())]);

        assert!(Filters::label_matches(&labels, "tier"));
        assert!(Filters::label_matches(&labels, "tier=web"));
        assert!(!Filters::label_matches(&labels, "tier=db"));
    }
}
