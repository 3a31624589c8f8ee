//! Every bound on what a guest can make the host keep or do, in one place.
//!
//! A guest is hostile by assumption: it can open flows without end, send frames faster than they
//! can be answered, and stop reading. Each bound says which of these it stops.

use std::time::Duration;

/// The longest IP packet of the link: what a virtio-net driver takes as its MTU and what a
/// segment of one `writev` fills, so that throughput is limited by copying.
pub const MTU: u16 = 65_520;

/// How many TCP connections there may be at once, in all networks together; a SYN beyond is
/// refused. Each costs a host descriptor and at least [`MIN_TCP_BUFFER`] each way.
pub const MAX_TCP_FLOWS: usize = 4_096;

/// The buffer each way that every TCP connection gets, however many there are.
pub const MIN_TCP_BUFFER: usize = 32 * 1024;

/// The buffer each way of a TCP connection when there are few: eight of the largest segments.
pub const MAX_TCP_BUFFER: usize = 512 * 1024;

/// Memory shared by all connections beyond their minimum. Pages are touched only as far as a
/// buffer really fills.
pub const TCP_BUFFER_POOL: usize = 128 * 1024 * 1024;

/// Closed connections whose buffers are kept for the next one: zeroing or mapping half a megabyte
/// each way costs more than the rest of a short connection.
pub const MAX_IDLE_SOCKETS: usize = 32;

/// How often a connection whose guest side has closed asks whether that side still exists, so
/// that a vanished guest does not hold a host socket for ever.
pub const HALF_CLOSED_KEEP_ALIVE: Duration = Duration::from_secs(60);

/// How long unanswered data or questions keep a connection, as Linux's `tcp_retries2` would.
pub const TCP_UNANSWERED_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// How many UDP flows there may be at once; the longest silent one makes room for a new one.
pub const MAX_UDP_FLOWS: usize = 2_048;

/// How long a silent UDP flow lives, as the stream timeout of Linux's conntrack.
pub const UDP_IDLE_TIMEOUT: Duration = Duration::from_secs(120);

/// How many pinged pairs of guest process and destination there may be at once.
pub const MAX_PING_FLOWS: usize = 256;

/// How long a silent ping flow lives, as conntrack's.
pub const PING_IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of ready-made frames (ARP, RST, ICMP, DNS) waiting for the guest; more are dropped. It
/// stops a guest that asks without reading the answers.
pub const MAX_OUTBOX_BYTES: usize = 4 * 1024 * 1024;

/// Ready-made frames waiting for the guest.
pub const MAX_OUTBOX_FRAMES: usize = 4_096;

/// DNS questions that wait for a nameserver of the host; more are answered `SERVFAIL`.
pub const MAX_DNS_QUERIES: usize = 512;

/// TCP connections of guests to their gateways' resolver.
pub const MAX_DNS_STREAMS: usize = 128;

/// Questions without an answer on one such connection; the next is read when one is answered.
pub const MAX_DNS_PIPELINE: usize = 16;

/// How long such a connection may be silent, as most resolvers allow.
pub const DNS_STREAM_IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long one nameserver may take before the next is asked, as glibc's resolver.
pub const DNS_SERVER_TIMEOUT: Duration = Duration::from_secs(3);

/// How many nameservers of the host are asked, as glibc's `MAXNS`.
pub const MAX_NAMESERVERS: usize = 3;

/// The size up to which the host's resolver files are read.
pub const MAX_RESOLVER_FILE_BYTES: u64 = 1024 * 1024;

/// How many readiness events one poll takes; the rest stay in the kernel for the next one.
pub const MAX_EVENTS_PER_POLL: usize = 256;

/// How often flows are looked through for those that were silent too long.
pub const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
