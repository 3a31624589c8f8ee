//! From the engine's terms to Docker's models.

mod container;
mod duration;
mod event;
mod host_config;
mod image;
mod network;
mod path_stat;
mod ports;
mod stats;
mod summary;
mod transfer;

pub(crate) use container::inspected;
pub(crate) use event::event;
pub(crate) use image::{history, image, image_summary, removed};
pub(crate) use network::network;
pub(crate) use path_stat::path_stat;
pub(crate) use stats::stats;
pub(crate) use summary::summary;
pub(crate) use transfer::{pull_step, pulled, push_step, pushed};
