//! What each request of a front-end does to its session.
//!
//! Requests outside this list were never offered and end the session.

use std::os::fd::OwnedFd;

use dhow_virtio::VirtioDevice;
use vhost::vhost_user::message::{
    FrontendReq, VHOST_USER_CONFIG_SIZE, VhostUserConfig, VhostUserProtocolFeatures,
    VhostUserVirtioFeatures, VhostUserVringAddr, VhostUserVringState,
};
use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::virtio_ids::VIRTIO_ID_RNG;
use virtio_queue::QueueT;
use vm_memory::ByteValued;

use super::{Session, SessionError};
use crate::memory::Mappings;
use crate::poll::Poll;
use crate::vring::{Addresses, never_block};
use crate::wire::Message;

/// In SET_VRING_KICK, CALL and ERR: the queue's index.
const VRING_INDEX_MASK: u64 = 0xff;

/// In the same messages: no descriptor comes with it.
const VRING_NO_DESCRIPTOR: u64 = 1 << 8;

impl Session {
    /// Does what one request asks; what it starts or stops is for [`update`](Self::update).
    pub(super) fn request(
        &mut self,
        code: FrontendReq,
        message: Message,
        device: &mut dyn VirtioDevice,
        poll: &Poll,
        mappings: &mut Mappings,
    ) -> Result<(), SessionError> {
        match code {
            FrontendReq::SET_OWNER => {}
            FrontendReq::RESET_OWNER => self.end(device, poll),
            FrontendReq::GET_FEATURES => self.reply_u64(&message, offered_features(device))?,
            FrontendReq::SET_FEATURES => {
                // QEMU 7.2's vhost-user-rng acknowledges bits that nobody offered: masked, not
                // refused.
                self.features = message.body::<u64>()? & offered_features(device);
            }
            FrontendReq::GET_PROTOCOL_FEATURES => {
                self.reply_u64(&message, protocol_features(device).bits())?;
            }
            FrontendReq::SET_PROTOCOL_FEATURES => {
                let refused = message.body::<u64>()? & !protocol_features(device).bits();
                check("protocol features", refused, refused == 0)?;
            }
            FrontendReq::GET_QUEUE_NUM => {
                self.reply_u64(&message, self.vrings.len() as u64)?;
            }
            FrontendReq::SET_BACKEND_REQ_FD => self._requests = Some(one_file(message)?),
            FrontendReq::SET_MEM_TABLE => self.set_memory(mappings.table(message)?)?,
            FrontendReq::GET_CONFIG => self.get_config(&message, device)?,
            FrontendReq::SET_CONFIG => set_config(&message, device)?,
            FrontendReq::SET_VRING_KICK
            | FrontendReq::SET_VRING_CALL
            | FrontendReq::SET_VRING_ERR => self.set_descriptor(code, message, poll)?,
            _ => self.vring_request(code, &message, poll)?,
        }
        Ok(())
    }

    /// The requests about one ring that carry no descriptor.
    fn vring_request(
        &mut self,
        code: FrontendReq,
        message: &Message,
        poll: &Poll,
    ) -> Result<(), SessionError> {
        let state: VhostUserVringState = message.body()?;
        let (index, value) = (state.index, state.num);
        let position = self.position(index)?;
        match code {
            FrontendReq::SET_VRING_NUM => {
                let size = u16::try_from(value).ok();
                let max_size = self.queues[position].max_size();
                let size = size.filter(|size| size.is_power_of_two() && *size <= max_size);
                check("queue size", u64::from(value), size.is_some())?;
                self.queues[position].set_size(size.unwrap_or_default());
            }
            FrontendReq::SET_VRING_ADDR => {
                let address: VhostUserVringAddr = message.body()?;
                self.vrings[position].addresses = Some(Addresses {
                    descriptors: address.descriptor,
                    available: address.available,
                    used: address.used,
                });
            }
            FrontendReq::SET_VRING_BASE => {
                let base = u16::try_from(value);
                check("ring base", u64::from(value), base.is_ok())?;
                self.queues[position].set_next_avail(base.unwrap_or_default());
            }
            FrontendReq::GET_VRING_BASE => {
                self.stop(position, poll);
                self.vrings[position].kick = None;
                let base = u32::from(self.queues[position].next_avail());
                let state = VhostUserVringState::new(index, base);
                self.channel.reply(message.request, &[state.as_slice()])?;
            }
            FrontendReq::SET_VRING_ENABLE => {
                check("enable", u64::from(value), value <= 1)?;
                self.vrings[position].enabled = value == 1;
            }
            _ => {
                return Err(SessionError::Request {
                    request: message.request,
                });
            }
        }
        Ok(())
    }

    fn set_descriptor(
        &mut self,
        code: FrontendReq,
        message: Message,
        poll: &Poll,
    ) -> Result<(), SessionError> {
        let value: u64 = message.body()?;
        let index = value & VRING_INDEX_MASK;
        let position = self.position(u32::try_from(index).unwrap_or(u32::MAX))?;
        let file = match value & VRING_NO_DESCRIPTOR {
            0 => Some(one_file(message)?),
            _ => None,
        };
        match code {
            FrontendReq::SET_VRING_KICK => {
                self.stop(position, poll);
                self.vrings[position].kick = file;
            }
            FrontendReq::SET_VRING_CALL => {
                if let Some(call) = &file {
                    never_block(call).map_err(|errno| host("prepare a call descriptor", errno))?;
                }
                self.vrings[position].call = file;
            }
            _ => self.vrings[position].error = file,
        }
        Ok(())
    }

    fn get_config(&self, message: &Message, device: &dyn VirtioDevice) -> Result<(), SessionError> {
        let request: VhostUserConfig = message.body()?;
        let (offset, size) = (request.offset, request.size);
        check(
            "configuration size",
            u64::from(size),
            in_config(offset, size),
        )?;
        let mut bytes = vec![0; size as usize];
        device.read_config(u64::from(offset), &mut bytes);
        let parts = [request.as_slice(), &bytes];
        Ok(self.channel.reply(message.request, &parts)?)
    }

    fn reply_u64(&self, message: &Message, value: u64) -> Result<(), SessionError> {
        let bytes = value.to_ne_bytes();
        Ok(self.channel.reply(message.request, &[&bytes])?)
    }

    fn position(&self, index: u32) -> Result<usize, SessionError> {
        usize::try_from(index)
            .ok()
            .filter(|position| *position < self.vrings.len())
            .ok_or(SessionError::NoQueue { index })
    }
}

/// Everything a front-end may acknowledge.
fn offered_features(device: &dyn VirtioDevice) -> u64 {
    device.features() | 1 << VIRTIO_F_VERSION_1 | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits()
}

fn protocol_features(device: &dyn VirtioDevice) -> VhostUserProtocolFeatures {
    // BACKEND_REQ is never used, but User Mode Linux asks for interrupt 0 without it.
    let features = VhostUserProtocolFeatures::MQ | VhostUserProtocolFeatures::BACKEND_REQ;
    // A device without configuration space must not offer CONFIG: QEMU answers the request for it
    // itself and warns of a back-end that wants to.
    if device.device_type() == VIRTIO_ID_RNG {
        features
    } else {
        features | VhostUserProtocolFeatures::CONFIG
    }
}

fn set_config(message: &Message, device: &mut dyn VirtioDevice) -> Result<(), SessionError> {
    let request: VhostUserConfig = message.body()?;
    let (offset, size) = (request.offset, request.size);
    let bytes = &message.payload[size_of::<VhostUserConfig>()..];
    let bytes = usize::try_from(size)
        .ok()
        .and_then(|size| bytes.get(..size));
    check(
        "configuration size",
        u64::from(size),
        in_config(offset, size) && bytes.is_some(),
    )?;
    device.write_config(u64::from(offset), bytes.unwrap_or_default());
    Ok(())
}

fn in_config(offset: u32, size: u32) -> bool {
    offset
        .checked_add(size)
        .is_some_and(|end| end <= VHOST_USER_CONFIG_SIZE)
}

fn one_file(message: Message) -> Result<OwnedFd, SessionError> {
    match <[OwnedFd; 1]>::try_from(message.files) {
        Ok([file]) => Ok(file),
        Err(_) => Err(SessionError::Descriptors),
    }
}

fn check(field: &'static str, value: u64, holds: bool) -> Result<(), SessionError> {
    if holds {
        Ok(())
    } else {
        Err(SessionError::Value { field, value })
    }
}

fn host(operation: &'static str, errno: rustix::io::Errno) -> SessionError {
    SessionError::Host {
        operation,
        source: errno.into(),
    }
}
