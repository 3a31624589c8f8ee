//! Failures as Docker answers them: a status and `{"message": …}`.

use std::error::Error;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use dhow_engine::{Classified, ErrorClass};
use serde_json::json;

/// A request that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    message: String,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    /// The request is wrong.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// A part of Docker that dhow does not have.
    pub(crate) fn unsupported(what: &str) -> Self {
        let message = format!("{what} is not supported by dhow yet");
        Self::new(StatusCode::NOT_IMPLEMENTED, message)
    }

    /// The text for the user.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }
}

/// What was tried and why it failed, in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        // Transparent variants repeat their source's text.
        if !message.ends_with(&text) {
            message = format!("{message}: {text}");
        }
        source = cause.source();
    }
    message
}

impl<E: Classified> From<E> for Failure {
    fn from(error: E) -> Self {
        let status = match error.class() {
            ErrorClass::InvalidParameter => StatusCode::BAD_REQUEST,
            ErrorClass::Unauthorized => StatusCode::UNAUTHORIZED,
            ErrorClass::NotFound => StatusCode::NOT_FOUND,
            ErrorClass::Conflict => StatusCode::CONFLICT,
            ErrorClass::Forbidden => StatusCode::FORBIDDEN,
            ErrorClass::NotModified => StatusCode::NOT_MODIFIED,
            ErrorClass::NotImplemented => StatusCode::NOT_IMPLEMENTED,
            ErrorClass::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let message = chain(&error);
        tracing::debug!(%status, message, "request failed");
        Self { status, message }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        if self.status == StatusCode::NOT_MODIFIED {
            return self.status.into_response();
        }
        (self.status, Json(json!({"message": self.message}))).into_response()
    }
}
