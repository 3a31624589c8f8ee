//! Virtio device models, independent of transport and hypervisor.
