//! The TLS room against rustls' own client, in memory.

mod clients;
mod forged;
mod handshake;
mod hostile;
mod names;
mod pki;
mod resumption;
mod split;
mod swap;
mod traffic;
mod unusable;
mod wire;
