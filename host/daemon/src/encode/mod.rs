//! From the engine's terms to Docker's models.

mod container;
mod duration;
mod event;
mod host_config;
mod image;
mod mounts;
mod ports;
mod summary;
mod volume;

pub(crate) use container::container;
pub(crate) use event::event;
pub(crate) use image::{history, image, image_summary, removed};
pub(crate) use summary::summary;
pub(crate) use volume::{Usage, volume};
