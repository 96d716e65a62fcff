//! encke: HTTP(S) and server push for C programs that already have an event loop.
//!
//! The product is the C API of `include/encke.h`; this crate is its core. A line of code belongs to the first of these
//! rooms that can hold it, and a lower room never names a higher one:
//!
//! * [`http1`]: the syntax of HTTP/1.x, bytes in, values out;
//! * [`push`]: channels as plain values, without request, socket or clock;
//! * [`engine`]: a server as a plain value, without socket or clock;
//! * [`mounts`]: what requests mean to a bus, as values;
//! * [`ws`]: WebSocket, bytes in, messages out;
//! * `tls`: TLS sessions as bytes in, bytes out (with the feature of that name);
//! * [`io`]: where bytes meet the operating system, the only room with system calls;
//! * [`link`]: the client's side of a bus, as tasks over what `io` gives them;
//! * [`capi`]: the C boundary.
//!
//! `unsafe` lives in `io` and `capi` only.
#![deny(unsafe_op_in_unsafe_fn)]
#![warn(missing_debug_implementations, rust_2018_idioms)]

pub mod capi;
#[deny(unsafe_code)]
pub mod engine;
#[deny(unsafe_code)]
pub mod http1;
pub mod io;
#[cfg_attr(not(feature = "links"), path = "link/absent.rs")]
#[deny(unsafe_code)]
pub mod link;
#[deny(unsafe_code)]
pub mod mounts;
#[deny(unsafe_code)]
pub mod push;
#[cfg(feature = "tls")]
#[deny(unsafe_code)]
pub mod tls;
#[deny(unsafe_code)]
pub mod ws;

/// Whether this build has channels and WebSockets (the feature `push`). Without it the doors to them are shut, and the linker
/// leaves the rooms behind them out.
pub(crate) const PUSH: bool = cfg!(feature = "push");
/// Whether mounts are built in.
pub(crate) const MOUNTS: bool = cfg!(feature = "mounts");

/// For tests that try very many cases. Under Miri, which takes some hundred times as long, one of `n` stands for all.
#[cfg(test)]
pub(crate) const fn every(n: usize) -> usize {
    if cfg!(miri) {
        n
    } else {
        1
    }
}
