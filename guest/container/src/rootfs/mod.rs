//! The root file system of a container: EROFS layers below, a writable directory on top.
//!
//! A layer is mounted once per machine ([`layers`]), through a dm-linear device over its range of
//! the layer disk ([`device_mapper`]). A container's root is an overlay over them ([`overlay`]) and
//! exists as a *detached* mount first: the agent can look things up in it (users, say) before any
//! process of the container exists, and nothing of it ever shows in the agent's own namespace.

pub(crate) mod detached;
mod device_mapper;
pub(crate) mod layers;
pub(crate) mod lookup;
pub(crate) mod overlay;

pub use self::device_mapper::DeviceMapperError;
pub use self::layers::LayerError;
pub use self::overlay::RootError;
