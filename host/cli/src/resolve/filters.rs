//! `--filter key=value`, as the JSON the API wants.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

/// Joins filters; the same key twice means either.
pub(crate) fn resolve(given: &[String]) -> Result<Option<String>> {
    if given.is_empty() {
        return Ok(None);
    }
    let mut filters: BTreeMap<String, BTreeMap<&str, bool>> = BTreeMap::new();
    for filter in given {
        let Some((key, value)) = filter.split_once('=') else {
            bail!("invalid filter \"{filter}\": it must be key=value");
        };
        filters
            .entry(key.trim().to_ascii_lowercase())
            .or_default()
            .insert(value.trim(), true);
    }
    Ok(Some(serde_json::to_string(&filters)?))
}

#[cfg(test)]
mod tests {
    use super::resolve;

    #[test]
    fn filters_become_a_set_per_key() {
        let given = ["status=exited", "status=created", "label=a=b"].map(str::to_owned);
        let json = resolve(&given)
            .expect("valid filters")
            .expect("some filters");
        assert_eq!(
            json,
            r#"{"label":{"a=b":true},"status":{"created":true,"exited":true}}"#
        );
    }

    #[test]
    fn a_filter_needs_a_value() {
        let error = resolve(&["running".to_owned()]).expect_err("an error");
        assert_eq!(
            error.to_string(),
            "invalid filter \"running\": it must be key=value"
        );
    }

    #[test]
    fn no_filter_is_no_parameter() {
        assert_eq!(resolve(&[]).expect("valid"), None);
    }
}
