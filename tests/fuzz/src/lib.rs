//! What the targets share.

#[cfg(feature = "devices")]
mod guest;

#[cfg(feature = "devices")]
pub use guest::{Guest, Mischief, Piece};
