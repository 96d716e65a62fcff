//! Channels as plain values: publish once, every subscriber gets it in its own transport. No socket, no clock, no
//! request: the engine gives subscribers to feeds and asks whose turn it is.
//!
//! A [`hub::Hub`] gives a message its number and its place in the history, and hands it to every encke whose subscribers
//! want it. There a [`feed::Feeds`] walks over the subscribers, some at a time.

pub mod feed;
pub mod form;
pub mod globs;
pub mod hub;
pub mod json;
pub mod location;
pub mod message;
pub mod policy;
pub mod position;
pub mod prefixes;
