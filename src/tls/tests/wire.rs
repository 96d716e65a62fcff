//! A session and a client with nothing between them but two byte buffers.

use std::io::{Read, Write};
use std::sync::Arc;

use pki_types::pem::PemObject;
use pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, NamedGroup, RootCertStore, SupportedProtocolVersion};

use super::pki::{self, Identity};
use crate::tls::provider::provider;
use crate::tls::{Certificates, Failure, Progress, Session};

pub const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

pub fn serving(identities: &[&Identity]) -> Arc<Certificates> {
    let certificates = Certificates::new();
    for identity in identities {
        certificates.add(identity.chain.as_bytes(), identity.key.as_bytes()).unwrap();
    }
    Arc::new(certificates)
}

pub fn trust() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(pki::ca().der.clone()).unwrap();
    roots
}

/// Ours, with the one group that is quick in every build: the groups have a test of their own.
fn quick() -> Arc<CryptoProvider> {
    let ours = provider();
    let kx_groups = ours.kx_groups.iter().copied().filter(|group| group.name() == NamedGroup::X25519).collect();
    Arc::new(CryptoProvider { kx_groups, ..(*ours).clone() })
}

/// A client that does its cryptography with `provider`.
pub fn client_of(provider: CryptoProvider, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(provider)).with_protocol_versions(&[version]).unwrap();
    Arc::new(builder.with_root_certificates(trust()).with_no_client_auth())
}

/// A client that trusts the test CA and speaks one version; `identity` is its own certificate.
pub fn client_with(version: &'static SupportedProtocolVersion, identity: Option<&Identity>) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(quick())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(trust());
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain = CertificateDer::pem_slice_iter(identity.chain.as_bytes()).map(Result::unwrap).collect();
            builder
                .with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap())
                .unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.resumption = Resumption::in_memory_sessions(32);
    config
}

pub fn client(version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    Arc::new(client_with(version, None))
}

/// Which side gave up. The reasons are for the message of a test that fails.
#[derive(Debug)]
#[allow(dead_code)]
pub enum Broken {
    Server(Failure),
    Client(rustls::Error),
}

pub struct Wire {
    pub client: ClientConnection,
    pub session: Session,
    pub to_client: Vec<u8>,
    /// Plaintext at either end.
    pub server_got: Vec<u8>,
    pub client_got: Vec<u8>,
    pub progress: Vec<Progress>,
}

impl Wire {
    pub fn new(certificates: &Arc<Certificates>, client: &Arc<ClientConfig>) -> Wire {
        Wire::named(certificates, client, "localhost")
    }

    pub fn named(certificates: &Arc<Certificates>, client: &Arc<ClientConfig>, name: &'static str) -> Wire {
        let name = ServerName::try_from(name).unwrap();
        Wire {
            client: ClientConnection::new(client.clone(), name).unwrap(),
            session: Session::new(certificates.clone()),
            to_client: Vec::new(),
            server_got: Vec::new(),
            client_got: Vec::new(),
            progress: Vec::new(),
        }
    }

    /// What the client wants to send.
    pub fn client_sends(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    pub fn server_takes(&mut self, bytes: &[u8]) -> Result<Progress, Failure> {
        let got = &mut self.server_got;
        let mut bytes = bytes.to_vec();
        let progress =
            self.session.receive(&mut bytes, &mut self.to_client, &mut |plain| got.extend_from_slice(plain))?;
        self.progress.push(progress);
        Ok(progress)
    }

    /// Gives the client what the server sent.
    pub fn client_takes(&mut self) -> Result<(), rustls::Error> {
        let bytes = std::mem::take(&mut self.to_client);
        let mut bytes = bytes.as_slice();
        while !bytes.is_empty() && self.client.read_tls(&mut bytes).unwrap() > 0 {
            self.client.process_new_packets()?;
            // An end of input or its absence is the tests' own matter.
            let _ = self.client.reader().read_to_end(&mut self.client_got);
        }
        Ok(())
    }

    /// To and fro until nobody has anything to say.
    pub fn run(&mut self) -> Result<(), Broken> {
        loop {
            let bytes = self.client_sends();
            if bytes.is_empty() && self.to_client.is_empty() {
                return Ok(());
            }
            if !bytes.is_empty() {
                if let Err(failure) = self.server_takes(&bytes) {
                    // The alert must reach the client.
                    let _ = self.client_takes();
                    return Err(Broken::Server(failure));
                }
            }
            self.client_takes().map_err(Broken::Client)?;
        }
    }

    pub fn client_says(&mut self, plain: &[u8]) {
        self.client.writer().write_all(plain).unwrap();
    }

    pub fn server_says(&mut self, plain: &[u8]) {
        self.session.encrypt(plain, &mut self.to_client).unwrap();
    }

    /// A request and its answer, to see that the session works.
    pub fn exchange(&mut self) {
        let (got, answered) = (self.server_got.len(), self.client_got.len());
        self.client_says(b"ping");
        self.run().unwrap();
        assert_eq!(&self.server_got[got..], b"ping");
        self.server_says(b"pong");
        self.run().unwrap();
        assert_eq!(&self.client_got[answered..], b"pong");
    }

    pub fn served(&self) -> CertificateDer<'static> {
        self.client.peer_certificates().unwrap()[0].clone()
    }
}

/// A complete handshake with an exchange.
pub fn connect(certificates: &Arc<Certificates>, client: &Arc<ClientConfig>) -> Wire {
    let mut wire = Wire::new(certificates, client);
    wire.run().unwrap();
    wire.exchange();
    wire
}

/// The error of a handshake that must fail, from the client's side if the alert reached it.
pub fn refused(certificates: &Arc<Certificates>, client: &Arc<ClientConfig>) -> (Failure, Option<rustls::Error>) {
    let mut wire = Wire::new(certificates, client);
    let mut alerted = None;
    loop {
        let bytes = wire.client_sends();
        assert!(!bytes.is_empty(), "the handshake went through");
        let failure = wire.server_takes(&bytes).err();
        if let Err(why) = wire.client_takes() {
            alerted = Some(why);
        }
        if let Some(failure) = failure {
            return (failure, alerted);
        }
    }
}
