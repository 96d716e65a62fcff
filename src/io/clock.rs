//! Owns the two clocks: one that never goes back, in milliseconds, and the wall's, in seconds.

use rustix::time::{clock_gettime, ClockId};

/// Milliseconds of CLOCK_MONOTONIC, the clock of the timer.
pub fn monotonic() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}

/// Seconds since 1970.
pub fn unix() -> u64 {
    u64::try_from(clock_gettime(ClockId::Realtime).tv_sec).unwrap_or(0)
}
