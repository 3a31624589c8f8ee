//! dhow's virtio devices served over vhost-user sockets.
