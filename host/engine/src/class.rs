//! What sort of failure an error is: the one thing a caller must know to answer its own caller.

/// Sorts of failure, each with one HTTP status in the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// The request itself is wrong.
    InvalidParameter,
    /// Who asks is not known, or may not.
    Unauthorized,
    /// There is no such thing.
    NotFound,
    /// It is there, but its state forbids the request.
    Conflict,
    /// It is not allowed, whatever its state.
    Forbidden,
    /// The thing is already as asked.
    NotModified,
    /// A known part of Docker's API that dhow does not have yet.
    NotImplemented,
    /// The host or the machine failed.
    Internal,
}

/// An error that knows its sort.
pub trait Classified: std::error::Error {
    /// The sort of this failure.
    fn class(&self) -> ErrorClass;
}
