//! The C boundary: every `extern "C"`, raw pointer, panic, thread and fork guard. One file per section of the header, in
//! its order. Rules: an export checks what it was given before it changes anything; no panic leaves it; the type of the
//! first argument says the thread.
//!
//! `encke *` is dereferenced as `&encke` only; what the loop thread alone may touch lies in an `UnsafeCell` that is
//! opened after the thread was checked. Everything else is atomic.
#![allow(non_camel_case_types)]
// What C has to keep to is said once, in the rules of the header, and per function in its comment.
#![allow(clippy::missing_safety_doc)]

mod guard;
mod held;
mod input;
mod place;

pub mod version;

pub mod result;

pub mod types;

pub mod config;

pub mod server;

pub mod info;

pub mod driving;

pub mod event;

pub mod param;

pub mod response;

pub mod sender;

pub mod answering;

pub mod token;

pub mod tls;

pub mod stats;

pub mod websocket;

pub mod channels;

pub mod mounts;

pub mod links;

#[cfg(test)]
mod tests;
