//! Our end of a container's streams: keyboard, screen, signals.
//!
//! `session` joins a stream of the daemon with our standard input and output; `input` and `output`
//! are those; `raw` takes the terminal out of its line mode and always puts it back; `detach_keys`
//! watches for the keys that leave; `signals` catches what is to be passed on; `window` knows the
//! terminal's size.

pub(crate) mod detach_keys;
pub(crate) mod input;
pub(crate) mod output;
pub(crate) mod raw;
pub(crate) mod session;
pub(crate) mod signals;
pub(crate) mod window;
