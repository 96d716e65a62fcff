//! Section 10: looking in.

use std::ffi::c_int;

use super::guard::any_thread;
use super::input;
use super::types::encke_sender;

/// Counters of one encke. Grows at the end only.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct encke_stats {
    /// Open now.
    pub connections: u64,
    /// Accepted ever.
    pub accepted: u64,
    /// Requests handed to the host ever.
    pub requests: u64,
    /// Requests in the host's hands now: handed over and not settled.
    pub held: u64,
    /// Requests that could not be answered any more, ever.
    pub aborted: u64,
    /// Requests that the library answered itself with an error, ever.
    pub refused: u64,
    /// Bytes read and written ever.
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Bytes of answers whose turn has come and that the kernel has not taken yet, now.
    pub queued_bytes: u64,
    /// Bytes of buffers now, as ENCKE_OPT_MAX_MEMORY counts them.
    pub memory: u64,
    /// Channels now, and messages published ever, in all enckes that share them (encke_share).
    pub channels: u64,
    /// Subscribers of this encke now.
    pub subscribers: u64,
    pub published: u64,
    /// Messages queued for subscribers of this encke ever, and those that slow ones missed.
    pub delivered: u64,
    pub dropped: u64,
}

/// Reads the counters as they were at the end of the loop's last run or drain. Pass sizeof(encke_stats). Any thread.
/// ENCKE_E_INVAL: out is NULL or sizeof_stats too small; ENCKE_E_CLOSED: the encke was freed. Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_stats_get(
    sender: *mut encke_sender,
    out: *mut encke_stats,
    sizeof_stats: usize,
) -> c_int {
    // SAFETY: the host gives NULL or a sender with a reference, and NULL or `sizeof_stats` writable bytes.
    unsafe {
        any_thread(sender, |sender| {
            sender.open()?;
            let now = sender.stats.read();
            let hub = sender.hub();
            let stats = encke_stats {
                connections: now.connections,
                accepted: now.accepted,
                requests: now.requests,
                held: now.held,
                aborted: now.aborted,
                refused: now.refused,
                bytes_in: now.bytes_in,
                bytes_out: now.bytes_out,
                queued_bytes: now.queued_bytes,
                memory: now.memory + hub.memory(),
                channels: hub.channels(),
                subscribers: now.subscribers,
                published: hub.published(),
                delivered: now.delivered,
                dropped: now.dropped,
            };
            input::give(&stats, out, sizeof_stats, 8, "the stats").map(|()| 0)
        })
    }
}
