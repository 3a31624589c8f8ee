//! The device against a guest that really drives its rings.

mod guest;
mod machine;

mod hostile;
mod lifecycle;
mod limits;
mod random;
mod streams;
mod volume;
