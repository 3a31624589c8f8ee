//! The guest's clock follows the host's.

use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime, clock_settime};

/// Below this offset the clock is left alone: setting it costs more than it mends.
const TOLERANCE: Duration = Duration::from_millis(2);

/// Takes over the host's real time, nanoseconds since the Unix epoch.
pub(crate) fn follow(unix_time_ns: u64) -> nix::Result<()> {
    let host = Duration::from_nanos(unix_time_ns);
    let guest = Duration::from(clock_gettime(ClockId::CLOCK_REALTIME)?);
    if host.abs_diff(guest) <= TOLERANCE {
        return Ok(());
    }
    clock_settime(ClockId::CLOCK_REALTIME, TimeSpec::from_duration(host))
}
