//! Query parameters, read as Docker reads them.

use std::convert::Infallible;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use dhow_engine::{Filters, Timestamp};

use crate::failure::Failure;

/// The query of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parameters(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        // A query that does not parse has no parameters.
        Ok(Query::try_from_uri(&parts.uri)
            .map_or_else(|_| Self::default(), |Query(pairs)| Self(pairs)))
    }
}

impl Parameters {
    /// The last value of a name; empty is the same as missing.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.all(name).last().filter(|value| !value.is_empty())
    }

    /// Every value of a name.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// A yes or no; Docker takes anything but these for yes.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.text(name).is_some_and(|value| {
            !matches!(
                value.trim().to_ascii_lowercase().as_str(),
                "" | "0" | "no" | "false" | "none"
            )
        })
    }

    /// A number.
    pub(crate) fn number<N: std::str::FromStr>(&self, name: &str) -> Result<Option<N>, Failure> {
        self.text(name)
            .map(|text| {
                text.parse()
                    .map_err(|_| Failure::invalid(format!("invalid {name}: {text:?}")))
            })
            .transpose()
    }

    /// A point in time; 0 is none.
    pub(crate) fn time(&self, name: &str) -> Result<Option<Timestamp>, Failure> {
        match self.text(name) {
            None | Some("0") => Ok(None),
            Some(text) => Timestamp::parse(text)
                .map(Some)
                .map_err(|error| Failure::invalid(format!("invalid value for {name:?}: {error}"))),
        }
    }

    /// `filters`.
    pub(crate) fn filters(&self) -> Result<Filters, Failure> {
        Ok(Filters::parse(self.text("filters").unwrap_or_default())?)
    }
}
