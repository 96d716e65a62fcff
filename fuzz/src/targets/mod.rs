//! Every target, by name.

pub mod certificates;
pub mod channels;
pub mod engine;
mod forms;
pub mod http1;
pub mod link;
pub mod mounts;
pub mod push;
pub mod response;
pub mod tls;

pub type Target = fn(&[u8]);

pub const ALL: [(&str, Target); 9] = [
    ("http1", http1::run),
    ("engine", engine::run),
    ("response", response::run),
    ("tls", tls::run),
    ("push", push::run),
    ("channels", channels::run),
    ("certificates", certificates::run),
    ("link", link::run),
    ("mounts", mounts::run),
];
