//! HTTPS end to end, over sockets and through the C API: clients on smol's reactor (async-io) with rustls, and the programs
//! curl and openssl. Every wait is for a condition and has a deadline; what is random comes from a seed.
//!
//! `ENCKE_HTTPS_SEED=n` gives the garbage another seed.
#![cfg(feature = "tls")]

#[path = "https/api.rs"]
mod api;
#[path = "https/client.rs"]
mod client;
#[path = "https/host.rs"]
mod host;
#[path = "../src/tls/tests/pki.rs"]
#[allow(dead_code)]
mod pki;
#[path = "https/program.rs"]
mod program;
#[path = "https/server.rs"]
mod server;
#[path = "https/setup.rs"]
mod setup;
#[path = "https/worker.rs"]
mod worker;

#[path = "https/client_certificates.rs"]
mod client_certificates;
#[path = "https/crowd.rs"]
mod crowd;
#[path = "https/curl.rs"]
mod curl;
#[path = "https/endings.rs"]
mod endings;
#[path = "https/garbage.rs"]
mod garbage;
#[path = "https/negotiation.rs"]
mod negotiation;
#[path = "https/openssl.rs"]
mod openssl;
#[path = "https/reload.rs"]
mod reload;
#[path = "https/resumption.rs"]
mod resumption;
#[path = "https/split.rs"]
mod split;
#[path = "https/traffic.rs"]
mod traffic;
