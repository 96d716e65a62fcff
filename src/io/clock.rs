//! Owns the two clocks: one that never goes back, in milliseconds, and the wall's, in seconds.

/// The C library's own call: it reads the clock without a system call, also under tools that hide the vDSO.
fn read(clock: libc::clockid_t) -> libc::timespec {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is valid for the call, which cannot fail for these clocks.
    unsafe { libc::clock_gettime(clock, &mut now) };
    now
}

/// Milliseconds of CLOCK_MONOTONIC, the clock of the timer.
pub fn monotonic() -> u64 {
    let now = read(libc::CLOCK_MONOTONIC);
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}

/// The same clock, finer.
pub fn microseconds() -> u64 {
    let now = read(libc::CLOCK_MONOTONIC);
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1000
}

/// Seconds since 1970.
pub fn unix() -> u64 {
    u64::try_from(read(libc::CLOCK_REALTIME).tv_sec).unwrap_or(0)
}
