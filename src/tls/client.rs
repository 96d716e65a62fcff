//! The client's side: which servers are trusted, and one connection to one of them.
//!
//! Rule: a server is verified, always: its certificate comes from the given roots and has the name that was asked for.

use std::io::{BufRead, Write};
use std::sync::Arc;

use pki_types::pem::SectionKind;
use pki_types::{CertificateDer, ServerName};
use rustls::client::Resumption;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::clients::Roots;
use super::provider::provider;
use super::session::Failure;
use super::{pem, Unusable};

/// Sessions remembered for each set of roots: a link has one server.
const SESSIONS: usize = 8;

/// Whom to trust.
#[derive(Clone)]
pub struct Trust(Arc<ClientConfig>);

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Trust")
    }
}

impl Trust {
    /// These certificates, PEM, each of which must be usable.
    pub fn these(pem: &[u8]) -> Result<Trust, Unusable> {
        Trust::new(RootCertStore { roots: Roots::read(pem)?.anchors() })
    }

    /// Those of a file of the system, in which there may be some that are of no use here.
    pub fn system(text: &[u8]) -> Result<Trust, Unusable> {
        let mut store = RootCertStore::empty();
        let certificates = pem::read("roots", text)?.into_iter().filter(|(kind, _)| *kind == SectionKind::Certificate);
        store.add_parsable_certificates(certificates.map(|(_, der)| CertificateDer::from(der)));
        if store.is_empty() {
            return Err(Unusable("roots: none of the system's certificates can be used".into()));
        }
        Trust::new(store)
    }

    fn new(store: RootCertStore) -> Result<Trust, Unusable> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|why| Unusable(format!("TLS: {why}")))?;
        let mut config = builder.with_root_certificates(store).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        Ok(Trust(Arc::new(config)))
    }
}

/// Whether a server can be asked for by this name.
pub fn is_name(name: &str) -> bool {
    ServerName::try_from(name).is_ok()
}

/// One connection to a server.
pub struct Client(ClientConnection);

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

impl Client {
    pub fn new(trust: &Trust, name: &str) -> Result<Client, Failure> {
        let name = ServerName::try_from(name.to_owned()).map_err(Failure::new)?;
        ClientConnection::new(trust.0.clone(), name).map(Client).map_err(Failure::new)
    }

    pub fn is_handshaking(&self) -> bool {
        self.0.is_handshaking()
    }

    /// Takes ciphertext as it came; `plain` is called for each piece of plaintext. True: the server has ended its side.
    pub fn receive(&mut self, mut data: &[u8], plain: &mut dyn FnMut(&[u8])) -> Result<bool, Failure> {
        let mut over = false;
        while !data.is_empty() && !over {
            if self.0.read_tls(&mut data).map_err(Failure::new)? == 0 {
                return Err(Failure::new("more than can be taken"));
            }
            over = self.0.process_new_packets().map_err(Failure::new)?.peer_has_closed();
            let mut reader = self.0.reader();
            while let Ok(piece) = reader.fill_buf() {
                let n = piece.len();
                if n == 0 {
                    break;
                }
                plain(piece);
                reader.consume(n);
            }
        }
        Ok(over)
    }

    /// Encrypts what is to be sent.
    pub fn send(&mut self, data: &[u8]) -> Result<(), Failure> {
        self.0.writer().write_all(data).map_err(Failure::new)
    }

    /// Appends the ciphertext that is to go out.
    pub fn take_unsent(&mut self, out: &mut Vec<u8>) -> Result<(), Failure> {
        while self.0.wants_write() {
            self.0.write_tls(out).map_err(Failure::new)?;
        }
        Ok(())
    }
}
