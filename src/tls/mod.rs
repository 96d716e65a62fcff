//! TLS as bytes in, bytes out: certificates that change while they serve, and one session per connection.
//!
//! Rule: nothing here knows a socket, a clock of ours or a request. Every failure is a value; a client that breaks the
//! protocol gets its alert, a file that cannot be used gets a sentence that names it.

#[cfg(not(any(feature = "ring", feature = "aws-lc")))]
compile_error!("the feature `tls` needs cryptography: enable the feature `ring` or the feature `aws-lc`");

mod certificates;
mod chain;
#[cfg(feature = "links")]
mod client;
mod clients;
#[cfg(all(feature = "post-quantum", not(feature = "aws-lc")))]
mod hybrid;
mod key;
mod names;
mod pem;
mod provider;
mod records;
mod session;

#[cfg(test)]
mod tests;

pub use certificates::Certificates;
#[cfg(feature = "links")]
pub use client::{is_name, Client, Trust};
pub use clients::ClientCertificates;
pub use session::{Failure, Progress, Session};

/// Why a chain, a key or roots cannot be used: which of them, which certificate in it, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable(pub String);

impl std::fmt::Display for Unusable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unusable {}
